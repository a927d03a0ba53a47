use super::*;
use crate::params::{ParamKind, ParamSpec};
use crate::template::Template;

fn compile(source: &str) -> Template {
    let kinds = [
        ("x", ParamKind::Text),
        ("y", ParamKind::Text),
        ("re", ParamKind::Regex),
        ("n", ParamKind::Number),
        ("w", ParamKind::Duration),
        ("m", ParamKind::MetricName),
        ("by", ParamKind::LabelName),
        ("pods", ParamKind::Texts),
        ("labels", ParamKind::LabelNames),
    ];
    let mut specs: Vec<_> = kinds.map(|(name, kind)| ParamSpec::optional(name, kind)).into();
    specs.push(ParamSpec::required("must", ParamKind::Text));
    Template::compile(source, &specs).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn texts(ways: &Ways) -> Vec<String> {
    ways.iter()
        .flat_map(Way::examples)
        .map(|example| example.text().to_owned())
        .collect()
}

#[track_caller]
fn check(source: &str, expected: &[&str]) {
    let template = compile(source);
    let ways = template.ways(64);
    assert_eq!(
        (texts(&ways), ways.coverage()),
        (
            expected.iter().map(|text| (*text).to_owned()).collect(),
            Coverage::Whole
        ),
        "{source}"
    );
}

#[test]
fn a_placeholder_is_a_token_of_its_kind() {
    check(
        r#"topk({{.n}}, rate({{.m}}{a="{{.x}}", b=~"{{.re}}|{{.pods}}"}[{{.w}}] @ {{.n}}))"#,
        &[r#"topk(1, rate(m_value{a="x_value", b=~"re_value|pods_value"}[5m] @ 1))"#],
    );
    check(
        "sum by ({{.by}}, {{.labels}}) (up) # {{.x}}",
        &["sum by (by_value, labels_value) (up) # x_value"],
    );
    check(r#"up{a="{{printf "%s-0" .x}}"}"#, &[r#"up{a="computed_value"}"#]);
    check(r#"up{a="{{printf "%d" 5}}"} > {{-5}}"#, &[r#"up{a="5"} > (-5)"#]);
    // A text may be either; a number and a metric cannot.
    check("{{.x}} > {{.x}}", &["x_value > x_value", "1 > 1"]);
    check("{{.x}}{} > {{.n}}", &["x_value{} > 1"]);
}

#[test]
fn what_is_decided_holds_for_the_rest_of_the_way() {
    check("up{{if .x}} > 1{{end}}", &["up > 1", "up"]);
    check(
        r#"{{if .x}}sum{{else}}count_values{{end}} ({{if .x}}{{else}}"v", {{end}}up)"#,
        &["sum (up)", r#"count_values ("v", up)"#],
    );
    check(
        r#"{{if eq .x "a"}}1{{else if eq .x "b" "c"}}2{{else}}3{{end}}{{if eq .x "b"}} + up{{end}}"#,
        &["1", "2 + up", "2", "3"],
    );
    check(
        "{{$v := or .w \"1m\"}}rate(up[{{$v}}]) + rate(up[{{$v}}])",
        &["rate(up[5m]) + rate(up[5m])", "rate(up[1m]) + rate(up[1m])"],
    );
    check("{{if and .x (not .y)}}1{{else}}2{{end}}", &["2", "1"]);
    check(
        r#"up{{with .re}}{a=~"{{.}}"}{{else}}{}{{end}}"#,
        &[r#"up{a=~"re_value"}"#, "up{}"],
    );
    check("{{if .must}}1{{else}}2{{end}}", &["1", "2"]);
    check(
        "{{range $i := 3}}{{if $i}}up{{else}}down{{end}} or {{end}}up",
        &["down or up or up or up"],
    );
    check(
        r#"{{if gt (len .must) 3}}1{{else}}2{{end}}{{if gt (len .must) 3}} + 3{{end}}"#,
        &["1 + 3", "2"],
    );
    check(
        r#"{{template "m" .x}}{{define "m"}}up{a="{{.}}"}{{end}}"#,
        &[r#"up{a="x_value"}"#],
    );
}

#[test]
fn what_never_renders_is_no_way() {
    // Printed where it is absent; a constant that does not fit; a comparison that Go refuses.
    check("{{if .x}}1{{else}}{{.x}}{{end}}", &["1"]);
    check(r#"{{if .x}}1{{else}}rate(up[{{"5"}}]){{end}}"#, &["1"]);
    check("{{if .x}}{{if eq .x 1}}1{{else}}3{{end}}{{else}}2{{end}}", &["2"]);
}

#[test]
fn many_ways_still_pass_each_branch() {
    let branch = |i: usize| format!(" + {{{{if eq .x \"{i}\"}}}}a{i}{{{{else}}}}b{i}{{{{end}}}}");
    let chain = |i: usize| format!("{{{{if eq .x \"{i}\"}}}}a{i}{{{{else}}}}");
    let nested = |i: usize| {
        format!(
            " + {{{{if eq (len .y) {i}}}}}{{{{if eq (len .x) {i}}}}}a{i}{{{{else}}}}b{i}{{{{end}}}}{{{{else}}}}c{i}{{{{end}}}}"
        )
    };
    let flat: String = (0..100).map(branch).collect();
    let chained: String = (0..30).map(chain).collect::<String>() + "up" + &"{{end}}".repeat(30);
    let twice = format!("{chained} + {}", chained.replace(".x", ".y").replace("}a", "}c"));
    for (source, expected) in [
        (format!("1{flat}"), 200),
        (twice, 60),
        (format!("1{}", (0..20).map(nested).collect::<String>()), 60),
    ] {
        let template = compile(&source);
        let ways = template.ways(64);
        assert_eq!(ways.coverage(), Coverage::Branches, "{}", ways.iter().len());
        let all = texts(&ways).join(" ");
        let names: HashSet<_> = all
            .split(' ')
            .filter(|word| word.starts_with(['a', 'b', 'c']))
            .collect();
        assert_eq!(names.len(), expected);
    }
}

#[test]
fn the_work_is_bounded() {
    let loops = "{{range 1000}}{{range 90}}{{end}}{{end}}".repeat(40);
    let source = format!("up{loops}{}", "{{if .x}}{{if .y}}{{end}}{{end}}".repeat(500));
    let many = "{{if eq .x \"$\"}}{{end}}".repeat(2000);
    for source in [source, format!("up{many}")] {
        let _ = compile(&source).ways(64);
    }
    let different: String = (0..2500)
        .map(|i| format!("{{{{if eq .x \"{i}\"}}}}{{{{end}}}}"))
        .collect();
    let ways = compile(&format!("up{different}")).ways(64);
    assert_eq!(ways.coverage(), Coverage::Part);
}

#[test]
fn a_place_in_an_example_is_one_in_the_source() {
    let source = "{{- /* é */ -}}\n sum(\n  é_{{if .x}}{a=\"{{.x}}\"}{{end}}\n) + {{.n}}";
    let source = source.replace("é_", "up");
    let template = compile(&source);
    let ways = template.ways(64);
    let check = |way: usize, piece: &str, expected: (usize, usize)| {
        let way = ways.iter().nth(way).unwrap();
        let example = way.examples().next().unwrap();
        let offset = example.text().find(piece).unwrap();
        assert_eq!(example.position(template.source(), offset), expected, "{piece}");
    };
    check(0, "sum", (2, 2));
    check(0, "up", (3, 3));
    check(0, "{a", (3, 14));
    check(0, "value", (3, 20));
    check(0, "\"}", (3, 24));
    check(0, ") +", (4, 1));
    check(1, ") +", (4, 1));
    check(1, "1", (4, 7));
    let way = ways.iter().next().unwrap();
    let example = way.examples().next().unwrap();
    assert_eq!(example.position(template.source(), usize::MAX), (4, 7));
}
