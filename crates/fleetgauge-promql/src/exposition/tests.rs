use super::*;

/// What a page says, a line an event: samples as `name{labels} value @timestamp type`, then bad lines.
fn read(parser: &mut Parser, format: Format, body: impl AsRef<[u8]>) -> (Vec<String>, Report) {
    let mut said = Vec::new();
    let mut page = parser.page(format, body.as_ref());
    while let Some(event) = page.next() {
        said.push(match event {
            Event::Sample(sample) => {
                let Some(labels) = page.labels() else { continue };
                let mut text = format!("{}{labels:?} {:?}", sample.name(), sample.value);
                if let Some(timestamp) = sample.timestamp {
                    text += &format!(" @{timestamp}");
                }
                if let Some(metric_type) = sample.metric_type() {
                    text += &format!(" {metric_type}");
                }
                text
            }
            Event::Type { family, metric_type } => format!("type {family} {metric_type}"),
            Event::Help { family, text } => format!("help {family} {text:?}"),
            Event::Unit { family, unit } => format!("unit {family} {unit}"),
            Event::Histogram(sample) => format!("{} {}", sample.name(), sample.histogram),
        });
    }
    let report = page.finish();
    said.extend(report.first_errors.iter().map(|e| match e.place {
        Place::Line { line, column } => format!("{line}:{column} {}", e.reason),
        Place::Byte(at) => format!("{at} {}", e.reason),
    }));
    (said, report)
}

#[track_caller]
fn check_in(format: Format, body: impl AsRef<[u8]>, expected: &[&str]) {
    let body = [body.as_ref(), b"\n"].concat();
    let (said, report) = read(&mut Parser::new(), format, &body);
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&body));
    let counted = report.samples + report.metadata + report.ignored + report.skipped + report.errors;
    assert_eq!(report.lines, counted);
}

#[track_caller]
fn check(body: impl AsRef<[u8]>, expected: &[&str]) {
    check_in(Format::Text, body, expected);
}

#[track_caller]
fn check_open(body: &str, expected: &[&str]) {
    check_in(Format::OpenMetrics, format!("{body}\n# EOF"), expected);
}

