//! Pages of OpenMetrics 2.0: what Prometheus 3.16 reads of them, and what it refuses.

use fleetgauge_promql::exposition::{Format, Histograms, Limits, Parser, Wanted};

use crate::support::said::read;

const NATIVE: &str = "{count:12,sum:18.5,schema:1,zero_threshold:0.001,zero_count:2,positive_spans:[0:2,1:2],\
                      positive_buckets:[1,2,1,1],negative_spans:[-1:1,0:1],negative_buckets:[2,3]";

fn read_2(histograms: Histograms, body: &str) -> (Vec<String>, Vec<String>) {
    let mut parser = Parser::new().with_histograms(histograms);
    let (said, report) = read(&mut parser, Format::OpenMetrics2, body.as_bytes());
    let counted = report.samples + report.metadata + report.ignored + report.skipped + report.errors;
    assert_eq!(report.lines, counted);
    let told =
        |error: &fleetgauge_promql::exposition::LineError| format!("{}: {}", error.place, error.reason);
    (said, report.first_errors.iter().map(told).collect())
}

/// What these lines say besides what they say of types.
#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let (said, errors) = read_2(Histograms::Native, &format!("{lines}\n# EOF\n"));
    let said: Vec<_> = said.iter().filter(|line| !line.starts_with("type ")).collect();
    assert_eq!(said, expected, "{lines}");
    assert_eq!(errors, [""; 0], "{lines}");
}

/// Why a line of this type is bad, and where.
#[track_caller]
fn check_bad(metric_type: &str, line: &str, expected: &str) {
    let body = format!("# TYPE h {metric_type}\n{line}\n# TYPE up gauge\nup 1\n# EOF\n");
    let (said, errors) = read_2(Histograms::Native, &body);
    assert_eq!(errors, [format!("line 2, {expected}")], "{line}");
    let expected = [
        format!("type h {metric_type}"),
        "type up gauge".into(),
        "up up{} 1.0".into(),
    ];
    assert_eq!(said, expected, "a bad line costs only itself");
}

