//! The template language, and the decisions that it rests on.

use super::*;
use crate::params::ParamKind::{self, Duration, LabelName, MetricName, Number, Regex, Text};

/// Parameters by their usual names; `q…` and what [`ParamKind::default_for`] knows have kinds of their own.
fn specs() -> Vec<ParamSpec> {
    let kinds: [(&str, ParamKind); 6] = [
        ("metric", Text),
        ("name", MetricName),
        ("by", LabelName),
        ("window", Duration),
        ("q", Number),
        ("re", Regex),
    ];
    let mut specs: Vec<_> = kinds.map(|(name, kind)| ParamSpec::optional(name, kind)).into();
    for name in ["namespace", "modelID", "podFilter", "x", "y", "opt"] {
        specs.push(ParamSpec::optional(name, ParamKind::default_for(name)));
    }
    specs
}

/// What a template renders to, or the error.
fn render(source: &str, values: &[(&str, &str)]) -> String {
    let params: Params = values.iter().copied().collect();
    match Template::compile(source, &specs()) {
        Err(error) => format!("compile: {error}"),
        Ok(template) => {
            let rendered = template.render(&params);
            assert_eq!(
                rendered,
                template.render_slow(&params),
                "the two paths differ: {source}"
            );
            rendered.unwrap_or_else(|error| format!("render: {error}"))
        }
    }
}

#[track_caller]
fn check(source: &str, values: &[(&str, &str)], expected: &str) {
    assert_eq!(render(source, values), expected, "{source}");
}

/// A template that must not compile: `line:column` and a part of the message.
#[track_caller]
fn refused(source: &str, place: &str, message: &str) {
    let error = Template::compile(source, &specs()).expect_err(source);
    assert_eq!(
        format!("{}:{}", error.line(), error.column()),
        place,
        "{source}: {error}"
    );
    assert!(error.message().contains(message), "{source}: {error}");
}

/// A value that must be refused: a part of the message.
#[track_caller]
fn unplaceable(source: &str, value: &str, message: &str) {
    let rendered = render(
        source,
        &[
            ("x", value),
            ("re", value),
            ("q", value),
            ("window", value),
            ("name", value),
        ],
    );
    assert!(
        rendered.starts_with("render: ") && rendered.contains(message),
        "{source} with {value:?}: {rendered}"
    );
}

#[test]
fn the_seeds_examples_render_as_it_says() {
    check(
        r#"max by (pod) ({{.metric}}{namespace="{{.namespace}}",model_id="{{.modelID}}"})"#,
        &[
            ("metric", "vllm:kv_cache_usage_perc"),
            ("namespace", "llm-inference"),
            ("modelID", "llama-8b"),
        ],
        r#"max by (pod) (vllm:kv_cache_usage_perc{namespace="llm-inference",model_id="llama-8b"})"#,
    );
    check(
        r#"vllm:num_requests_waiting{namespace="{{.namespace}}"}"#,
        &[("namespace", "default"), ("unknown", "ignored")],
        r#"vllm:num_requests_waiting{namespace="default"}"#,
    );
}