#[test]
fn samples() {
    check("up 1", &["up{} 1.0"]);
    check("up 1\r\ndown 0\r\n", &["up{} 1.0", "down{} 0.0"]);
    check("\n\nup 1\n \t\n", &["up{} 1.0"]);
    check("\tup\t1\t", &["up{} 1.0"]);
    check("up{} 1", &["up{} 1.0"]);
    check("up { a = \"b\" , c=\"d\" } 1", &[r#"up{"a": "b", "c": "d"} 1.0"#]);
    check("up{a=\"b\",} 1", &[r#"up{"a": "b"} 1.0"#]);
    check("up{a=\"b\"c=\"d\"} 1", &[r#"up{"a": "b", "c": "d"} 1.0"#]);
    check("up{a=\"b\"}1", &[r#"up{"a": "b"} 1.0"#]);
    check("up{a=\"\"} 1", &[r#"up{"a": ""} 1.0"#]);
    check("vllm:x_1{le=\"+Inf\"} NaN", &[r#"vllm:x_1{"le": "+Inf"} NaN"#]);
    check(":x +Inf\n_y -inf", &[":x{} inf", "_y{} -inf"]);
    check("up 1 1763930000500", &["up{} 1.0 @1763930000500"]);
    check("up{a=\"b\"}\t1\t-5\t", &[r#"up{"a": "b"} 1.0 @-5"#]);
    // Braces, commas, hashes and blanks in a value are text.
    check(
        r#"up{a="}",b="{c=\"d\"} 1 # ,"} 1"#,
        &[r#"up{"a": "}", "b": "{c=\"d\"} 1 # ,"} 1.0"#],
    );
    check(r#"up{a="Größe 大"} 1"#, &[r#"up{"a": "Größe 大"} 1.0"#]);
}

#[test]
fn escapes() {
    check(r#"up{a="\\ \" \n"} 1"#, &[r#"up{"a": "\\ \" \n"} 1.0"#]);
    check(r#"up{a="C:\\new"} 1"#, &[r#"up{"a": "C:\\new"} 1.0"#]);
    // Other backslashes stand for themselves.
    check(r#"up{a="\d\\"} 1"#, &[r#"up{"a": "\\d\\"} 1.0"#]);
    check(r#"# HELP up a\\b\nc\"d"#, &[r#"help up "a\\b\nc\\\"d""#]);
    check_open(r#"# HELP up a\\b\nc\"d"#, &[r#"help up "a\\b\nc\"d""#]);
}

#[test]
fn quoted_names() {
    check(
        r#"{"http.requests","label name"="v"} 1"#,
        &[r#"http.requests{"label name": "v"} 1.0"#],
    );
    check(r#"{"up"} 1"#, &["up{} 1.0"]);
    check(r#"{"up",} 1 5"#, &["up{} 1.0 @5"]);
    check(r#"{ "a}b\"c\\" , "d" = "e" } 1"#, &[r#"a}b"c\{"d": "e"} 1.0"#]);
    check(r#"{a="b","up"} 1"#, &[r#"up{"a": "b"} 1.0"#]);
    check(r#"up{"a.b"="c"} 1"#, &[r#"up{"a.b": "c"} 1.0"#]);
    check(
        "# TYPE \"a.b\" counter\n{\"a.b_total\"} 1",
        &["type a.b counter", "a.b_total{} 1.0 counter"],
    );
    check(r#"up{"down"} 1"#, &["1:3 the metric name is given twice"]);
    check(r#"{"up","down"} 1"#, &["1:7 the metric name is given twice"]);
    check(r#"{a="b"} 1"#, &["1:1 expected a metric name"]);
    check("{} 1", &["1:1 expected a metric name"]);
    check(r#"{""} 1"#, &["1:2 expected a label name"]);
    check(r#"{"up",""="x"} 1"#, &["1:7 expected a label name"]);
}

#[test]
fn metadata_and_types() {
    check(
        "# HELP a help  of a \n# TYPE a counter\na 1\na_total 2\na_created 3\nb 4\n",
        &[
            "help a \"help  of a \"",
            "type a counter",
            "a{} 1.0 counter",
            "a_total{} 2.0 counter",
            "a_created{} 3.0 counter",
            "b{} 4.0",
        ],
    );
    // A histogram and a summary stay whole; what only looks like a part of one is not.
    check(
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 2\nh_count 3\nh 4\nh_max 5\n",
        &[
            "type h histogram",
            r#"h_bucket{"le": "1"} 1.0 histogram"#,
            "h_sum{} 2.0 histogram",
            "h_count{} 3.0 histogram",
            "h{} 4.0",
            "h_max{} 5.0",
        ],
    );
    check(
        "#  TYPE\ts\t summary \r\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\n",
        &[
            "type s summary",
            r#"s{"quantile": "0.5"} 1.0 summary"#,
            "s_sum{} 2.0 summary",
            "s_count{} 3.0 summary",
        ],
    );
    // A new type holds at once, also for the name before.
    check(
        "g 0\n# TYPE g gauge\ng 1\n# TYPE g counter\ng 2",
        &[
            "g{} 0.0",
            "type g gauge",
            "g{} 1.0 gauge",
            "type g counter",
            "g{} 2.0 counter",
        ],
    );
    check(
        "# HELP a\n# HELP b \n# TYPE u untyped",
        &["help a \"\"", "help b \"\"", "type u unknown"],
    );
    check(
        "# UNIT a seconds\n# EOF\na 1\n#\n# \n#TYPE a\n# TYPE\n# HELP\n# x\n## y",
        &["a{} 1.0"],
    );
    check("# TYPE a nonsense\na 1", &["a{} 1.0", "1:10 unknown metric type"]);
    check("# TYPE a\na 1", &["a{} 1.0", "1:9 unknown metric type"]);
    check(
        "# HELP 1 x\n# TYPE a.b gauge",
        &[
            "1:8 expected a metric name",
            "2:9 character that a name cannot hold without quotes",
        ],
    );
}

#[test]
fn open_metrics() {
    check_open(
        "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1 1520879607.789",
        &[
            "type a_seconds gauge",
            "unit a_seconds seconds",
            "a_seconds{} 1.0 @1520879607789 gauge",
        ],
    );
    // Exemplars, with and without timestamps on either side.
    check_open("a_total 1 # {} 2", &["a_total{} 1.0"]);
    check_open(
        "a_bucket{le=\"1\"} 1 # {trace=\"} #\"} 0.5 1.5\nb 2 3 # {a=\"b\"} 4",
        &[r#"a_bucket{"le": "1"} 1.0"#, "b{} 2.0 @3000"],
    );
    check_open(
        r##"a{b="# {",c="}"} 1 # {d="e"} 2"##,
        &[r##"a{"b": "# {", "c": "}"} 1.0"##],
    );
    check_open(
        "# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\n# TYPE g gaugehistogram\ng_gsum 1",
        &[
            "type i info",
            r#"i_info{"v": "1"} 1.0 info"#,
            "type s stateset",
            r#"s{"s": "on"} 1.0 stateset"#,
            "type g gaugehistogram",
            "g_gsum{} 1.0 gaugehistogram",
        ],
    );
    check_open(r#"a{b="c"d="e"} 1"#, &[r#"1:8 expected "," between labels"#]);
    check_open("a 1 x", &["1:5 invalid timestamp"]);
}

/// Some clients write exemplars in the text format, too; VictoriaMetrics passes over them as well.
#[test]
fn what_follows_a_hash_after_the_sample_is_passed_over() {
    check("a 1 # {} 2", &["a{} 1.0"]);
    check("a 1 5 # {} 2", &["a{} 1.0 @5"]);
    check("a 1 #", &["a{} 1.0"]);
    check("a{b=\"c\"} 1 # a remark", &[r#"a{"b": "c"} 1.0"#]);
    check(
        "h_bucket{le=\"0.1\"} 10 # {trace_id=\"abc\"} 0.06\nh_bucket{le=\"# } {\"} 2 # {a=\"}\"} 1 1",
        &[
            r#"h_bucket{"le": "0.1"} 10.0"#,
            r##"h_bucket{"le": "# } {"} 2.0"##,
        ],
    );
    check(r#"{"a b",c="d"} 1 # {e="f"} 2"#, &[r#"a b{"c": "d"} 1.0"#]);
    check("a # 1", &["1:3 value is not a number"]);
    check("a 1# 2", &["1:3 value is not a number"]);
    check("a{b=\"c\" # } 1", &["1:9 expected a label name"]);
}

#[test]
fn a_last_line_without_a_line_feed_is_refused() {
    let check = |format, body: &str, expected: &[&str], cut: Option<Cut>| {
        let (said, report) = read(&mut Parser::new(), format, body);
        assert_eq!(said, expected, "{body}");
        assert_eq!(report.cut, cut, "{body}");
        assert_eq!(report.is_complete(), cut.is_none(), "{body}");
        // Whatever came after it is lost as well.
        assert_eq!(report.lost.may_include("other"), cut.is_some(), "{body}");
        let counted = report.samples + report.metadata + report.ignored + report.skipped + report.errors;
        assert_eq!(report.lines, counted, "{body}");
    };
    let text = |body: &str, expected: &[&str]| check(Format::Text, body, expected, Some(Cut::UnfinishedLine));
    text(
        "a{b=\"1\"} 42\na{b=\"2\"} 4",
        &[
            r#"a{"b": "1"} 42.0"#,
            "2:11 the last line does not end with a line feed",
        ],
    );
    text("a 1\nb", &["a{} 1.0", "2:2 expected a value"]);
    text(
        "a 1\n# HELP b help",
        &["a{} 1.0", "2:14 the last line does not end with a line feed"],
    );
    text(
        "a 1\n#",
        &["a{} 1.0", "2:2 the last line does not end with a line feed"],
    );
    text(
        "a 1\n ",
        &["a{} 1.0", "2:2 the last line does not end with a line feed"],
    );
    text("a 1\r", &["1:5 the last line does not end with a line feed"]);
    text("<html></html>", &["1:1 expected a metric name"]);
    check(Format::Text, "", &[], None);
    check(Format::Text, "a 1\n", &["a{} 1.0"], None);
    let open = |body: &str, expected: &[&str], cut| check(Format::OpenMetrics, body, expected, cut);
    open("a 1\n# EOF", &["a{} 1.0"], None);
    open("a 1\n# EOF ", &["a{} 1.0"], None);
    let unfinished = ["a{} 1.0", "2:4 the last line does not end with a line feed"];
    open("a 1\nb 1", &unfinished, Some(Cut::UnfinishedLine));
    open(
        "a 1\n# EO",
        &["a{} 1.0", "2:5 the last line does not end with a line feed"],
        Some(Cut::UnfinishedLine),
    );
    open("a 1\n# EOF\nb", &["a{} 1.0"], Some(Cut::AfterEof));
    // What nobody wants may be cut as well, and what follows it.
    let mut parser = Parser::new().with_wanted(Wanted::new(["b"]));
    let (said, report) = read(&mut parser, Format::Text, "a 1");
    assert_eq!((said.len(), report.cut), (1, Some(Cut::UnfinishedLine)));
    // A line that is too long, or no text, says so.
    let short = Limits::default().with_line_bytes(3);
    let (said, _) = read(&mut Parser::new().with_limits(short), Format::Text, "a 10");
    assert_eq!(said, ["1:1 line of 4 bytes exceeds the limit of 3"]);
    assert_eq!(
        read(&mut Parser::new(), Format::Text, b"a 1\xff").0,
        ["1:4 invalid UTF-8"]
    );
}

#[test]
fn a_bad_line_costs_only_itself() {
    let bad = |line: &str, expected: &str| {
        let said = ["before{} 1.0", "after{} 2.0", &format!("2:{expected}")];
        check(format!("before 1\n{line}\nafter 2"), &said);
    };
    bad("<html>", "1 expected a metric name");
    bad("1up 1", "1 expected a metric name");
    bad("größe 1", "3 character that a name cannot hold without quotes");
    bad("a.b 1", "2 character that a name cannot hold without quotes");
    bad("up", "3 expected a value");
    bad("up{a=\"b\"}", "10 expected a value");
    bad("up{a=\"b\" 1", "3 labels without closing brace");
    bad("up{a=\"b} 1", "6 text without closing quote");
    bad("up{a=\"b\\\"} 1", "6 text without closing quote");
    bad("up{a=b} 1", "6 expected a label value in quotes");
    bad("up{a} 1", "5 expected \"=\" after the label name");
    bad(
        "up{a.b=\"c\"} 1",
        "5 character that a name cannot hold without quotes",
    );
    bad(
        "up{a:b=\"c\"} 1",
        "5 character that a name cannot hold without quotes",
    );
    bad("up{=\"b\"} 1", "4 expected a label name");
    bad("up{,} 1", "4 expected a label name");
    bad("up{a=\"b\",,} 1", "10 expected a label name");
    bad("up{1=\"b\"} 1", "4 expected a label name");
    bad("up{a=\"b\"} } 1", "9 expected a label name");
    bad("up{a=\"ü\",a=\"c\"} 1", "10 label \"a\" occurs twice");
    bad("up{a=\"b\",\"a\"=\"b\"} 1", "10 label \"a\" occurs twice");
    bad(
        "up{\"a\\\\\"=\"b\",\"a\\\\\"=\"b\"} 1",
        "14 label \"a\\\\\" occurs twice",
    );
    bad("up{__name__=\"down\"} 1", "4 label \"__name__\" occurs twice");
    bad("up one", "4 value is not a number");
    bad("up 1e999", "4 value out of range");
    bad("up 1 2 3", "8 unexpected text after the sample");
    bad("up 1 1.5", "6 invalid timestamp");
    bad("up 1 99999999999999999999", "6 invalid timestamp");
    check(
        b"a 1\nb{c=\"\xc3\xa4\xff\"} 2\nc 3",
        &["a{} 1.0", "c{} 3.0", "2:7 invalid UTF-8"],
    );
    check(b"a 1\nb{c=\"\xc3", &["a{} 1.0", "2:6 invalid UTF-8"]);
}

#[test]
fn bad_lines_are_counted_and_the_first_described() {
    let limits = Limits::default().with_described_errors(2);
    let body = format!("{}\n\u{fc}{}\n?\n?\nup 1\n", "x".repeat(50), "é".repeat(500));
    let (said, report) = read(&mut Parser::new().with_limits(limits), Format::Text, &body);
    assert_eq!(said[0], "up{} 1.0");
    assert_eq!(
        (report.samples, report.errors, report.first_errors.len()),
        (1, 4, 2)
    );
    let text = &report.first_errors[1].text;
    assert!(
        text.len() < 130 && text.starts_with("üéé") && text.ends_with("é…"),
        "{text}"
    );
    assert!(!report.is_complete());
}

#[test]
fn limits_on_a_line_cost_that_line() {
    let limits = Limits::default()
        .with_line_bytes(40)
        .with_name_bytes(10)
        .with_labels(2)
        .with_label_value_bytes(5);
    let mut parser = Parser::new().with_limits(limits);
    let mut check = |line: &str, expected: &str| {
        let (said, _) = read(&mut parser, Format::Text, format!("{line}\nup 1\n"));
        assert_eq!(said, ["up{} 1.0", expected]);
    };
    check(&"x".repeat(41), "1:1 line of 41 bytes exceeds the limit of 40");
    check(
        &format!("# {}", "x".repeat(41)),
        "1:1 line of 43 bytes exceeds the limit of 40",
    );
    check("abcdefghijk 1", "1:1 name of 11 bytes exceeds the limit of 10");
    check(
        "# TYPE abcdefghijk gauge",
        "1:8 name of 11 bytes exceeds the limit of 10",
    );
    check(
        r#"{"abcdefghijk"} 1"#,
        "1:2 name of 11 bytes exceeds the limit of 10",
    );
    check(
        r#"a{abcdefghijk="1"} 1"#,
        "1:3 name of 11 bytes exceeds the limit of 10",
    );
    check(
        r#"a{a="123456"} 1"#,
        "1:5 label value of 6 bytes exceeds the limit of 5",
    );
    check(r#"a{a="1",b="2",c="3"} 1"#, "1:15 more than 2 labels");
}

#[test]
fn limits_on_the_page_end_it_marked() {
    let check = |format, limits, body: &str, samples: usize, cut: Option<Cut>| {
        let (said, report) = read(&mut Parser::new().with_limits(limits), format, body);
        assert_eq!(
            (said.len(), report.samples, report.cut),
            (samples, samples, cut),
            "{body}"
        );
    };
    let body = "a 1\nb 2\nc 3\n";
    let large = |limit| Cut::BodyTooLarge { bytes: 12, limit };
    check(Format::Text, Limits::default().with_body_bytes(12), body, 3, None);
    // The last line within the limit may be half a line, so it is not read.
    check(
        Format::Text,
        Limits::default().with_body_bytes(11),
        body,
        2,
        Some(large(11)),
    );
    check(
        Format::Text,
        Limits::default().with_body_bytes(8),
        body,
        2,
        Some(large(8)),
    );
    check(
        Format::Text,
        Limits::default().with_body_bytes(3),
        body,
        0,
        Some(large(3)),
    );
    check(
        Format::OpenMetrics,
        Limits::default().with_body_bytes(8),
        body,
        2,
        Some(large(8)),
    );
    let many = Some(Cut::TooManySamples { limit: 2 });
    check(Format::Text, Limits::default().with_samples(2), body, 2, many);
    check(Format::Text, Limits::default().with_samples(3), body, 3, None);
    check(Format::OpenMetrics, Limits::default(), "a 1\n# EOF", 1, None);
    check(Format::OpenMetrics, Limits::default(), "a 1\n# EOF\n", 1, None);
    check(
        Format::OpenMetrics,
        Limits::default(),
        "a 1\n",
        1,
        Some(Cut::NoEof),
    );
    check(Format::OpenMetrics, Limits::default(), "", 0, Some(Cut::NoEof));
    check(
        Format::OpenMetrics,
        Limits::default(),
        "a 1\n# EOF\nb 2\n",
        1,
        Some(Cut::AfterEof),
    );
}

#[test]
fn only_wanted_families_are_read() {
    let body = "\
# HELP a x
# TYPE a histogram
a_bucket{le=\"1\"} 1
a_bucket{le=\"+Inf\"} oops
a_sum 2
# HELP b x
# TYPE b gauge
b{x=\"1\"} oops
b{x=\"2\"} 1
bb 1
{\"b\"} 1
{\"a_count\"} 3
<html>
c_total 4
";
    let mut parser = Parser::new().with_wanted(Wanted::new(["a", "c"]));
    let (said, report) = read(&mut parser, Format::Text, body);
    assert_eq!(
        said,
        [
            "help a \"x\"",
            "type a histogram",
            r#"a_bucket{"le": "1"} 1.0 histogram"#,
            "a_sum{} 2.0 histogram",
            "a_count{} 3.0 histogram",
            "c_total{} 4.0",
            "4:21 value is not a number",
            "13:1 expected a metric name",
        ]
    );
    assert_eq!((report.lines, report.skipped, report.errors), (14, 6, 2));
}

#[test]
fn the_text_of_a_series_is_at_hand_before_its_labels() {
    let body = " up 1\nup{a=\"b\"} 2\nup { a=\"b\" } 3 4\n{\"up\"} 5\n";
    let mut parser = Parser::new();
    let page = parser.page(Format::Text, body.as_bytes());
    let series: Vec<_> = page
        .filter_map(|event| match event {
            Event::Sample(sample) => Some(sample.series()),
            _ => None,
        })
        .collect();
    assert_eq!(series, ["up", "up{a=\"b\"}", "up { a=\"b\" }", "{\"up\"}"]);
}

#[test]
fn labels_belong_to_the_sample_given_last() {
    let mut parser = Parser::new();
    let mut page = parser.page(Format::Text, b"# TYPE a gauge\na{b=\"c\"} 1\na{b=c} 2\na 3\n");
    assert!(page.labels().is_none());
    page.next();
    assert!(page.labels().is_none());
    page.next();
    assert_eq!(page.labels().unwrap().get("b").as_deref(), Some("c"));
    assert_eq!(page.labels().unwrap().len(), 1);
    page.next();
    // Bad labels are counted once, however often they are asked for.
    assert!(page.labels().is_none() && page.labels().is_none());
    page.next();
    assert!(page.labels().unwrap().is_empty());
    assert_eq!(page.next(), None);
    assert!(page.labels().is_none());
    let report = page.finish();
    assert_eq!((report.samples, report.errors), (2, 1));
}

#[test]
fn labels_do_not_depend_on_those_of_the_line_before() {
    check(
        "a{b=\"1\",c=\"2\"} 1\na{b=\"1\"} 2\na{b=\"1\",b=\"2\"} 3\na{c=\"1\",b=\"2\"} 4\na{b=\"1\",c=\"2\",b=\"3\"} 5\na{b2=\"1\"} 6",
        &[
            r#"a{"b": "1", "c": "2"} 1.0"#,
            r#"a{"b": "1"} 2.0"#,
            r#"a{"c": "1", "b": "2"} 4.0"#,
            r#"a{"b2": "1"} 6.0"#,
            "3:9 label \"b\" occurs twice",
            "5:15 label \"b\" occurs twice",
        ],
    );
    // A name that was good in quotes is not good without.
    check(
        "a{\"b.c\"=\"1\"} 1\na{b.c=\"1\"} 2",
        &[
            r#"a{"b.c": "1"} 1.0"#,
            "2:4 character that a name cannot hold without quotes",
        ],
    );
    check_open(
        "a{b=\"1\",c=\"2\"} 1\na{b=\"1\"c=\"2\"} 2",
        &[
            r#"a{"b": "1", "c": "2"} 1.0"#,
            "2:8 expected \",\" between labels",
        ],
    );
}

#[test]
fn the_metrics_that_lost_samples_are_named() {
    let lost = |parser: Parser, format, body: &[u8]| read(&mut { parser }, format, body).1.lost;
    let check = |line: &[u8], names: &[&str], has_unnamed: bool| {
        let limits = Limits::default().with_name_bytes(10).with_line_bytes(60);
        let body = [b"before 1\n", line, b"\nafter 2\n"].concat();
        let lost = lost(Parser::new().with_limits(limits), Format::Text, &body);
        let line = String::from_utf8_lossy(line);
        assert_eq!(lost.names().collect::<Vec<_>>(), names, "{line}");
        assert_eq!(lost.has_unnamed(), has_unnamed, "{line}");
        assert_eq!(lost.is_empty(), names.is_empty() && !has_unnamed, "{line}");
        assert!(names.iter().all(|name| lost.may_include(name)), "{line}");
        assert_eq!(lost.may_include("before"), has_unnamed, "{line}");
    };
    let lines = |line: &str, names: &[&str]| check(line.as_bytes(), names, false);
    lines("up 1", &[]);
    lines("up 1e999", &["up"]);
    lines(" up\t six", &["up"]);
    lines("up", &["up"]);
    lines("up{a=\"b\"} 1 2 3", &["up"]);
    lines("up{a=b} 1\ndown{a} 1\nup{b} 1", &["down", "up"]);
    lines("up{a=\"1\",a=\"2\"} 1", &["up"]);
    lines("up{abcdefghijk=\"1\"} 1", &["up"]);
    lines(&format!("up{{a=\"{}\"}} 1", "x".repeat(60)), &["up"]);
    lines("{ \"a b\" ,c=\"d\"} six", &["a b"]);
    lines(r#"{"a\"b"} six"#, &["a\"b"]);
    // No sample is lost with a comment.
    lines("# TYPE up nonsense", &[]);
    lines(&format!("# {}", "x".repeat(60)), &[]);
    check(b"# HELP up \xff", &[], false);
    check(b"up{a=\"\xff\"} 1", &["up"], false);
    check(b"{\"up\",a=\"\xff\"} 1", &["up"], false);
    // What could be any metric.
    let any = |line: &[u8]| check(line, &[], true);
    any(b"<html>");
    any(b"a.b 1");
    any(b"abcdefghijk 1");
    any(b"up\xff 1");
    any(b"{\"up\xff\"} 1");
    any(b"{\"abcdefghijk\"} 1");
    any(b"{\"up 1");
    any(b"{a=\"b\"} 1");
    any(b"{\"a\"=\"b\",\"up\"} six");
    any(b"up{\"down\"} 1");
    any(b"up{__name__=\"down\"} 1");
    // More than are kept.
    let many = |count| -> String { (0..count).map(|n| format!("a{n:03} x\n")).collect() };
    let of_many = |count| lost(Parser::new(), Format::Text, many(count).as_bytes());
    assert_eq!(
        (of_many(64).names().count(), of_many(64).has_unnamed()),
        (64, false)
    );
    assert_eq!(
        (of_many(65).names().count(), of_many(65).has_unnamed()),
        (64, true)
    );
    // What nobody wanted is not missed; of what is cut off nobody knows what it was.
    let wanted = Parser::new().with_wanted(Wanted::new(["a001"]));
    assert_eq!(
        lost(wanted.clone(), Format::Text, many(9).as_bytes())
            .names()
            .collect::<Vec<_>>(),
        ["a001"]
    );
    assert!(lost(wanted, Format::Text, b"b{c=\"\xff\"} 1\n").is_empty());
    assert!(lost(Parser::new(), Format::OpenMetrics, b"a 1\n").may_include("b"));
}
