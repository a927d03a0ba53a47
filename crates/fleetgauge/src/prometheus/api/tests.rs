use fleetgauge_core::result::{AnswerKind, AnswerStatus};
use fleetgauge_core::sample::SampleValue;
use proptest::prelude::*;

use super::reader::PARTIAL;
use super::*;

/// One line per value: labels, number, time, and whether that is the sample's or the evaluation's.
fn shown(answer: &Answer) -> Vec<String> {
    let line = |v: fleetgauge_core::sample::MetricValue<'_>| format!("{v} {:?}", v.stamp);
    answer.values().map(line).collect()
}

fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

fn vector(result: &str) -> String {
    success(&format!(r#"{{"resultType":"vector","result":{result}}}"#))
}

#[test]
fn answers_of_each_type() {
    let check = |body: &str, expected: &[&str]| {
        let answer = decode_answer(body.as_bytes()).unwrap();
        assert_eq!(shown(&answer), expected, "{body}");
    };
    check(&vector("[]"), &[]);
    check(
        &vector(
            r#"[{"metric":{"__name__":"up","pod":"a"},"value":[1763930000.5,"1"]},
                {"value":[1763930000.5,"-1.5e-7"],"metric":{}, "more":[{}]}]"#,
        ),
        &[
            r#"up{pod="a"} => 1 @[1763930000.5] Evaluated"#,
            "{} => -1.5e-07 @[1763930000.5] Evaluated",
        ],
    );
    check(
        &success(r#"{"resultType":"scalar","result":[1763930000,"+Inf"]}"#),
        &["{} => +Inf @[1763930000] Evaluated"],
    );
    check(
        &success(
            r#"{"resultType":"matrix","result":[
                {"metric":{"pod":"a"},"values":[[1,"1"],[3,"3"]]},
                {"metric":{"pod":"b"},"values":[[5,"NaN"]]}]}"#,
        ),
        &[
            r#"{pod="a"} => 1 @[1] Sampled"#,
            r#"{pod="a"} => 3 @[3] Sampled"#,
            r#"{pod="b"} => NaN @[5] Sampled"#,
        ],
    );
    // A JSON object has no order, and knows more fields with every version.
    check(
        r#" {"data":{"result":[{"metric":{},"value":[1,"2"]}],"stats":{"a":[1]},"resultType":"vector"},"isPartial":false,"status":"success"} "#,
        &["{} => 2 @[1] Evaluated"],
    );
}

#[test]
fn a_string_is_a_text_and_no_value() {
    let body = success(r#"{"resultType":"string","result":[1,"a\"\u00fc\n"]}"#);
    let answer = decode_answer(body.as_bytes()).unwrap();
    assert_eq!((answer.len(), answer.text()), (0, Some("a\"ü\n")));
    assert_eq!(answer.status(), AnswerStatus::Values);
}

#[test]
fn warnings_and_infos_are_kept() {
    let body = r#"{"status":"success","warnings":["a","b\u001b[2J"],"infos":["c"],
        "data":{"resultType":"vector","result":[]}}"#;
    let answer = decode_answer(body.as_bytes()).unwrap();
    assert_eq!(answer.warnings().collect::<Vec<_>>(), ["a", "b [2J"]);
    assert_eq!(answer.infos().collect::<Vec<_>>(), ["c"]);
    assert!(answer.is_empty());
    let none = r#"{"status":"success","warnings":null,"data":{"resultType":"vector","result":[]}}"#;
    assert_eq!(decode_answer(none.as_bytes()).unwrap().warnings().len(), 0);
}

