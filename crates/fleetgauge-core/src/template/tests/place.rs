//! What a value becomes where it stands: a string, a regular expression, a token, one of a list.

use super::*;

#[test]
fn decision_2_strings_are_escaped_for_their_quotes() {
    let nasty = "a\"b'c\\d\ne{{.y}}`";
    check(
        r#"up{a="{{.x}}"}"#,
        &[("x", nasty)],
        "up{a=\"a\\\"b'c\\\\d\\ne{{.y}}`\"}",
    );
    check(
        "up{a='{{.x}}'}",
        &[("x", nasty)],
        "up{a='a\"b\\'c\\\\d\\ne{{.y}}`'}",
    );
    check("up{a=`{{.x}}`}", &[("x", "a\"'\\\n")], "up{a=`a\"'\\\n`}");
    unplaceable("up{a=`{{.x}}`}", "a`", "a raw string cannot hold a backtick");
    check(
        r#"up{a="p-{{.x}}-{{.y}}"}"#,
        &[("x", ""), ("y", "\"")],
        r#"up{a="p--\""}"#,
    );
    check(
        r#"{"{{.x}}", "{{.y}}"="1"}"#,
        &[("x", "a.b"), ("y", "c\"d")],
        r#"{"a.b", "c\"d"="1"}"#,
    );
    check(
        r#"label_replace(up, "a", "{{.x}}", "b", "(.*)")"#,
        &[("x", "\\")],
        r#"label_replace(up, "a", "\\", "b", "(.*)")"#,
    );
    refused(r#"up{a="\{{.x}}"}"#, "1:7", "escape");
    refused(r#"up{a="\x4{{.x}}"}"#, "1:7", "escape");
    refused("up{a=\"b\n{{.x}}\"}", "1:6", "not closed on its line");
}

#[test]
fn decision_2_text_in_a_matchers_regex_is_quoted_and_a_regex_stays_one_alternative() {
    check(r#"up{a=~"{{.x}}"}"#, &[("x", "a.b|c")], r#"up{a=~"a\\.b\\|c"}"#);
    check(r#"up{a!~'{{.x}}+'}"#, &[("x", "ab")], r#"up{a!~'(?:ab)+'}"#);
    check(r#"up{a=~"{{.x}}{2}"}"#, &[("x", "a.")], r#"up{a=~"(?:a\\.){2}"}"#);
    check(r#"up{a=~"{{.re}}"}"#, &[("re", "a|b")], r#"up{a=~"a|b"}"#);
    check(
        r#"up{a=~"prefix-{{.re}}"}"#,
        &[("re", "a|b")],
        r#"up{a=~"prefix-(?:a|b)"}"#,
    );
    check(
        r#"up{a=~"{{.re}}-suffix"}"#,
        &[("re", "a|b")],
        r#"up{a=~"(?:a|b)-suffix"}"#,
    );
    check(
        r#"up{a=~"{{.re}}{{.x}}"}"#,
        &[("re", "a|b"), ("x", ".")],
        r#"up{a=~"(?:a|b)\\."}"#,
    );
    check(
        r#"up{a=~"{{if .opt}}x{{end}}{{.re}}"}"#,
        &[("re", "(?i)a|b")],
        r#"up{a=~"(?:(?i)a|b)"}"#,
    );
    check(
        r#"up{a=~"{{with .re}}{{.}}{{end}}"}"#,
        &[("re", "a|b")],
        r#"up{a=~"a|b"}"#,
    );
    check(r#"up{a=~"{{or .re ".*"}}"}"#, &[], r#"up{a=~".*"}"#);
    check(r#"up{a=~"{{print .x "|"}}"}"#, &[("x", "a")], r#"up{a=~"a\\|"}"#);
    check(
        r#"up{a=~"{{$v := .re}}{{$v}}"}"#,
        &[("re", r"\d+")],
        r#"up{a=~"\\d+"}"#,
    );
    check(r#"up{a=~"({{.re}})"}"#, &[("re", "a|b")], r#"up{a=~"((?:a|b))"}"#);
    for (value, written) in [
        (r"\p{Greek}", r"\\p{Greek}"),
        ("a{b", "a{b"),
        ("x{,3}", "x{,3}"),
        ("[a&&b]", "[a&&b]"),
        (r"\Qa.b\E", r"\\Qa.b\\E"),
    ] {
        check(
            r#"up{a=~"{{.re}}"}"#,
            &[("re", value)],
            &format!("up{{a=~\"{written}\"}}"),
        );
    }
    check(r#"up{a=~"{{.q}}"}"#, &[("q", "0.5")], r#"up{a=~"0\\.5"}"#);
    for value in [
        "(", "a)|(b", "a\\", "(?x)a", "(?P<a>b)", "a{", r"\Qa", r"\0", "a{1001}",
    ] {
        unplaceable(r#"up{a=~"{{.re}}"}"#, value, "\"re\"".trim_matches('"'));
    }
    for (source, place, message) in [
        (r#"up{a="{{.re}}"}"#, "1:9", "belongs in the string of =~"),
        ("{{.re}}", "1:3", "kind regex cannot stand here"),
        (r#"up{a=~"[{{.x}}]"}"#, "1:11", "character class"),
        (r#"up{a=~"a{ {{- .x}}}"}"#, "1:15", "repetition"),
        (r#"up{a=~"\\{{.x}}"}"#, "1:12", "escape of a regex"),
        (r#"up{a=~"(?{{.x}})"}"#, "1:12", "head of a group"),
        (r#"up{a=~"\\Q{{.x}}\\E"}"#, "1:13", "between \\Q and \\E"),
        (r#"up{a=~"[a"}"#, "1:10", "character class"),
        (
            r#"up{a=~"{{printf "%s.*" .re}}"}"#,
            "1:10",
            "would make a text of a regular expression",
        ),
        (
            r#"up{a=~"{{or .re .x}}"}"#,
            "1:10",
            "chooses between a regular expression",
        ),
        (
            r#"{{$v := ".*"}}{{if .re}}{{$v = .re}}{{end}}up{a=~"{{$v}}"}"#,
            "1:27",
            "not both in turn",
        ),
    ] {
        refused(source, place, message);
    }
}

#[test]
fn decision_2_a_signed_number_binds_as_an_unsigned_one_does() {
    let negative = |source: &str, expected: &str| {
        for param in ["q", "x"] {
            check(
                &source.replace("$", &format!("{{{{.{param}}}}}")),
                &[(param, "-3")],
                expected,
            );
        }
    };
    negative("x > $", "x > (-3)");
    negative("2 ^ $", "2 ^ (-3)");
    negative("$ ^ 2", "(-3) ^ 2");
    negative("x - $", "x - (-3)");
    negative("-$", "-(-3)");
    negative("x >= bool $ or y", "x >= bool (-3) or y");
    negative("clamp(x, $, 3)", "clamp(x, (-3), 3)");
    negative("{{if true}}$ {{else}}1 {{end}}^ 2", "(-3) ^ 2");
    negative("up @ $", "up @ -3");
    negative("up{a=\"$\"} # $", "up{a=\"-3\"} # -3");
    negative("up{a=~\"$\"}", "up{a=~\"-3\"}");
    for (value, expected) in [
        ("+3", "3"),
        ("-0x1F", "(-0x1F)"),
        ("-1e-3", "(-1e-3)"),
        ("Inf", "Inf"),
        ("+Inf", "Inf"),
        ("-Inf", "(-Inf)"),
        ("NaN", "NaN"),
    ] {
        check("x < {{.q}}", &[("q", value)], &format!("x < {expected}"));
        check(
            "up{le=\"{{.q}}\"}",
            &[("q", value)],
            &format!("up{{le=\"{value}\"}}"),
        );
    }
    unplaceable("x < {{.q}}", "-NaN", "NaN has no sign");
}

/// A template whose parameters `pods` and `labels` are lists, and what it renders to.
#[track_caller]
fn list(source: &str, pods: &[&str], labels: &[&str], expected: &str) {
    let specs = [
        ParamSpec::optional("pods", ParamKind::Texts),
        ParamSpec::optional("labels", ParamKind::LabelNames),
        ParamSpec::optional("x", Text),
        ParamSpec::optional("re", Regex),
    ];
    let params = Params::new().with_list("pods", pods).with_list("labels", labels);
    let rendered = match Template::compile(source, &specs) {
        Err(error) => format!("compile: {error}"),
        Ok(template) => template
            .render(&params)
            .unwrap_or_else(|error| format!("render: {error}")),
    };
    if expected.starts_with("compile: ") || expected.starts_with("render: ") {
        assert!(rendered.starts_with(expected), "{source}: {rendered}");
    } else {
        assert_eq!(rendered, expected, "{source}");
    }
}

#[test]
fn a_list_of_texts_matches_each_of_them_and_no_other() {
    let texts = |source, pods: &[&str], expected| list(source, pods, &[], expected);
    let matcher = r#"up{pod=~"{{.pods}}"}"#;
    texts(matcher, &["a"], r#"up{pod=~"a"}"#);
    texts(matcher, &["b", "a.1", "b", "a|c"], r#"up{pod=~"b|a\\.1|a\\|c"}"#);
    texts("up{pod!~`x-{{.pods}}`}", &["a", ".*"], r"up{pod!~`x-(?:a|\.\*)`}");
    texts(
        r#"up{pod=~"{{.pods}}{2}"}"#,
        &["ab", "c"],
        r#"up{pod=~"(?:ab|c){2}"}"#,
    );
    texts(
        r#"up{pod=~"{{with .pods}}{{.}}{{end}}"}"#,
        &["a", "b"],
        r#"up{pod=~"a|b"}"#,
    );
    texts(r#"up{{if .pods}}{pod=~"{{.pods}}"}{{end}}"#, &[], "up");
    texts(r#"up{pod=~"{{or .pods "none"}}"}"#, &[], r#"up{pod=~"none"}"#);
    texts("up{{if eq (len .pods) 2}} > 0{{end}}", &["a", "b"], "up > 0");
    // No list is taken for "all".
    texts(matcher, &[], "render: parameter \"pods\" is missing");
    texts(
        matcher,
        &["a", ""],
        "render: pods does not fit at line 1, column 12: it is empty",
    );
    for (source, message) in [
        (
            r#"up{pod="{{.pods}}"}"#,
            "compile: line 1, column 11: a list of texts belongs in the string of =~",
        ),
        (
            "{{.pods}}",
            "compile: line 1, column 3: a list of texts belongs in",
        ),
        (
            r#"up{a=~"{{print .pods}}"}"#,
            "compile: line 1, column 10: print takes single values",
        ),
        (
            r#"up{a=~"{{or .pods .re}}"}"#,
            "compile: line 1, column 10: or chooses between",
        ),
        (
            "{{if eq .pods \"a\"}}up{{else}}up{{end}}",
            "compile: line 1, column 6: eq takes single values",
        ),
        (
            "{{range .pods}}{{end}}up",
            "render: line 1, column 1: range over a list",
        ),
    ] {
        texts(source, &["a"], message);
    }
    let several = render("up{a=\"{{.x}}\"}", &[("x", "1")]);
    assert_eq!(several, "up{a=\"1\"}");
    let template = Template::compile("up{a=\"{{.x}}\"}", &specs()).unwrap();
    assert_eq!(
        template
            .render(&Params::new().with_list("x", ["1", "2"]))
            .unwrap_err()
            .to_string(),
        "parameter \"x\" has several values, and its kind text takes one; texts and labels are lists"
    );
}

#[test]
fn a_list_of_labels_stands_where_labels_are_listed() {
    let labels = |source, labels: &[&str], expected| list(source, &[], labels, expected);
    let two = ["pod", "namespace", "pod"];
    labels("sum by ({{.labels}}) (up)", &two, "sum by (pod, namespace) (up)");
    labels(
        "sum without (a, {{.labels}}) (up)",
        &two,
        "sum without (a, pod, namespace) (up)",
    );
    labels(
        "a * on ({{.labels}}) group_left ({{.labels}}) b",
        &["pod"],
        "a * on (pod) group_left (pod) b",
    );
    labels("sum{{if .labels}} by ({{.labels}}){{end}} (up)", &[], "sum (up)");
    labels(
        "sum by ({{.labels}}) (up)",
        &[],
        "render: parameter \"labels\" is missing",
    );
    for (given, message) in [
        ("pod, le", "a label name in code has letters"),
        ("", "it is empty"),
        ("inf", "PromQL reads this word as a number"),
    ] {
        let expected = format!("render: labels does not fit at line 1, column 11: {message}");
        list("sum by ({{.labels}}) (up)", &[], &["a", given], &expected);
    }
    for (source, message) in [
        (
            "up{ {{.labels}}=\"a\"}",
            "compile: line 1, column 7: a parameter of kind labels cannot stand here",
        ),
        (
            "up{a=\"{{.labels}}\"}",
            "compile: line 1, column 9: a list of label names belongs in by",
        ),
        (
            "{{.labels}}",
            "compile: line 1, column 3: a parameter of kind labels cannot stand here",
        ),
    ] {
        labels(source, &["a"], message);
    }
}

#[test]
fn what_victoriametrics_adds_keeps_the_places_of_values() {
    check(
        "WITH (t = {{.q}}, f(q) = sum(q)) f({{.name}}) default {{.q}} if {{.name}}",
        &[("name", "up"), ("q", "-1")],
        "WITH (t = (-1), f(q) = sum(q)) f(up) default (-1) if up",
    );
    refused("sum(a = b)", "1:7", "this is not an operator of PromQL");
}

#[test]
fn templates_of_prometheus_adapter_are_recognised() {
    for (source, place, message) in [
        ("sum(<<.Series>>{}) by (pod)", "1:5", "write the metric's name"),
        ("sum(up{<<.LabelMatchers>>})", "1:8", "write the matchers here"),
        ("sum(up) by (<< .GroupBy >>)", "1:13", "write the labels here"),
        ("up <<if .X>>", "1:4", "here a parameter is written {{.name}}"),
    ] {
        refused(source, place, message);
    }
    let error = Template::compile_metric_name("a_<<.Series>>", &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("line 1, column 3: `<<.Series>>` is of"),
        "{error}"
    );
    check("up{a=\"<<.Series>>\"}", &[], "up{a=\"<<.Series>>\"}");
}

#[test]
fn decision_2_in_code_a_value_is_exactly_one_token_of_what_fits() {
    check("{{.x}}", &[("x", "up")], "up");
    check("{{.x}} > {{.y}}", &[("x", "up"), ("y", "0.5")], "up > 0.5");
    check("-{{.q}}^2", &[("q", "0x1F")], "-0x1F^2");
    check(
        "histogram_quantile({{.q}}, sum by ({{.by}}) (rate({{.name}}[{{.window}}])))",
        &[("q", "0.99"), ("by", "le"), ("name", "a:b"), ("window", "1h30m")],
        "histogram_quantile(0.99, sum by (le) (rate(a:b[1h30m])))",
    );
    check(
        "a[{{.x}}:{{.window}}] offset -{{.window}}",
        &[("x", "5m"), ("window", "10s")],
        "a[5m:10s] offset -10s",
    );
    check("a @ {{.q}}", &[("q", "1609746000.5")], "a @ 1609746000.5");
    check(
        "sum without (a, {{.x}}) (up) * on ({{.by}}) {{.name}}",
        &[("x", "group"), ("by", "pod"), ("name", "m")],
        "sum without (a, group) (up) * on (pod) m",
    );
    check(
        "up{ {{- .x}}=\"a\", {{.by}}!=\"b\"}",
        &[("x", "pod"), ("by", "on")],
        "up{pod=\"a\", on!=\"b\"}",
    );
    for value in [
        "", "up or up", "up[5m]", "sum", "BY", "offset", "-up", "up{}", "a.b", "5m", "up#", "1e", "\"up\"",
        "é",
    ] {
        unplaceable("{{.x}}", value, "x does not fit at line 1, column 3");
    }
    unplaceable("{{.x}}{a=\"b\"}", "5", "a metric name fits there");
    unplaceable("{{.x}} offset 5m", "5", "a metric name fits there");
    unplaceable("{{.x}}{{if true}}[5m]{{end}}", "5", "a metric name fits there");
    unplaceable("rate(a[{{.x}}])", "5m:1m", "a duration fits there");
    unplaceable("sum by ({{.x}}) (up)", "a,b", "a label name fits there");
    unplaceable("sum by ({{.x}}) (up)", "inf", "a label name fits there");
    unplaceable("up @ {{.x}}", "NaN", "a timestamp in seconds fits there");
    unplaceable("2 ^ {{.q}}", "--1", "a number has one sign");
    unplaceable("a * on (b) group_left {{.x}}", "-1", "a metric name fits there");
    unplaceable("up @ -{{.x}}", "-5", "a number has one sign");
    unplaceable("up @ {{if .y}}-{{end}}{{.x}}", "-5", "a number has one sign");
    unplaceable("rate(a[{{.x}}])", "-5m", "a duration fits there");
    unplaceable("up{a=\"{{.q}}\"}", "abc", "it is not a number");
    for (source, place, message) in [
        ("vllm:{{.x}}_total", "1:8", "a part of a name or number"),
        ("{{.x}}_total", "1:7", "continues a name or number"),
        ("{{.x}}{{.y}}", "1:9", "a part of a name"),
        ("rate(a[{{.x}}m])", "1:14", "continues a name or number"),
        ("1e-{{.x}}", "1:6", "a part of a name or number"),
        ("su{{if .x}}m{{end}}(up)", "1:12", "continues a name"),
        ("{{.x}}(up)", "1:3", "cannot name a function"),
        ("{{.x}} (up)", "1:3", "cannot name a function"),
        ("up {{.x}} up", "1:6", "an operator or a bracket is due"),
        ("up{a={{.x}}}", "1:8", "put quotes around the placeholder"),
        ("up{a{{.x}}\"b\"}", "1:7", "a part of a name"),
        ("up{a {{.x}} \"b\"}", "1:8", "between braces"),
        (
            "sum by ({{.name}}) (up)",
            "1:11",
            "kind metric cannot stand here: a label name fits",
        ),
        (
            "{{.q}}{a=\"b\"}",
            "1:3",
            "kind number cannot stand here: a metric name fits",
        ),
        ("up[{{.q}}]", "1:6", "a duration fits"),
        ("up + {{.by}}", "1:8", "a metric name or a number fits"),
        ("up)", "1:3", "closes nothing"),
        ("sum(up", "1:4", "not closed"),
        ("up{a=\"b}", "1:6", "this string is not closed"),
        ("up = 1", "1:4", "not an operator"),
        ("up[$__interval]", "1:4", "PromQL has no variables"),
        ("up; down", "1:3", "unexpected character: ';'"),
    ] {
        refused(source, place, message);
    }
}

#[test]
fn decision_2_comments_hold_any_text_on_their_line() {
    check("# {{.x}}\nup", &[("x", "a\nb\r\"c")], "# a b \"c\nup");
    check("up # {{.re}}", &[("re", "a|b")], "up # a|b");
}

#[test]
fn decision_2_branches_must_end_in_the_same_place() {
    check(
        r#"up{namespace="{{.namespace}}"{{if .podFilter}},pod=~"{{.podFilter}}"{{end}}}"#,
        &[("namespace", "a"), ("podFilter", "x|y")],
        r#"up{namespace="a",pod=~"x|y"}"#,
    );
    check("{{if .x}}sum by (pod) ({{else}}max({{end}}up)", &[], "max(up)");
    check(
        "sum {{if .by}}by ({{.by}}) {{end}}(up)",
        &[("by", "pod")],
        "sum by (pod) (up)",
    );
    check(
        "up{ {{- range $i := 3}}{{if $i}},{{end}}l{{end}}=\"a\"}",
        &[],
        "compile: line 1, column 5: the beginning and the end of this loop's body end in different places of the query: one before a label name, in 1 bracket, the other after a label name, in 1 bracket",
    );
    check("up{{range 2}} + {{$.x}}{{end}}", &[("x", "5")], "up + 5 + 5");
    // The value that ends one round is what the next one's bracket follows.
    unplaceable(
        "{{$.x}}{{range 2}}[5m] + {{$.x}}{{end}}",
        "5",
        "a metric name fits there",
    );
    check(
        r#"up{a=~"{{range 2}}{{$.re}}{{end}}"}"#,
        &[("re", "a|b")],
        r#"up{a=~"(?:a|b)(?:a|b)"}"#,
    );
    check(
        r#"up{a{{if .x}}=~{{else}}={{end}}"{{.y}}"}"#,
        &[],
        "compile: line 1, column 5: the two ways through this block end in different places of the query: one after =~ or !~, in 1 bracket, the other after = or !=, in 1 bracket",
    );
    refused(
        "up{a=\"{{if .x}}\"}{{end}}",
        "1:7",
        "the two ways through this block",
    );
    refused(
        "{{with .x}}rate({{end}}up",
        "1:1",
        "the two ways through this block",
    );
    refused(
        "{{range 2}}({{end}}up",
        "1:1",
        "the beginning and the end of this loop's body",
    );
    refused(
        "{{range 2}}{{if .}}({{break}}{{end}}{{end}}up",
        "1:1",
        "this loop's body",
    );
    refused("# a {{if .x}}\n{{end}} b", "1:5", "the two ways");
}

#[test]
fn values_are_not_scanned_again() {
    check(
        r#"up{a="{{.x}}"}"#,
        &[("x", "{{.y}}{{end}}"), ("y", "no")],
        r#"up{a="{{.y}}{{end}}"}"#,
    );
}