#[test]
fn lines_of_numbers_are_those_of_openmetrics_with_a_start() {
    check("a 1", &["a a{} 1.0"]);
    check(
        "# TYPE a_total counter\na_total{b=\"c\"} 2 1.5",
        &[r#"a_total{b="c"} a_total{"b": "c"} 2.0 @1500"#],
    );
    check("a 1 1.5 st@1.25 # {} 1 1", &["a a{} 1.0 @1500 since 1250"]);
    check("a 1 st@1.25 # {x=\"}\"} 1 1 # {} 2 2", &["a a{} 1.0 since 1250"]);
    // Of what began with time itself it is not known when it began.
    check("a 1 st@0", &["a a{} 1.0"]);
    check(
        "{\"a.b\",\"c.d\"=\"e\"} 1",
        &[r#"{"a.b","c.d"="e"} a.b{"c.d": "e"} 1.0"#],
    );
    check(
        "# TYPE i_info info\ni_info{a=\"b\"} 1",
        &[r#"i_info{a="b"} i_info{"a": "b"} 1.0"#],
    );
    check(
        "# TYPE s stateset\ns{s=\"on\"} 0",
        &[r#"s{s="on"} s{"s": "on"} 0.0"#],
    );
    check(
        "# UNIT a bytes\n# HELP a b \\\"c\\\"",
        &["unit a bytes", r#"help a "b \"c\"""#],
    );
}

#[test]
fn composite_values_are_histograms_and_summaries() {
    let native = "h {} {count:12, sum:18.5, [-1,-0.7071067811865475):3, [-0.7071067811865475,-0.5):2, \
                  [-0.001,0.001]:2, (0.7071067811865475,1]:1, (1,1.414213562373095]:2, (2,2.82842712474619]:1, \
                  (2.82842712474619,4]:1} Exponential(1) Unknown None None";
    let classic = [
        "h_count h_count{} 12.0",
        "h_sum h_sum{} 18.5",
        r#"h_bucket{le="0.5"} h_bucket{"le": "0.5"} 9.0"#,
        r#"h_bucket{le="+Inf"} h_bucket{"le": "+Inf"} 12.0"#,
    ];
    let body = format!("# TYPE h histogram\nh {NATIVE},bucket:[.5:9,+Inf:12]}}\n# EOF\n");
    let said = |histograms| read_2(histograms, &body).0.split_off(1);
    assert_eq!(said(Histograms::Classic), classic);
    assert_eq!(said(Histograms::Native), [native]);
    assert_eq!(said(Histograms::Both), [&[native][..], &classic].concat());
    // Of one that has no classic buckets, there is the last one.
    let (said, _) = read_2(
        Histograms::Classic,
        &format!("# TYPE h histogram\nh {NATIVE}}}\n# EOF\n"),
    );
    assert_eq!(said[3..], classic[3..]);

    check(
        "# TYPE h histogram\nh{a=\"b\"} {sum:1.5,bucket:[-Inf:0,1:2.5,+Inf:3],count:3} 2 st@1 # {} 1 1",
        &[
            r#"h_count{a="b"} h_count{"a": "b"} 3.0 @2000 since 1000"#,
            r#"h_sum{a="b"} h_sum{"a": "b"} 1.5 @2000 since 1000"#,
            r#"h_bucket{a="b",le="-Inf"} h_bucket{"a": "b", "le": "-Inf"} 0.0 @2000 since 1000"#,
            r#"h_bucket{a="b",le="1.0"} h_bucket{"a": "b", "le": "1.0"} 2.5 @2000 since 1000"#,
            r#"h_bucket{a="b",le="+Inf"} h_bucket{"a": "b", "le": "+Inf"} 3.0 @2000 since 1000"#,
        ],
    );
    check(
        "# TYPE h gaugehistogram\nh {gcount:-1,gsum:NaN,bucket:[1:-2,+Inf:-1]}",
        &[
            "h_gcount h_gcount{} -1.0",
            "h_gsum h_gsum{} NaN",
            r#"h_bucket{le="1.0"} h_bucket{"le": "1.0"} -2.0"#,
            r#"h_bucket{le="+Inf"} h_bucket{"le": "+Inf"} -1.0"#,
        ],
    );
    check(
        "# TYPE \"s.t\" summary\n{\"s.t\",a=\"\\\\\"} {count:2,sum:3,quantile:[0:1,0.99:NaN]}",
        &[
            r#"{"s.t_count",a="\\"} s.t_count{"a": "\\"} 2.0"#,
            r#"{"s.t_sum",a="\\"} s.t_sum{"a": "\\"} 3.0"#,
            r#"{"s.t",a="\\",quantile="0.0"} s.t{"a": "\\", "quantile": "0.0"} 1.0"#,
            r#"{"s.t",a="\\",quantile="0.99"} s.t{"a": "\\", "quantile": "0.99"} NaN"#,
        ],
    );
    check(
        "# TYPE h summary\nh {count:2,sum:3,quantile:[]}",
        &["h_count h_count{} 2.0", "h_sum h_sum{} 3.0"],
    );
    // Counts that are no whole numbers, or too large for one, need not add up.
    for (count, bucket, shown) in [("5.5", "2", "5.5"), ("5", "2.0", "5"), ("1e20", "2", "1e+20")] {
        let line = format!(
            "# TYPE h gaugehistogram\nh {{gcount:{count},gsum:1,schema:0,zero_threshold:0,zero_count:1,\
             positive_spans:[0:1],positive_buckets:[{bucket}]}}"
        );
        let expected =
            format!("h {{}} {{count:{shown}, sum:1, [-0,0]:1, (0.5,1]:2}} Exponential(0) Gauge None None");
        check(&line, &[&expected]);
    }
}

#[test]
fn what_prometheus_refuses_costs_its_line() {
    let check = check_bad;
    check(
        "histogram",
        "h 1",
        "column 3: the value of a histogram or summary must be a composite one",
    );
    check(
        "counter",
        "h NaN",
        "column 3: the value of a counter must be a number",
    );
    check(
        "stateset",
        "h{h=\"a\"} 2",
        "column 10: the value of a stateset must be 0 or 1",
    );
    check(
        "stateset",
        "h{a=\"b\"} 1",
        "column 10: a stateset must have a label that is called as it is",
    );
    check(
        "gauge",
        "h {count:1,sum:1,bucket:[+Inf:1]}",
        "column 3: the value must be a number: it is not of a histogram or summary, as far as is known",
    );
    check(
        "counter",
        "h 1 st@2 3",
        "column 10: unexpected text after the sample",
    );
    check("counter", "h 1 2 3", "column 7: unexpected text after the sample");
    check(
        "counter",
        "h 1 st@2 st@2",
        "column 10: unexpected text after the sample",
    );
    check("counter", "h 1 st@x", "column 5: invalid timestamp");
    check(
        "counter",
        "h{\"i\"} 1",
        "column 2: the metric name is given twice",
    );

    let composite = |fields: &str, expected: &str| {
        check_bad("histogram", &format!("h {{{fields}}}"), expected);
    };
    composite("", "column 3: not a composite value: `count` is missing");
    composite(
        "count:1,bucket:[+Inf:1]",
        "column 3: not a composite value: `sum` is missing",
    );
    composite(
        "count:1,sum:1",
        "column 3: not a composite value: `bucket` is missing",
    );
    let expected = "column 3: not a composite value: `zero_threshold` is missing";
    composite("count:1,sum:1,schema:0,zero_count:0", expected);
    composite(
        "count:1,count:1",
        "column 12: not a composite value: `count` is there twice",
    );
    composite(
        "count:1,",
        "column 12: not a composite value: expected a field that its type has",
    );
    composite(
        "count:1,gcount:1",
        "column 12: not a composite value: expected a field that its type has",
    );
    composite(
        "count: 1",
        "column 10: not a composite value: expected a number or a list",
    );
    composite(
        "count:1 ,sum:1",
        "column 11: not a composite value: expected \",\" or \"}\"",
    );
    composite("count:x,sum:1", "column 10: value is not a number");
    let bucket = |list: &str, expected: &str| composite(&format!("count:1,sum:1,bucket:{list}"), expected);
    bucket(
        "[+Inf:1",
        "column 25: not a composite value: expected a number or a list",
    );
    bucket("1", "column 25: not a composite value: expected a list");
    bucket(
        "[]",
        "column 25: not a composite value: the bucket up to +Inf is missing",
    );
    bucket(
        "[1:1]",
        "column 25: not a composite value: the bucket up to +Inf is missing",
    );
    bucket(
        "[+Inf:1,1:1]",
        "column 33: not a composite value: the list is not in ascending order",
    );
    bucket(
        "[1:1,1:1,+Inf:1]",
        "column 30: not a composite value: the list is not in ascending order",
    );
    bucket(
        "[NaN:1,+Inf:1]",
        "column 26: not a composite value: a bound is not a number",
    );
    bucket(
        "[1:-1,+Inf:1]",
        "column 26: not a composite value: a bucket counts less than nothing",
    );
    bucket("[1,+Inf:1]", "column 26: not a composite value: expected \":\"");
    let native = |fields: &str, expected: &str| {
        composite(&format!("sum:NaN,zero_threshold:0,{fields}"), expected);
    };
    for schema in ["-5", "9", "4294967296", "1.0"] {
        let fields = format!("count:1,zero_count:1,schema:{schema}");
        native(
            &fields,
            "column 57: not a composite value: the schema is not between -4 and 8",
        );
    }
    native(
        "count:-1,zero_count:0,schema:0",
        "column 3: not a histogram: a count of -1",
    );
    native(
        "count:1,zero_count:-1,schema:0",
        "column 3: not a histogram: a count of -1",
    );
    native(
        "count:1,zero_count:2,schema:0",
        "column 3: not a histogram: 2 observations in the buckets, and a count of 1",
    );
    let spans =
        |fields: &str, expected: &str| native(&format!("count:9,zero_count:0,schema:0,{fields}"), expected);
    spans(
        "positive_spans:[0:2]",
        "column 3: not a histogram: spans of 2 buckets, and 0 counts",
    );
    spans("positive_spans:[0:-1]", "column 75: value is not a number");
    spans("negative_buckets:[-1]", "column 77: value is not a number");
    check(
        "histogram",
        "h {count:1,sum:1,schema:0,zero_threshold:+Inf,zero_count:1}",
        "column 42: not a composite value: the threshold is not finite",
    );
    check(
        "histogram",
        "h{le=\"1\"} {count:1,sum:1,bucket:[+Inf:1]}",
        "column 10: label \"le\" occurs twice",
    );
    check(
        "summary",
        "h {count:1,sum:1,quantile:[1.5:1]}",
        "column 28: not a composite value: a quantile is not between 0 and 1",
    );
    check(
        "summary",
        "h {count:1,sum:1}",
        "column 3: not a composite value: `quantile` is missing",
    );
}

#[test]
fn a_type_holds_until_another_family_comes() {
    let body = "# TYPE h histogram\nup 1\nh {count:1,sum:1,bucket:[+Inf:1]}\n\
                # TYPE i info\n# TYPE i_info info\n# UNIT i_info seconds\n# EOF\n";
    let (_, errors) = read_2(Histograms::Native, body);
    let unknown = "the value must be a number: it is not of a histogram or summary, as far as is known";
    assert_eq!(
        errors,
        [
            format!("line 3, column 3: {unknown}"),
            "line 4, column 1: the name of an info must end with \"_info\"".into(),
            "line 6, column 1: an info or stateset has no unit".into(),
        ]
    );
}

#[test]
fn a_family_may_change_its_type() {
    check(
        "# TYPE h histogram\nh {count:1,sum:1,bucket:[+Inf:1]}\n# TYPE h gaugehistogram\nh {gcount:2,gsum:2,bucket:[+Inf:2]}",
        &[
            "h_count h_count{} 1.0",
            "h_sum h_sum{} 1.0",
            r#"h_bucket{le="+Inf"} h_bucket{"le": "+Inf"} 1.0"#,
            "h_gcount h_gcount{} 2.0",
            "h_gsum h_gsum{} 2.0",
            r#"h_bucket{le="+Inf"} h_bucket{"le": "+Inf"} 2.0"#,
        ],
    );
}

#[test]
fn a_bad_line_loses_all_series_that_it_may_be() {
    let lost = |metric_type: &str, line: &str| {
        let body = format!("# TYPE h {metric_type}\n{line}\n# EOF\n");
        let (_, report) = read(&mut Parser::new(), Format::OpenMetrics2, body.as_bytes());
        let lost: Vec<_> = report.lost.names().map(str::to_owned).collect();
        assert_eq!((report.errors, report.lost.has_unnamed()), (1, lost.is_empty()));
        lost.join(" ")
    };
    assert_eq!(lost("gauge", "h x"), "h");
    assert_eq!(lost("histogram", "h {count:1}"), "h h_bucket h_count h_sum");
    assert_eq!(
        lost("gaugehistogram", "h {}"),
        "h h_bucket h_count h_gcount h_gsum h_sum"
    );
    assert_eq!(
        lost("unknown", "h {}"),
        "h h_bucket h_count h_gcount h_gsum h_sum"
    );
    assert_eq!(lost("gauge", "{\"h\",} {}"), "h");
    assert_eq!(lost("gauge", "=1"), "");
}

#[test]
fn pages_end_with_the_end_mark() {
    let cut = |body: &str| {
        let (said, report) = read(&mut Parser::new(), Format::OpenMetrics2, body.as_bytes());
        (said.len(), report.cut.map(|cut| cut.reason()))
    };
    assert_eq!(cut("a 1\n# EOF\n"), (1, None));
    assert_eq!(cut("a 1\n# EOF"), (1, None));
    assert_eq!(cut("a 1\n"), (1, Some("no_eof")));
    assert_eq!(cut("a 1\na{b=\"c\"} 4"), (1, Some("unfinished_line")));
    assert_eq!(cut("a 1\n# TYPE a gau"), (1, Some("unfinished_line")));
    assert_eq!(cut("# EOF\na 1\n"), (0, Some("after_eof")));
    assert_eq!(cut("# EOF\na 1"), (0, Some("after_eof")));
}

#[test]
fn only_wanted_metrics_are_read() {
    let body = format!(
        "# TYPE h histogram\nh {NATIVE},bucket:[1:1,+Inf:12]}}\n# TYPE g histogram\ng {{}}\n# TYPE up gauge\nup 1\n# EOF\n"
    );
    let said = |wanted: &str| {
        let mut parser = Parser::new().with_wanted(Wanted::new([wanted]));
        let (said, report) = read(&mut parser, Format::OpenMetrics2, body.as_bytes());
        let said = said
            .iter()
            .filter_map(|line| line.split(' ').nth(1))
            .map(str::to_owned);
        (said.collect::<Vec<_>>().join(" "), report.skipped, report.errors)
    };
    assert_eq!(said("h_sum"), ("h h_sum{}".into(), 7, 0));
    assert_eq!(said("up"), ("up up{}".into(), 4, 0));
    assert_eq!(said("g"), ("g".into(), 4, 1));
}

/// What one line says may be much more than the line.
#[test]
fn what_is_read_is_bounded() {
    let buckets: String = (0..2_000).map(|bound| format!("{bound}:1,")).collect();
    let label = "x".repeat(10_000);
    let line = |count: usize| {
        let line = format!("h{{a=\"{label}\"}} {{count:1,sum:1,bucket:[{buckets}+Inf:1]}}\n");
        format!("# TYPE h histogram\n{}# EOF\n", line.repeat(count))
    };
    let limits = Limits::default().with_body_bytes(1 << 20);
    let (said, report) = read(
        &mut Parser::new().with_limits(limits),
        Format::OpenMetrics2,
        line(1).as_bytes(),
    );
    assert_eq!(report.cut.map(|cut| cut.reason()), Some("body_too_large"));
    // As much as fits, and the one more that shows it.
    let texts: usize = said
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().len())
        .sum();
    assert!((1 << 20..(1 << 20) + 20_000).contains(&texts), "{texts}");

    let check = |limits: Limits, expected: &str| {
        let body = "# TYPE h histogram\nh{a=\"b\"} {count:9,sum:1,schema:0,zero_threshold:0,zero_count:7,\
                    positive_spans:[0:1,1:1],positive_buckets:[1,1],bucket:[1:1,2:1,+Inf:1]}\n# EOF\n";
        let mut parser = Parser::new()
            .with_limits(limits)
            .with_histograms(Histograms::Both);
        let (said, report) = read(&mut parser, Format::OpenMetrics2, body.as_bytes());
        let error = report
            .first_errors
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(error.contains(expected) && said.len() == 1, "{error} {said:?}");
    };
    let of = Limits::default;
    check(of().with_buckets(1), "line 2, column 84: more than 1 buckets");
    check(of().with_buckets(2), "line 2, column 128: more than 2 buckets");
    check(of().with_labels(1), "line 2, column 9: more than 1 labels");
    check(of().with_line_bytes(40), "line 2, column 1: line of");
    check(
        of().with_label_value_bytes(0),
        "line 2, column 5: label value of 1 bytes",
    );
    let (said, report) = read(
        &mut Parser::new().with_limits(of().with_samples(2)),
        Format::OpenMetrics2,
        b"# TYPE h histogram\nh {count:1,sum:1,bucket:[1:1,2:1,+Inf:1]}\n# EOF\n",
    );
    assert_eq!(
        (said.len(), report.cut.map(|cut| cut.reason())),
        (3, Some("too_many_samples"))
    );
}