#[test]
fn an_answer_says_when_a_part_of_the_server_did_not_answer() {
    let check = |notes: &str, expected: &[&str], is_complete: bool| {
        let data = r#""data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}"#;
        // The data of the last is read a second time, since its type comes after it.
        let type_last = r#""data":{"result":[],"resultType":"vector"}"#;
        for body in [
            format!(r#"{{"status":"success",{notes},{data}}}"#),
            format!(r#"{{"status":"success",{data},{notes}}}"#),
            format!(r#"{{{type_last},{notes},"status":"success"}}"#),
        ] {
            let answer = decode_answer(body.as_bytes()).unwrap();
            assert_eq!(answer.warnings().collect::<Vec<_>>(), expected, "{body}");
            assert_eq!(answer.is_complete(), is_complete, "{body}");
        }
    };
    check(r#""isPartial":false"#, &[], true);
    check(r#""isPartial":null"#, &[], true);
    check(r#""isPartial":true"#, &[PARTIAL], false);
    let ours = r#""warnings":["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)",
        "PromQL info: metric might not be a counter"]"#;
    let two = [
        "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)",
        "PromQL info: metric might not be a counter",
    ];
    check(ours, &two, true);
    // Which say that values were left out.
    let mixed = "PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)";
    check(&format!(r#""warnings":["{mixed}"]"#), &[mixed], false);
    let ignored = "PromQL info: ignored histogram in max aggregation (1:5)";
    let more = "2 more info annotations omitted";
    for info in [ignored, more] {
        check(&format!(r#""infos":["{info}"]"#), &[info], false);
        check(&format!(r#""warnings":["{info}"]"#), &[info], false);
    }
    check(
        r#""infos":["PromQL info: metric might not be a counter"]"#,
        &[],
        true,
    );
    let store = "receive series from Addr: 10.0.0.9:10901: context deadline exceeded";
    check(&format!(r#""warnings":["{store}"]"#), &[store], false);
    check(
        &format!(r#""warnings":["{store}"],"isPartial":true"#),
        &[store, PARTIAL],
        false,
    );
}

#[test]
fn numbers_are_read_as_go_writes_them_and_never_guessed() {
    let check = |text: &str, expected: Option<f64>| {
        let body = vector(&format!(r#"[{{"metric":{{}},"value":[1,"{text}"]}}]"#));
        let answer = decode_answer(body.as_bytes());
        match expected {
            Some(expected) => {
                let value = answer.unwrap().values().next().unwrap().value;
                assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
            }
            None => {
                let error = answer.unwrap_err();
                assert!(matches!(error, FetchError::Malformed { .. }), "{text}: {error}");
                assert!(error.to_string().contains("line 1 column"), "{text}: {error}");
            }
        }
    };
    check("0", Some(0.0));
    check("-0", Some(-0.0));
    check("1e+06", Some(1e6));
    check("5e-324", Some(5e-324));
    check("1.7976931348623157e+308", Some(f64::MAX));
    check("0.30000000000000004", Some(0.1 + 0.2));
    check("NaN", Some(f64::NAN));
    check("+Inf", Some(f64::INFINITY));
    check("-Inf", Some(f64::NEG_INFINITY));
    for bad in [
        "", " ", " 1", "1 ", "nan", "inf", "infinity", "1e999", "0x10", "1_000", "1,5", "-", "e5", "none",
        "null",
    ] {
        check(bad, None);
    }
}

#[test]
fn what_is_no_answer_is_an_error_that_says_where() {
    let check = |body: &str, expected: &str| {
        let error = decode_answer(body.as_bytes()).unwrap_err();
        assert!(matches!(error, FetchError::Malformed { .. }), "{body}: {error:?}");
        assert!(
            error.to_string().contains(expected),
            "{body}: {error} lacks {expected}"
        );
    };
    check("", "an empty body");
    check(" \n", "an empty body");
    check("null", "found \"null\"");
    check("<html>\u{1b}[31m", "found \"<html> [31m\"");
    check("[]", "found \"[]\"");
    check("{}", "`status` is missing");
    check("{", "EOF while parsing an object at line 1 column 1");
    check(
        &format!("{}x", vector("[]")),
        "trailing characters at line 1 column 64",
    );
    check(&vector("[").replace("]}}", ""), "line 1 column");
    check(r#"{"status":"success"}"#, "`data` is missing");
    check(&success("null"), "`data` is missing");
    check(&success("{}"), "`data.resultType` is missing");
    check(&success("[]"), "an object with `resultType` and `result`");
    check(&success(r#"{"result":[]}"#), "`data.resultType` is missing");
    check(&success(r#"{"resultType":"vector"}"#), "`data.result` is missing");
    check(
        &success(r#"{"resultType":"streams","result":[]}"#),
        "\"streams\", expected `vector`",
    );
    check(
        &success(r#"{"resultType":null,"result":[]}"#),
        "null, expected a string",
    );
    check(
        r#"{"status":"fine","data":null}"#,
        "\"fine\", expected `success` or `error`",
    );
    check(
        r#"{"status":"success","status":"success"}"#,
        "duplicate field `status`",
    );
    check(
        r#"{"status":"success","isPartial":"true"}"#,
        "string \"true\", expected a boolean",
    );
    check(
        r#"{"status":"success","isPartial":true,"isPartial":false}"#,
        "duplicate field `isPartial`",
    );
    check(
        r#"{"status":"success","data":{},"data":{}}"#,
        "duplicate field `data`",
    );
    let twice = r#"{"resultType":"vector","result":[],"result":[]}"#;
    check(&success(twice), "duplicate field `result`");
    check(
        r#"{"status":"success","warnings":[1]}"#,
        "invalid type: integer `1`, expected a string",
    );
    check(&vector("null"), "null, expected a list of series");
    check(&vector("{}"), "map, expected a list of series");
    check(&vector("[1]"), "expected a series");
    check(&vector("[{}]"), "missing field `metric`");
    check(&vector(r#"[{"metric":{}}]"#), "missing field `value`");
    check(&vector(r#"[{"metric":null,"value":[1,"1"]}]"#), "expected labels");
    check(
        &vector(r#"[{"metric":{"a":1},"value":[1,"1"]}]"#),
        "integer `1`, expected a string",
    );
    check(
        &vector(r#"[{"metric":{},"metric":{},"value":[1,"1"]}]"#),
        "duplicate field `metric`",
    );
    check(
        &vector(r#"[{"metric":{},"value":[1,"1"],"value":[1,"1"]}]"#),
        "duplicate field `value`",
    );
    check(
        &vector(r#"[{"metric":{"a":"1","a":"2"},"value":[1,"1"]}]"#),
        "label \"a\" occurs twice",
    );
    check(
        &vector(r#"[{"metric":{},"value":[1,1]}]"#),
        "integer `1`, expected a number in a string",
    );
    check(
        &vector(r#"[{"metric":{},"value":["1","1"]}]"#),
        "expected a time in seconds",
    );
    check(&vector(r#"[{"metric":{},"value":[1]}]"#), "invalid length 1");
    check(&vector(r#"[{"metric":{},"value":[]}]"#), "invalid length 0");
    check(
        &vector(r#"[{"metric":{},"value":[1,"1",2]}]"#),
        "trailing characters",
    );
    check(
        &vector(r#"[{"metric":{},"value":null}]"#),
        "expected a pair of time and value",
    );
    check(
        &vector(r#"[{"metric":{},"values":[[1,"1"]]}]"#),
        "missing field `value`",
    );
    let same =
        r#"[{"metric":{"a":"1","b":"2"},"value":[1,"1"]},{"metric":{"b":"2","a":"1"},"value":[1,"2"]}]"#;
    check(&vector(same), r#"two series have the labels {a="1", b="2"}"#);
    check(
        &vector(r#"[{"metric":{},"value":[1e300,"1"]}]"#),
        "a time in seconds",
    );
    check(
        &vector(r#"[{"metric":{},"value":[18446744073709551615,"1"]}]"#),
        "a time in seconds",
    );
    let empty = r#"{"resultType":"matrix","result":[{"metric":{},"values":[]}]}"#;
    check(&success(empty), "a series without samples");
    check(
        &success(r#"{"resultType":"scalar","result":null}"#),
        "expected a pair of time and value",
    );
    check(
        &success(r#"{"resultType":"scalar","result":[]}"#),
        "invalid length 0",
    );
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    let error = decode_answer(b"{\"status\xff\"").unwrap_err();
    assert_eq!(error.to_string(), "malformed answer: not UTF-8 after byte 8");
}

#[test]
fn an_error_in_an_answer_is_a_refusal() {
    let check = |body: &str, expected: (&str, &str)| match decode_answer(body.as_bytes()) {
        Err(FetchError::Rejected { kind, message }) => assert_eq!((&*kind, &*message), expected),
        other => panic!("{other:?}"),
    };
    check(
        r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
        ("bad_data", "parse error"),
    );
    check(r#"{"data":null,"error":"a\nb","status":"error"}"#, ("", "a b"));
    check(
        r#"{"status":"success","error":"boom","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}"#,
        ("", "boom"),
    );
    check(r#"{"status":"error"}"#, ("", "no reason was given"));
}

/// An instant vector of a number, and of what stands after the labels of a second series.
fn beside(fields: &str) -> String {
    vector(&format!(
        r#"[{{"metric":{{}},"value":[1,"1"]}},{{"metric":{{"__name__":"lat","pod":"a"}},{fields}}}]"#
    ))
}

/// A matrix of a series with these fields.
fn of_points(fields: &str) -> String {
    success(&format!(
        r#"{{"resultType":"matrix","result":[{{{fields},"metric":{{"__name__":"lat","pod":"a"}}}}]}}"#
    ))
}

#[test]
fn a_native_histogram_is_refused_by_name_and_not_dropped() {
    let check = |body: &str| match decode_answer(body.as_bytes()) {
        Err(FetchError::Unsupported { what }) => {
            assert!(what.contains(r#"histogram lat{pod="a"},"#), "{what}");
        }
        other => panic!("{other:?}"),
    };
    check(&beside(
        r#""histogram":[1,{"count":"1","sum":"2","buckets":[[0,"1","2","3"]]}]"#,
    ));
    check(&of_points(
        r#""histograms":[[1,{"count":"1","sum":"2"}]],"values":[[2,"1"]]"#,
    ));
}

#[test]
fn a_native_histogram_is_read_by_who_takes_it() {
    let check = |body: &str, expected: &[&str]| {
        let answer = decode_answer_with_histograms(body.as_bytes()).unwrap();
        let values: Vec<_> = answer.values().map(|value| value.to_string()).collect();
        assert_eq!(values, expected, "{body}");
    };
    check(
        &beside(
            r#""histogram":[1.5,{"buckets":[[1,"-2","-0.5","1.5"],[3,"-0.5","0.5","2"],[2,"1","2","-1"],[0,"2","+Inf","NaN"]],"sum":"-1e+30","x":[],"count":"2.5"}]"#,
        ),
        &[
            "{} => 1 @[1]",
            r#"lat{pod="a"} => {count:2.5, sum:-1e+30, [-2,-0.5):1.5, [-0.5,0.5]:2, (1,2):-1, (2,+Inf]:NaN} @[1.5]"#,
        ],
    );
    check(
        &beside(r#""histogram":[2,{"count":"0","sum":"NaN"}]"#),
        &["{} => 1 @[1]", r#"lat{pod="a"} => {count:0, sum:NaN} @[2]"#],
    );
    // The numbers and the histograms of a series are two lists.
    let mixed = [
        r#"lat{pod="a"} => 7 @[1]"#,
        r#"lat{pod="a"} => {count:1, sum:2} @[2]"#,
        r#"lat{pod="a"} => 8 @[3]"#,
    ];
    check(
        &of_points(r#""histograms":[[2,{"count":"1","sum":"2"}]],"values":[[1,"7"],[3,"8"]]"#),
        &mixed,
    );
    check(
        &of_points(r#""values":[[1,"7"],[3,"8"]],"histograms":[[2,{"count":"1","sum":"2"}]]"#),
        &mixed,
    );
    check(
        &of_points(r#""values":[],"histograms":[[2,{"count":"1","sum":"2"}]]"#),
        &mixed[1..2],
    );
    check(&of_points(r#""values":[[1,"7"]],"histograms":[]"#), &mixed[..1]);
}

#[test]
fn what_is_no_native_histogram_is_an_error_with_its_place() {
    let check = |body: &str, says: &str| {
        for decode in [decode_answer, decode_answer_with_histograms] {
            let error = decode(body.as_bytes()).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.reason(), "malformed", "{body}: {text}");
            assert!(
                text.contains(says) && text.contains("line 1 column"),
                "{body}: {text}"
            );
        }
    };
    let histogram = |histogram: &str| beside(&format!(r#""histogram":[1,{histogram}]"#));
    let bucket = |bucket: &str| histogram(&format!(r#"{{"count":"1","sum":"2","buckets":[{bucket}]}}"#));
    check(&histogram("{}"), "missing field `count`");
    check(&histogram(r#"{"count":"1"}"#), "missing field `sum`");
    check(&histogram(r#"{"count":1,"sum":"1"}"#), "a number in a string");
    check(&histogram(r#"{"count":"1","sum":"1e999"}"#), "1e999");
    check(
        &histogram(r#"{"count":"1","sum":"2","count":"1"}"#),
        "duplicate field `count`",
    );
    check(&histogram("\"1\""), "a native histogram");
    check(&bucket(r#"[0,"1","2"]"#), "invalid length 3, expected a bucket");
    check(&bucket(r#"[0,"1","2","3","4"]"#), "trailing characters");
    check(&bucket(r#"[4,"1","2","3"]"#), "a number from 0 to 3");
    check(&bucket(r#"[-1,"1","2","3"]"#), "-1");
    check(&bucket(r#"["0","1","2","3"]"#), "expected u64");
    check(&bucket(r#"[0,"NaN","2","3"]"#), "whose bound is NaN");
    let many = vec![r#"[0,"1","2","3"]"#; 65_537].join(",");
    check(&bucket(&many), "a histogram of more than 65536 buckets");
    check(
        &beside(r#""value":[1,"1"],"histogram":[1,{"count":"1","sum":"2"}]"#),
        "a number and a histogram",
    );
    let two = r#"[2,{"count":"1","sum":"2"}]"#;
    check(
        &of_points(&format!(r#""histograms":[{two},{two}]"#)),
        "order of their times",
    );
    check(
        &of_points(&format!(r#""histograms":[{two}],"values":[[2,"1"]]"#)),
        "a number and a histogram, both at 2",
    );
    check(&of_points(r#""histograms":[]"#), "missing field `values`");
}

/// Numbers as Prometheus prints them.
fn go_number(value: f64) -> String {
    fleetgauge_core::sample::Number(value).to_string()
}

proptest! {
    #[test]
    fn what_was_sent_is_what_is_read(
        series in prop::collection::btree_map(
            prop::collection::btree_map("[a-c]{1,2}|__name__", "\\PC{1,8}", 0..4),
            (any::<f64>(), -10_000_000_000_000i64..10_000_000_000_000),
            0..20,
        ),
        matrix in any::<bool>(),
        type_last in any::<bool>(),
    ) {
        let result: Vec<_> = series.iter().map(|(labels, (value, millis))| {
            // Written by hand: a JSON library would print the time as it likes.
            let time = format!("{}{}.{:03}", if *millis < 0 { "-" } else { "" }, millis.abs() / 1000, millis.abs() % 1000);
            let point = format!("[{time},\"{}\"]", go_number(*value));
            let metric = serde_json::to_string(labels).unwrap();
            if matrix {
                format!(r#"{{"metric":{metric},"values":[{point}]}}"#)
            } else {
                format!(r#"{{"metric":{metric},"value":{point}}}"#)
            }
        }).collect();
        let result_type = format!(r#""resultType":"{}""#, if matrix { "matrix" } else { "vector" });
        let result = format!(r#""result":[{}]"#, result.join(","));
        let body = if type_last {
            success(&format!("{{{result},{result_type}}}"))
        } else {
            success(&format!("{{{result_type},{result}}}"))
        };
        let answer = decode_answer(body.as_bytes()).unwrap();
        prop_assert_eq!(answer.len(), series.len());
        for (read, (labels, (value, millis))) in answer.values().zip(&series) {
            prop_assert_eq!(&read.labels.to_map(), labels);
            prop_assert!(read.value == *value || read.value.is_nan() && value.is_nan());
            prop_assert_eq!(read.timestamp.as_millis(), *millis);
            prop_assert_eq!(read.sampled_at().is_some(), matrix);
        }
    }
}

/// Labels, and times and values.
type PointsOf = (String, Vec<(i64, f64)>);

/// The points of each series, or the error and its reason.
fn range(body: &str) -> Result<Vec<PointsOf>, (&'static str, String)> {
    let answer = decode_range(body.as_bytes()).map_err(|error| (error.reason(), error.to_string()))?;
    assert_eq!(
        (answer.kind(), answer.stamp()),
        (AnswerKind::Matrix, Stamp::Evaluated)
    );
    let points = |series: fleetgauge_core::result::Series<'_>| {
        let points = series.points().map(|p| (p.timestamp.as_millis(), p.value));
        (series.labels().to_string(), points.collect())
    };
    Ok(answer.series().map(points).collect())
}

#[test]
fn a_range_has_all_points_of_each_series() {
    let of = |result: &str| {
        let named_first =
            format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#);
        let named_last =
            format!(r#"{{"status":"success","data":{{"result":[{result}],"resultType":"matrix"}}}}"#);
        let decoded = range(&named_first);
        assert_eq!(decoded.clone().ok(), range(&named_last).ok());
        decoded
    };
    let a = r#"{"metric":{"pod":"a"},"values":[[1,"1"],[2.5,"+Inf"]]}"#;
    let b = r#"{"values":[[2,"3"]],"metric":{}}"#;
    let expected = vec![
        (
            r#"{pod="a"}"#.to_owned(),
            vec![(1_000, 1.0), (2_500, f64::INFINITY)],
        ),
        ("{}".to_owned(), vec![(2_000, 3.0)]),
    ];
    assert_eq!(of(&format!("{a},{b}")), Ok(expected));
    assert_eq!(of(""), Ok(Vec::new()));
    for (series, reason, says) in [
        (r#"{"metric":{},"values":[]}"#, "malformed", "without samples"),
        (
            r#"{"metric":{},"values":[[2,"1"],[1,"1"]]}"#,
            "malformed",
            "order of their times",
        ),
        (
            r#"{"metric":{},"values":[[2,"1"],[2,"1"]]}"#,
            "malformed",
            "order of their times",
        ),
        (r#"{"metric":{},"values":[[2,"x"]]}"#, "malformed", "line 1"),
        (
            r#"{"metric":{"a":"b"},"histograms":[[2,{"count":"1","sum":"2"}]]}"#,
            "unsupported",
            r#"{a="b"}"#,
        ),
        (
            r#"{"metric":{"a":"b"},"values":[[1,"1"]],"histograms":[[2,{"count":"1","sum":"2"}]]}"#,
            "unsupported",
            "histogram",
        ),
        (
            r#"{"metric":{},"values":[[1,"1"]]},{"metric":{},"values":[[1,"1"]]}"#,
            "malformed",
            "two series",
        ),
    ] {
        let (given, text) = of(series).unwrap_err();
        assert!(given == reason && text.contains(says), "{series}: {text}");
    }
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    assert_eq!(range(vector).unwrap_err().0, "malformed");
}

proptest! {
    #[test]
    fn histograms_that_were_sent_are_read(
        series in prop::collection::btree_map(
            "[a-z]{1,3}",
            prop::collection::btree_map(
                -1_000i64..1_000,
                prop::collection::vec((0..5u64, any::<f64>(), any::<f64>(), any::<f64>()), 0..6),
                1..8,
            ),
            1..5,
        ),
    ) {
        // A sample of which the first bucket has such bounds is a number.
        let is_number = |buckets: &[(u64, f64, f64, f64)]| buckets.first().is_some_and(|bucket| bucket.0 == 4);
        let text = |number: f64| format!("\"{}\"", go_number(number));
        let bound = |number: f64| if number.is_nan() { 0.0 } else { number };
        let mut result = Vec::new();
        for (pod, samples) in &series {
            let (mut values, mut histograms) = (Vec::new(), Vec::new());
            for (at, buckets) in samples {
                if is_number(buckets) {
                    values.push(format!("[{at},{}]", text(buckets[0].3)));
                    continue;
                }
                let sent = buckets.iter().map(|&(bounds, lower, upper, count)| {
                    format!("[{},{},{},{}]", bounds % 4, text(bound(lower)), text(bound(upper)), text(count))
                });
                let sent = sent.collect::<Vec<_>>().join(",");
                histograms.push(format!(r#"[{at},{{"count":"{at}","sum":"1","buckets":[{sent}]}}]"#));
            }
            let field = |name: &str, points: Vec<String>| (!points.is_empty()).then(|| format!(r#""{name}":[{}]"#, points.join(",")));
            let fields = [field("values", values), field("histograms", histograms)];
            let fields = fields.into_iter().flatten().collect::<Vec<_>>().join(",");
            result.push(format!(r#"{{"metric":{{"pod":"{pod}"}},{fields}}}"#));
        }
        let body = success(&format!(r#"{{"resultType":"matrix","result":[{}]}}"#, result.join(",")));
        let answer = decode_range_with_histograms(body.as_bytes()).unwrap();
        prop_assert_eq!(answer.series().len(), series.len());
        let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
        for (read, samples) in answer.series().zip(series.values()) {
            prop_assert_eq!(read.len(), samples.len());
            for ((time, value), (at, buckets)) in read.samples().zip(samples) {
                prop_assert_eq!(time.as_millis(), at * 1_000);
                match value {
                    SampleValue::Number(number) => prop_assert!(is_number(buckets) && same(number, buckets[0].3)),
                    SampleValue::Histogram(read) => {
                        prop_assert!(!is_number(buckets) && read.count == *at as f64 && read.buckets.len() == buckets.len());
                        for (read, &(bounds, lower, upper, count)) in read.buckets.iter().zip(buckets) {
                            prop_assert_eq!(u64::from(read.bounds.number()), bounds % 4);
                            prop_assert!(read.lower == bound(lower) && read.upper == bound(upper) && same(read.count, count));
                        }
                    }
                    _ => unreachable!(),
                }
            }
        }
    }
}
