//! The template language, and the decisions that it rests on.

mod place;

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