#[test]
fn decision_1_templates_are_go_text_template() {
    let values = [("x", "abc"), ("y", "5m")];
    for (source, expected) in [
        ("# {{if .x}}yes{{else}}no{{end}}", "# yes"),
        ("# {{if .opt}}a{{else if .x}}b{{else}}c{{end}}", "# b"),
        ("# {{with .x}}{{.}} {{$.y}}{{end}}", "# abc 5m"),
        ("# {{with .opt}}a{{else with .x}}{{.}}{{end}}", "# abc"),
        ("# {{with $v := .x}}{{$v}}{{.}}{{end}}", "# abcabc"),
        ("# {{$v := .x}}{{if true}}{{$v = .y}}{{end}}{{$v}}", "# 5m"),
        (
            "# {{$v := .x}}{{if true}}{{$v := .y}}{{$v}}{{end}}{{$v}}",
            "# 5mabc",
        ),
        ("# {{range $i := 3}}{{$i}}{{.}},{{end}}", "# 00,11,22,"),
        (
            "# {{range 5}}{{if eq . 1}}{{continue}}{{end}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}",
            "# 02",
        ),
        ("# {{range 0}}a{{else}}none{{end}}", "# none"),
        (
            "# {{eq .x \"b\" \"abc\"}} {{ne .x .y}} {{lt 1 2}} {{le .x .x}} {{gt 1.5 2.5}} {{ge \"b\" \"a\"}}",
            "# true true true true false true",
        ),
        (
            "# {{and .x .y}} {{or .opt \"d\"}} {{not .opt}} {{and .opt .x | not}}",
            "# 5m d true true",
        ),
        ("# {{or .x (index .x 99)}}", "# abc"),
        (
            "# {{len .x}} {{index .x 1}} {{slice .x 1}} {{slice .x 1 2}}",
            "# 3 98 bc b",
        ),
        (
            "# {{print 1 2 .x 3 4}}|{{println .x 1}}|{{print}}",
            "# 1 2abc3 4|abc 1 |",
        ),
        (
            "# {{printf \"%05.1f|%-4s|%q|%x|%d|%v|%t|%%\" 3.14159 .x .x .x 7 1e6 true}}",
            "# 003.1|abc |\"abc\"|616263|7|1e+06|true|%",
        ),
        ("# {{.x | printf \"%s-%s\" .y | len}}", "# 6"),
        ("# {{1e6}} {{0x1F}} {{'a'}} {{\"\\t{{\"}}", "# 1e+06 31 97 \t{{"),
        ("# a {{- .x -}} b", "# aabcb"),
        ("# a{{/* a comment }} */}}b{{- /* another */ -}} c", "# abc"),
        ("# {{(index $ \"x\")}} {{index . \"y\"}}", "# abc 5m"),
        (
            "# {{define \"t\"}}<{{.}}{{$}}>{{end}}{{template \"t\" .x}}{{template \"t\" 1}}",
            "# <abcabc><11>",
        ),
        ("# {{block \"b\" .}}{{.x}}{{$.y}}{{end}}", "# abc5m"),
        ("# {{define \"t\"}}t{{end}}{{template \"t\"}}", "# t"),
    ] {
        check(source, &values, expected);
    }
}

#[test]
fn decision_1_what_is_wrong_is_an_error_with_line_and_column() {
    for (source, place, message) in [
        // Blocks.
        ("a{{end}}b", "1:2", "{{end}} without an open"),
        ("up\n{{else}}", "2:1", "{{else}} without an open"),
        ("é{{if .x}}a", "1:2", "{{if}} is not closed"),
        ("{{range 2}}up{{else}}", "1:1", "{{range}} is not closed"),
        ("{{with .x}}{{if .y}}{{end}}", "1:1", "{{with}} is not closed"),
        ("{{define \"a\"}}b", "1:1", "{{define}} is not closed"),
        ("{{if .x}}{{else}}{{else}}{{end}}", "1:18", "a second {{else}}"),
        ("else{{if ", "1:5", "unclosed action"),
        ("{{break}}", "1:1", "{{break}} outside {{range}}"),
        (
            "{{if .x}}{{continue}}{{end}}",
            "1:10",
            "{{continue}} outside {{range}}",
        ),
        (
            "{{if .x}}{{define \"a\"}}{{end}}{{end}}",
            "1:10",
            "{{define}} may not stand inside",
        ),
        (
            "{{define \"a\"}}{{end}}{{define \"a\"}}{{end}}",
            "1:22",
            "defined twice",
        ),
        ("{{define \"a\"}}{{end}}", "1:1", "never called"),
        (
            "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}",
            "1:15",
            "calls itself",
        ),
        ("{{template \"a\"}}", "1:1", "template \"a\" is not defined"),
        ("{{block \"a\"}}{{end}}", "1:1", "needs a value"),
        // Names.
        (
            "up{a=\"{{.nmespace}}\"}",
            "1:9",
            "parameter \"nmespace\" is not declared (did you mean \"namespace\"?): declare it",
        ),
        (
            "{{.undeclared}}",
            "1:3",
            "parameter \"undeclared\" is not declared: declare it",
        ),
        ("{{index . \"q9\"}}", "1:11", "parameter \"q9\" is not declared"),
        ("{{$v}}", "1:3", "variable $v is not defined"),
        (
            "{{if .x}}{{$v := 1}}{{end}}{{$v}}",
            "1:30",
            "variable $v is not defined",
        ),
        (
            "{{if .x}}{{$v := 1}}{{else}}{{$v}}{{end}}",
            "1:31",
            "variable $v is not defined",
        ),
        ("{{$v = 1}}", "1:3", "variable $v is not defined"),
        (
            "{{prinf \"%s\" .x}}",
            "1:3",
            "function \"prinf\" is not defined (did you mean \"printf\"?)",
        ),
        ("{{namespace}}", "1:3", "a parameter is written {{.namespace}}"),
        ("{{html .x}}", "1:3", "would corrupt the query"),
        ("{{.x | urlquery}}", "1:8", "would corrupt the query"),
        ("{{call .x}}", "1:3", "no parameter is a function"),
        // Expressions.
        ("{{}}", "1:3", "missing value"),
        ("{{.x |}}", "1:7", "missing value"),
        ("{{nil}}", "1:3", "nil has no use"),
        ("{{.}}", "1:3", "whole set of parameters"),
        ("{{$}}", "1:3", "whole set of parameters"),
        ("{{.x.y}}", "1:3", "has no fields"),
        ("{{.x .y}}", "1:6", "only a function takes arguments"),
        ("{{.x | .y}}", "1:8", "only a function can stand after"),
        ("{{with .x}}{{.y}}{{end}}", "1:14", "write {{$.y}}"),
        ("{{not}}", "1:3", "not takes 1 argument(s), not 0"),
        ("{{eq .x}}", "1:3", "eq takes at least 2"),
        ("{{printf \"%s\" (.x}}", "1:18", "in parentheses"),
        ("{{.x)}}", "1:5", "unexpected \")\""),
        ("{{$a, $b := .x}}", "1:5", "in a declaration"),
        ("{{range $a, $b := 3}}{{end}}", "1:13", "sets one variable"),
        ("{{\"a\"\"b\"}}", "1:6", "write a space"),
        ("{{1i}}", "1:3", "imaginary"),
    ] {
        refused(source, place, message);
    }
}

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
fn decision_3_a_missing_parameter_is_an_error_and_an_absent_one_is_false() {
    let specs = [
        ParamSpec::required("a", Text),
        ParamSpec::optional("b", Text),
        ParamSpec::required("c", Text),
    ];
    let missing = |source: &str, params: Params| {
        let template = Template::compile(source, &specs).unwrap();
        match template.render(&params) {
            Err(RenderError::MissingParam { param }) => param,
            other => panic!("{source}: {other:?}"),
        }
    };
    let all = || Params::from([("a", "1"), ("c", "3")]);
    assert_eq!(missing(r#"up{a="{{.a}}"}"#, Params::from([("c", "3")])), "a");
    assert_eq!(
        missing(r#"up{{if .a}} + 1{{end}}"#, Params::from([("c", "3")])),
        "a"
    );
    // Required is required, used or not, in the branch that is taken or another.
    assert_eq!(missing(r#"up{a="{{.a}}"}"#, Params::from([("a", "1")])), "c");
    assert_eq!(missing("up", Params::from([("a", "1")])), "c");
    assert_eq!(missing(r#"up{b="{{.b}}"}"#, all()), "b");
    assert_eq!(missing(r#"up{b="{{print .b}}"}"#, all()), "b");
    assert_eq!(missing(r#"up{b="{{and .b .a}}"}"#, all()), "b");
    assert_eq!(missing(r#"up{b="{{len .b}}"}"#, all()), "b");
    assert_eq!(missing(r#"{{$v := .b}}up{b="{{$v}}"}"#, all()), "b");
    for (condition, expected) in [
        (".b", "no"),
        ("not .b", "yes"),
        ("eq .b \"\"", "no"),
        ("ne .b \"x\"", "yes"),
        ("or .b .a", "yes"),
    ] {
        let template = Template::compile(
            &format!("# {{{{if {condition}}}}}yes{{{{else}}}}no{{{{end}}}}"),
            &specs,
        )
        .unwrap();
        assert_eq!(
            template.render(&all()).unwrap(),
            format!("# {expected}"),
            "{condition}"
        );
    }
    // Given but empty is given.
    let template = Template::compile(r#"up{b="{{.b}}"}"#, &specs).unwrap();
    assert_eq!(template.render(&all().with("b", "")).unwrap(), r#"up{b=""}"#);
    unplaceable("{{.x}}", "", "it is empty");
}

#[test]
fn values_are_not_scanned_again() {
    check(
        r#"up{a="{{.x}}"}"#,
        &[("x", "{{.y}}{{end}}"), ("y", "no")],
        r#"up{a="{{.y}}{{end}}"}"#,
    );
}

#[test]
fn a_metric_name_template_renders_one_metric_name() {
    let compile = |source: &str| Template::compile_metric_name(source, &specs());
    assert_eq!(
        compile("vllm:kv_cache_usage_perc")
            .unwrap()
            .render(&Params::new())
            .unwrap(),
        "vllm:kv_cache_usage_perc"
    );
    let pasted = compile("vllm:{{.x}}_total").unwrap();
    assert_eq!(
        pasted.render(&Params::from([("x", "tokens")])).unwrap(),
        "vllm:tokens_total"
    );
    let error = pasted.render(&Params::from([("x", "a{b=\"c\"}")])).unwrap_err();
    assert!(matches!(&error, RenderError::NotAMetricName { .. }), "{error}");
    assert_eq!(compile("{{.re}}_x").unwrap_err().column(), 3);
    for bad in ["", "up{}", "sum(up)", "up\n", "sum", "{{/* nothing */}}"] {
        let error = compile(bad).unwrap_err();
        assert!(error.message().contains("is not one metric name"), "{error}");
    }
}

#[test]
fn everything_is_bounded() {
    let nested = |open: &str, n: usize| open.repeat(n) + "1" + &"{{end}}".repeat(n);
    for source in [
        "x".repeat(MAX_SOURCE_LEN + 1),
        nested("{{if .x}}", 60),
        format!("{{{{{}.x{}}}}}", "(".repeat(60), ")".repeat(60)),
        format!("{{{{.x{}}}}}", "|print".repeat(20)),
        "{{if .x}}{{else if .x}}".repeat(5000),
        (0..30)
            .map(|n| {
                format!(
                    "{{{{define \"{n}\"}}}}{}{{{{end}}}}",
                    format!("{{{{template \"{}\"}}}}", n + 1).repeat(9)
                )
            })
            .collect::<String>()
            + "{{define \"30\"}}{{end}}{{template \"0\"}}",
        nested("{{range 9}}", 40) + "{{range 2}}[5m]{{$.x}}{{end}}",
    ] {
        assert!(Template::compile(&source, &specs()).is_err(), "{source:.80}");
    }
    for (source, message) in [
        ("{{range 1000000000}}{{end}}", "more than 100000 steps"),
        (
            "# {{range 1000}}{{range 1000}}{{end}}{{end}}",
            "more than 100000 steps",
        ),
        (
            "# {{range 99999}}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{end}}",
            "longer than 1048576",
        ),
        (
            "# {{$v := \"aaaaaaaaaaaaaaaa\"}}{{range 99}}{{$v = print $v $v}}{{end}}",
            "more than 65536 bytes",
        ),
        ("# {{printf \"%1000000d\" 1}}", "a width of more than 1000"),
        ("# {{printf \"%*d\" 99 1}}", "not supported"),
        ("# {{printf \"%[1]s%[1]s\" .x}}", "not supported"),
        ("# {{printf .x}}", "no argument is left for %y"),
        ("# {{range .x}}{{end}}", "range over a text"),
        (
            "# {{lt .x 1}}",
            "incompatible types for comparison: a text and a whole number",
        ),
        ("# {{slice .x 9}}", "out of range"),
        ("# {{index .x -1}}", "out of range"),
    ] {
        let rendered = render(source, &[("x", "%y")]);
        assert!(rendered.contains(message), "{source}: {rendered}");
    }
    let long = "a".repeat(MAX_VALUE_LEN + 1);
    let rendered = render(r#"up{a="{{.x}}"}"#, &[("x", &long)]);
    assert_eq!(
        rendered,
        "render: x is 65537 bytes long, and at most 65536 are allowed"
    );
}

#[test]
fn errors_never_dump_a_value() {
    let rendered = render("{{.x}}", &[("x", &"é\n".repeat(20_000))]);
    assert!(rendered.len() < 400 && !rendered.contains('\n'), "{rendered}");
}

#[test]
fn unused_parameters_are_named() {
    let template = Template::compile("up{a=\"{{.x}}\"}", &specs()[6..10]).unwrap();
    assert_eq!(
        template.unused_params().map(ParamSpec::name).collect::<Vec<_>>(),
        ["namespace", "modelID", "podFilter"]
    );
}

#[test]
fn the_deepest_templates_render_on_a_small_stack() {
    let nest = |body: &str| "{{if true}}".repeat(45) + body + &"{{end}}".repeat(45);
    let mut value = ".x".to_owned();
    for _ in 0..40 {
        value = format!("({value}{})", "|print".repeat(9));
    }
    let source = format!(
        "# {{{{define \"t\"}}}}{}{{{{end}}}}{}",
        nest("{{.x}}"),
        nest("{{template \"t\" .}}")
    );
    let run = move || {
        check(&source, &[("x", "a")], "# a");
        check(&format!("# {{{{{value}}}}}"), &[("x", "a")], "# a");
    };
    let thread = std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(run)
        .unwrap();
    thread.join().unwrap();
}
