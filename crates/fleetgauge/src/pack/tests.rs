use std::time::Duration;

use fleetgauge_core::params::ParamKind;
use fleetgauge_core::query::{Companions, QueryType};
use fleetgauge_core::query_list::QueryList;

use super::collection::short_name;
use super::*;

/// A pack of one query with the given fields.
fn one(query: &str) -> Result<Pack, Problems> {
    let query = query
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect::<String>();
    Pack::parse("p.yaml", &format!("name: acme\nqueries:\n  -\n{query}"))
}

#[test]
fn a_pack_says_all_that_a_query_can() {
    let pack = one("name: ttft
description: >-
  The quantile
  of it.
unit: seconds
type: promql
params: [namespace, podFilter, {name: q, kind: number}, {name: by, kind: label, required: false}]
template: |
  histogram_quantile({{.q}}, x{namespace=\"{{.namespace}}\"})
ttl: 1m30s
timeout: 5s
companions: all")
    .unwrap();
    assert_eq!((pack.name(), pack.description()), ("acme", ""));
    let query = pack.query("ttft").unwrap();
    assert_eq!(query, pack.query("acme/ttft").unwrap());
    assert_eq!(query.name, "acme/ttft");
    assert_eq!(query.query_type, QueryType::PromQl);
    assert_eq!(
        query.template,
        "histogram_quantile({{.q}}, x{namespace=\"{{.namespace}}\"})"
    );
    assert_eq!(
        (&*query.description, &*query.unit),
        ("The quantile of it.", "seconds")
    );
    assert_eq!(query.ttl, Some(Duration::from_secs(90)));
    assert_eq!(query.timeout, Some(Duration::from_secs(5)));
    assert_eq!(query.companions, Some(Companions::all()));
    let params = query.params.iter().map(|p| (p.name(), p.kind(), p.is_required()));
    let expected = [
        ("namespace", ParamKind::Text, true),
        ("podFilter", ParamKind::Regex, true),
        ("q", ParamKind::Number, true),
        ("by", ParamKind::LabelName, false),
    ];
    assert_eq!(params.collect::<Vec<_>>(), expected);
}

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let check = |query: &str, expected: &str| {
        let problems = one(query).unwrap_err().to_string();
        assert_eq!(problems, format!("p.yaml:{expected}"), "{query}");
    };
    check("template: up", "4:5: field \"name\" is missing in a query");
    check("name: a", "4:5: field \"template\" is missing in a query");
    check(
        "name: a b\ntemplate: up",
        "4:11: \"a b\" is no name: it takes 1 to 90 of A-Z a-z 0-9 _ - . :",
    );
    check(
        "name: a/b\ntemplate: up",
        "4:11: \"a/b\" is no name: it takes 1 to 90 of A-Z a-z 0-9 _ - . :",
    );
    check(
        "name: a\ntemplte: up\ntemplate: up",
        "5:5: unknown field \"templte\" in a query; did you mean \"template\"?",
    );
    check("name: a\ntemplate: [up]", "5:15: expected a text, found a list");
    check(
        "name: a\ntemplate: up\nttl: soon",
        "6:10: expected a duration such as 30s or 1m30s, or a number of seconds, found the text \"soon\"",
    );
    check(
        "name: a\ntype: sql\ntemplate: up",
        "5:11: unknown query type \"sql\"; promql and metric are known",
    );
    check(
        "name: a\ntemplate: up\nparams: namespace",
        "6:13: expected a list of parameters, found a text",
    );
    check(
        "name: a\ntemplate: up\nparams: [a-b]",
        "6:14: \"a-b\" is no parameter name: it takes letters, digits and _, and no digit first",
    );
    check(
        "name: a\ntemplate: '{{.a}}'\nparams: [a, {name: a}]",
        "6:24: parameter \"a\" is declared twice",
    );
    check(
        "name: a\ntemplate: '{{.a}}'\nparams: [{name: a, require: true}]",
        "6:24: unknown field \"require\" in a parameter; did you mean \"required\"?",
    );
    check(
        "name: a\ntemplate: up\ncompanions: yes",
        "6:17: \"yes\" does not say what is asked beside a query; use none, ages or all",
    );
    check(
        "name: a\ntemplate: up\nttl: 0",
        "6:10: the duration must be more than zero",
    );
    check(
        "name: a\ntemplate: up\nany_of: [b]",
        "6:13: a query has either a template or any_of, not both",
    );
    check("name: a\nany_of: []", "5:13: any_of must name at least one query");
    check(
        "name: a\nany_of: [b]",
        "5:14: there is no query \"b\" above this one",
    );
    check(
        "name: a\nany_of: [vllm/queue_lenght]",
        "5:14: there is no query \"queue_lenght\" in the pack vllm; did you mean \"queue_length\"?",
    );
    check(
        "name: a\nany_of: [acme/queue_length]",
        "5:14: any_of knows the packs inference, vllm, sglang, trtllm, ray, triton, tgi, llamacpp, dynamo, dcgm, epp, not \"acme\"",
    );
    check(
        "name: a\nany_of: [vllm/queue_length]\nparams: [x]",
        "6:13: the parameters come with the queries that any_of names; leave params away",
    );
}

#[test]
fn bad_templates_are_placed_in_the_file() {
    let check = |query: &str, expected: &str| {
        let problems = one(query).unwrap_err().to_string();
        assert!(problems.starts_with(&format!("p.yaml:{expected}")), "{problems}");
    };
    check(
        "name: a\ntemplate: up{a=\"{{.b}}\"}",
        "5:23: parameter \"b\" is not declared",
    );
    check(
        "name: a\ntemplate: 'up{a=\"{{.b}}\"}'",
        "5:24: parameter \"b\" is not declared",
    );
    check(
        "name: a\ntemplate: |\n  up\n  {{if .b}}",
        "7:7: {{if}} is not closed",
    );
    check("name: a\ntemplate: '{{end}}'", "5:16: {{end}} without an open");
    check(
        "name: a\ntemplate: >\n  up\n  {{end}}",
        "6:7: {{end}} without an open",
    );
    check("name: a\ntype: metric\ntemplate: up{}", "6:");
    check(
        "name: a\ntemplate: {{.b}}",
        "5:15: expected a text, found a mapping; {{ begins a mapping in YAML, so quote the value",
    );
    // A broken parameter does not make the template look broken.
    check(
        "name: a\nparams: [{name: b, kind: nonsense}]\ntemplate: '{{.b}}'",
        "5:30: unknown parameter kind",
    );
}

#[test]
fn one_mistake_does_not_hide_the_others_of_its_query() {
    let check = |query: &str, expected: &[&str]| {
        let problems = one(query).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let expected: Vec<_> = expected.iter().map(|line| format!("p.yaml:{line}")).collect();
        assert_eq!(told, expected, "{query}");
    };
    let rates = "not PromQL: unknown function with name \"rates\"; did you mean \"rate\"?";
    check(
        "name: a\nparams: [pod]\ntemplate: 'rates(up{a=\"{{.pdo}}\", b=\"{{.zone}}\", c=\"{{.pod}}\"}[5m])'",
        &[
            &format!("6:16: {rates}"),
            "6:30: parameter \"pdo\" is not declared: declare it",
            "6:44: parameter \"zone\" is not declared: declare it",
        ],
    );
    let kind = "unknown parameter kind \"nonsense\": one of text, regex, metric, label, duration, number, quantile, \
                texts, labels is known";
    check(
        "name: a\nparams: [{name: w, kind: nonsense}]\ntemplate: 'rates(up{a=~\"{{.w}}\"}[{{.w}}])+{{.x}}'",
        &[
            &format!("5:30: {kind}"),
            &format!("6:16: {rates}"),
            "6:49: parameter \"x\" is not declared: declare it",
        ],
    );
    // It may be the one whose name could not be read.
    check(
        "name: a\nparams: [a-b]\ntemplate: 'rates(up{a=\"{{.ab}}\"}[5m])'",
        &[
            "5:14: \"a-b\" is no parameter name: it takes letters, digits and _, and no digit first",
            &format!("6:16: {rates}"),
        ],
    );
    // The list is bounded, and so is the work.
    let many: String = (0..50).map(|i| format!("{{{{.p{i}}}}} + ")).collect();
    let problems = one(&format!("name: a\ntemplate: '{many}1'")).unwrap_err();
    assert_eq!(problems.iter().len(), 10);
}

#[test]
fn a_parameter_that_is_declared_for_nothing_is_told() {
    let warnings = |params: &str, template: &str| {
        let pack = one(&format!("name: a\nparams: {params}\ntemplate: '{template}'")).unwrap();
        pack.warnings()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let told = warnings("[pod, {name: zone, required: false}]", "up{pod=\"{{.pod}}\"}");
    assert_eq!(
        told,
        ["p.yaml:5:26: warning: the template does not use the parameter \"zone\""]
    );
    let used = "up{{if .zone}}{pod=\"{{.pod}}\"}{{end}}";
    assert_eq!(warnings("[pod, {name: zone, required: false}]", used), [""; 0]);
    // Those of a union are its members'.
    for pack in Pack::builtins() {
        assert_eq!(pack.warnings(), [], "{}", pack.name());
    }
}

#[test]
fn parts_of_a_union_that_are_grouped_differently_are_told() {
    let check = |first: &str, second: &str, expected: Option<&str>| {
        let pack = format!(
            "name: a\nqueries:\n  - {{name: x, template: '{first}', params: [{{name: pod, required: false}}]}}\n  \
             - {{name: y, template: '{second}', params: [{{name: pod, required: false}}]}}\n  \
             - {{name: z, any_of: [x, y]}}"
        );
        let pack = Pack::parse("p.yaml", &pack).unwrap();
        let told = pack.warnings().iter().map(ToString::to_string);
        let told: Vec<_> = told.filter(|told| !told.contains("does not use")).collect();
        let expected = expected.map(|groups| {
            format!(
                "p.yaml:5:23: warning: the parts are grouped {groups}: what two of them answer is there twice"
            )
        });
        assert_eq!(told, Vec::from_iter(expected), "{first} or {second}");
    };
    check(
        "sum by (namespace, pod) (x)",
        "max by (namespace, pod, instance) (y)",
        Some("by (namespace, pod) and by (instance, namespace, pod)"),
    );
    check("sum(x)", "sum by (pod) (y)", Some("by () and by (pod)"));
    check(
        "sum by (pod) (x{{if .pod}}{pod=\"{{.pod}}\"}{{end}})",
        "sum by (job) (y)",
        Some("by (pod) and by (job)"),
    );
    check("sum by (a, b) (x)", "sum by (b, a) (y)", None);
    // What is not certain is not told.
    check("sum by (pod) (x)", "y", None);
    check("sum by (pod) (x)", "sum without (job) (y)", None);
    check("sum by ({{.pod}}) (x)", "sum by (pod) (y)", None);
    check("sum by (pod) (x)", "sum by (job) (y) > 0", None);
}

#[test]
fn what_is_not_promql_on_some_way_is_placed_in_the_file() {
    let check = |query: &str, expected: &[&str]| {
        let told = match one(query) {
            Ok(pack) => pack
                .warnings()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
            Err(problems) => problems.to_string(),
        };
        // All of the templates below have the same parameters.
        let lines: Vec<_> = told
            .lines()
            .filter(|line| !line.contains("does not use the parameter"))
            .collect();
        assert_eq!(lines.len(), expected.len(), "{query}: {told}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("p.yaml:{expected}")), "{query}: {line}");
        }
    };
    let template = |template: &str, expected: &[&str]| {
        let params = "params: [{name: x, required: false}, {name: q, kind: number}, {name: m, kind: metric}, \
                      {name: w, kind: duration}, {name: pods, kind: texts}, {name: by, kind: labels}, podFilter]";
        check(&format!("name: a\n{params}\ntemplate: '{template}'"), expected);
    };
    template("sum by pod (up)", &["6:23: not PromQL: "]);
    template(
        "rates(up[5m])",
        &["6:16: not PromQL: unknown function with name \"rates\""],
    );
    template("up{a=\"n\" b=\"p\"}", &["6:25: not PromQL: "]);
    template(
        "histogram_quantile(0.9)",
        &["6:16: not PromQL: expected 2 argument(s)"],
    );
    template("sum(up) sum(up)", &["6:24: not PromQL: "]);
    template("increase(up[5 m])", &["6:30: not PromQL: "]);
    template("up{a=~\"b(c\"}", &["6:22: not PromQL: "]);
    template("up{{if .x}} + {{else}} + sum({{end}}up", &["6:18: the two ways"]);
    // One of the ways alone; the same mistake of several ways once.
    template(
        "up{{if .x}}{a=\"{{.x}}\" b=\"c\"}{{end}}",
        &["6:39: not PromQL: "],
    );
    template(
        "{{if .x}}1{{else}}2{{end}} + rates(up[{{.w}}])",
        &["6:45: not PromQL: "],
    );
    template("{{if .x}}sum{{else}}rates{{end}}(up)", &["6:36: not PromQL: "]);
    template(
        "quantile({{.m}}, up)",
        &["6:27: not PromQL: expected type scalar"],
    );
    for good in [
        "topk({{.q}}, sum by ({{.by}}) (rate({{.m}}{a=~\"{{.pods}}|{{.podFilter}}\"}[{{.w}}])))",
        "clamp_max(up, {{.x}}) > {{.x}}",
        "{{.x}}{} * on ({{.by}}) group_left (pod) up",
        "label_replace(up, \"{{.x}}\", \"$1\", \"pod\", \"(.*)\") + up offset {{.w}}",
        "{{if .x}}sum{{else}}count_values{{end}} ({{if .x}}{{else}}\"v\", {{end}}up)",
        "rate(up[{{printf \"%sm\" \"5\"}}] @ {{.q}})",
    ] {
        template(good, &[]);
    }
    // What may be meant is no problem, and who takes it is told.
    template(
        "up + fill(0) up",
        &[
            "6:21: warning: the modifier `fill` is experimental and not enabled (promql-binop-fill-modifiers): Prometheus takes it from 3.10",
        ],
    );
    template(
        "up * step()",
        &["6:15: warning: step() is 0 where PromQL is asked at one time"],
    );
    template(
        "rate(up[5m + step()])",
        &[
            "6:15: warning: step() is 0",
            "6:29: warning: a duration with step() or range() follows from the times of a query, and is known where it is \
             evaluated alone: what is scraped here is asked with it",
        ],
    );
    template("rate(up)", &["6:21: warning: expected type range vector"]);
    template(
        "median_over_time(up[{{.w}}]) default {{.q}}",
        &["6:16: warning: unknown function"],
    );
    template(
        "WITH (x = up) x",
        &["6:16: warning: unknown function with name \"WITH\""],
    );
    template(
        "start_timestamp(up)",
        &["6:16: warning: function \"start_timestamp\" is"],
    );
    // Beyond the bound each branch is read.
    let branches: String = (0..40)
        .map(|i| format!("{{{{if eq (len .x) {i}}}}} + 1{{{{end}}}}"))
        .collect();
    template(
        &format!("up{branches}"),
        &["6:15: warning: the template has more than 64 ways"],
    );
    let wrong = format!(
        "up{}{{{{if eq (len .x) 99}}}} + rates(up){{{{end}}}}",
        branches.replace(".x", ".q")
    );
    template(&wrong, &["6:15: warning: the template has more", "6:"]);
    // A block keeps its places, also those behind a condition.
    check(
        "name: a\nparams: [x]\ntemplate: |\n  sum(\n    up{{if .x}}{a=\"{{.x}}\"}{{end}}\n    rates(up))",
        &["9:9: not PromQL: "],
    );
    // A union is read as well: what stands alone may not join.
    let union = Pack::parse(
        "p",
        "{name: a, queries: [{name: b, template: '1'}, {name: c, template: up}, {name: d, any_of: [b, c]}]}",
    );
    let problem = union.unwrap_err().to_string();
    assert!(
        problem.contains("set operator \"or\" not allowed in binary scalar expression"),
        "{problem}"
    );
}

proptest::proptest! {
    /// Whatever the file holds, reading it ends, and each problem has a place in it.
    #[test]
    fn any_text_is_read_or_refused_at_a_place(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "name", "queries", "template", "params", "any_of", "type", "ttl", ": ", ":", "- ", "\n", "\n  ",
                "\n    ", "{", "}", "[", "]", ",", "\"", "'", "|", ">", "&a ", "*a", "#", "!!str ", "{{.x}}",
                "{{if .x}}", "{{end}}", "up", "5", "30s", "~", "\t", "---", "é日", "\u{feff}", "%", "@", "<<",
            ]),
            0..40,
        ),
    ) {
        let text = words.concat();
        if let Err(problems) = Pack::parse("p", &text) {
            proptest::prop_assert!(problems.iter().len() > 0);
            let lines = text.split('\n').count();
            for problem in problems.iter() {
                let (line, column) = (problem.position.line, problem.position.column);
                proptest::prop_assert!((1..=lines + 1).contains(&line) && column >= 1, "{problem}");
            }
        }
    }
}

#[test]
fn a_pack_needs_a_name_and_queries_and_each_name_once() {
    let check = |pack: &str, expected: &str| {
        assert_eq!(Pack::parse("p.yaml", pack).unwrap_err().to_string(), expected);
    };
    check(
        "{}",
        "p.yaml:1:1: field \"name\" is missing in a pack\np.yaml:1:1: field \"queries\" is missing in a pack",
    );
    check(
        "- a",
        "p.yaml:1:1: expected a pack: a mapping of fields, found a list",
    );
    check(
        "{name: a, queries: [{name: b, template: up}, {name: b, templat: up}]}",
        "p.yaml:1:46: field \"template\" is missing in a query\n\
         p.yaml:1:53: there is a query \"b\" already, on line 1\n\
         p.yaml:1:56: unknown field \"templat\" in a query; did you mean \"template\"?",
    );
}

#[test]
fn json_is_a_pack_as_well() {
    let json = r#"{"name": "a", "queries": [{"name": "b", "type": "metric", "template": "up"}]}"#;
    let pack = Pack::parse("p.json", json).unwrap();
    assert_eq!(pack.queries()[0].query_type, QueryType::MetricName);
}

#[test]
fn a_union_takes_templates_and_parameters_of_its_members() {
    let pack = "name: a
queries:
  - {name: x, template: 'x{n=\"{{.n}}\"}', params: [{name: n, required: false}]}
  - {name: y, template: 'y{n=\"{{.n}}\"} / {{.m}}', params: [n, {name: m, kind: number}]}
  - {name: z, any_of: [x, y, epp/scheduler_queue_size]}
  - {name: m, template: z}
  - {name: bad, any_of: [m, x, w]}
  - {name: clash, template: 'z{n=~\"{{.n}}\"}', params: [{name: n, kind: regex}]}
  - {name: bad2, any_of: [x, clash]}
  - {name: met, type: metric, template: up}
  - {name: bad3, any_of: [met]}
";
    let problems = Pack::parse("p", pack).unwrap_err().to_string();
    let expected = "p:7:32: there is no query \"w\" above this one\n\
         p:9:30: a/clash declares \"n\" as regex, and a query before it as text\n\
         p:11:27: a/met is not PromQL, so it cannot be joined with others";
    assert_eq!(problems, expected);
    let good = pack
        .lines()
        .filter(|line| !line.contains("bad"))
        .collect::<Vec<_>>()
        .join("\n");
    let pack = Pack::parse("p", &good).unwrap();
    let union = pack.query("z").unwrap();
    assert!(union.template.starts_with(
        "x{n=\"{{.n}}\"}\nor\ny{n=\"{{.n}}\"} / {{.m}}\nor\nsum by (cluster) (\n  max by (namespace, pod, instance, cluster) ("
    ));
    let params = union.params.iter().map(|p| (p.name(), p.is_required()));
    assert_eq!(
        params.collect::<Vec<_>>(),
        [("n", true), ("m", true), ("modelID", true)]
    );
}

#[test]
fn the_built_in_packs_stand_and_tell_meaning_and_unit() {
    let list = QueryList::new();
    for pack in Pack::builtins() {
        pack.register_into(&list).unwrap();
        assert!(!pack.description().is_empty());
        for query in pack.queries() {
            assert!(query.description.ends_with('.'), "{}", query.name);
            assert!(!query.unit.is_empty(), "{}", query.name);
        }
    }
    assert_eq!(Pack::builtin("vlm"), None);
}

#[test]
fn a_built_in_query_tells_ages_and_reporters_and_is_split_for_members() {
    use fleetgauge_syntax::rewrite::{Age, Newest, age, distribute, reporting};
    use fleetgauge_syntax::tree::Expr;
    let list = QueryList::new();
    for pack in Pack::builtins() {
        pack.register_into(&list).unwrap();
        for query in pack.queries() {
            let ways = list.get(query.name.as_str()).unwrap().ways(64);
            let examples = ways.iter().flat_map(|way| way.examples().collect::<Vec<_>>());
            let trees = examples.filter_map(|example| fleetgauge_syntax::parse(example.text()).ok());
            let trees: Vec<_> = trees.collect();
            assert!(!trees.is_empty(), "{}", query.name);
            for tree in trees {
                let printed = fleetgauge_syntax::parse(&tree.to_string()).unwrap();
                assert_eq!(printed.to_string(), tree.to_string());
                let bare = |tree: Expr| format!("{:?}", tree.without_places());
                let is_exact = matches!(age(&tree, Newest::Subquery), Age::Exact(_));
                // count_values, which tells a capacity as a label, has rows of other labels than who reports.
                let is_counted = query.name == "inference/kv_capacity_tokens";
                assert!(is_counted || is_exact && reporting(&tree).is_some(), "{tree}");
                let plan = distribute(&tree, &["cluster"]).unwrap();
                // No raw series are pulled, but for the `or` of DCGM's, whose one side is over all members.
                let is_raw = plan
                    .pushed
                    .iter()
                    .any(|part| matches!(part.expr, Expr::Selector(_)));
                assert!(!is_raw || pack.name() == "dcgm", "{tree}");
                assert_eq!(bare(printed), bare(tree));
            }
        }
    }
}

/// Of another number, a quantile is ±Inf or has no data, which looks like a fleet that stands still.
#[test]
fn a_quantile_of_a_built_in_pack_is_from_0_to_1() {
    let list = QueryList::new();
    let mut quantiles = 0;
    for pack in Pack::builtins() {
        pack.register_into(&list).unwrap();
        for query in pack.queries() {
            let of_q = query.template.matches("quantile({{.q}}").count();
            assert_eq!(
                query.template.matches("quantile(").count(),
                of_q,
                "{}",
                query.name
            );
            let is_declared = query.params.iter().any(|param| param.name() == "q");
            assert_eq!(is_declared, of_q > 0, "{}", query.name);
            if of_q == 0 {
                continue;
            }
            quantiles += 1;
            let given = |q: &str| {
                let params = query.params.iter().map(|param| match param.name() {
                    "q" => ("q", q),
                    other => (other, "a"),
                });
                list.render(&query.name, &params.collect())
                    .map_err(|error| error.to_string())
            };
            for bad in ["-3", "NaN", "99", "Inf", "1.01"] {
                let error = given(bad).unwrap_err();
                assert!(error.contains("it is not from 0 to 1"), "{}: {error}", query.name);
            }
            for good in ["0", "0.99", "1"] {
                assert!(given(good).is_ok(), "{}", query.name);
            }
        }
    }
    assert!(quantiles >= 13, "{quantiles}");
}

#[test]
fn every_query_says_how_it_folds() {
    for pack in Pack::builtins() {
        for query in pack.queries() {
            assert!(query.fold.is_some(), "{} does not say how it folds", query.name);
        }
    }
    let folds = |pack: &str, query: &str| Pack::builtin(pack).unwrap().query(query).unwrap().fold;
    use fleetgauge_core::policy::Fold;
    use fleetgauge_core::query::Folds;
    assert_eq!(
        folds("inference", "queue_length"),
        Some(Folds::new(Fold::Sum, Fold::Sum))
    );
    assert_eq!(
        folds("vllm", "kv_cache_usage"),
        Some(Folds::new(Fold::Max, Fold::Max))
    );
}

#[test]
fn a_query_says_what_it_does_with_its_answers() {
    use fleetgauge_core::policy::Fold;
    use fleetgauge_core::query::Folds;
    use fleetgauge_core::transform::{LabelChange, TransformStep, VariantFold};

    let pack = one("name: a
template: up
fold: {pod: max, variant: sum}
transform:
  - label_to_value: num_gpu_blocks
  - labels: {keep: [namespace, pod]}
  - labels: {drop: [job]}
  - labels: {rename: {exported_pod: pod}}
  - promql: sum by (pod) (answer)
  - by_variant: mean
  - by_variant: {weighted_by: inference/request_rate}")
    .unwrap();
    let query = pack.query("a").unwrap();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(query.fold, Some(Folds::new(Fold::Max, Fold::Sum)));
    let expected = [
        TransformStep::LabelToValue("num_gpu_blocks".into()),
        TransformStep::Labels(LabelChange::Keep(names(&["namespace", "pod"]))),
        TransformStep::Labels(LabelChange::Drop(names(&["job"]))),
        TransformStep::Labels(LabelChange::Rename(vec![("exported_pod".into(), "pod".into())])),
        crate::transform::promql("sum by (pod) (answer)").unwrap(),
        TransformStep::ByVariant(VariantFold::By(Fold::Mean)),
        TransformStep::ByVariant(VariantFold::WeightedBy("inference/request_rate".into())),
    ];
    assert_eq!(query.transform, expected);
}

#[test]
fn mistakes_in_a_transform_have_a_place_and_a_remedy() {
    let check = |steps: &str, expected: &str| {
        let problems = one(&format!("name: a\ntemplate: up\n{steps}"))
            .unwrap_err()
            .to_string();
        assert_eq!(problems, format!("p.yaml:{expected}"), "{steps}");
    };
    check("transform: up", "6:16: expected a list of steps, found a text");
    check(
        "transform: [{promq: answer}]",
        "6:18: unknown step \"promq\"; did you mean \"promql\"?",
    );
    check(
        "transform: [{nonsense: answer}]",
        "6:18: unknown step \"nonsense\"; promql, label_to_value, labels, by_variant are known",
    );
    check(
        "transform: [{promql: answer, by_variant: sum}]",
        "6:17: a step has one field, one of promql, label_to_value, labels, by_variant",
    );
    check(
        "transform: [up]",
        "6:17: expected a step: a mapping of fields, found a text",
    );
    check(
        "transform:\n  - promql: sum(answr)",
        "7:21: \"answr\" is not the answer; did you mean \"answer\"?; a transform reads nothing else",
    );
    check(
        "transform:\n  - promql: answer + queue",
        "7:26: \"queue\" is not the answer, which is called \"answer\"; a transform reads nothing else",
    );
    check(
        "transform:\n  - promql: |\n      sum by (pod) (\n        {pod=\"a\"}\n      )",
        "9:18: a selector without a name; the answer is called \"answer\"",
    );
    check(
        "transform: [{promql: vector(1)}]",
        "6:26: the expression does not name the answer, which is called \"answer\" in it",
    );
    check(
        "transform: [{by_variant: summ}]",
        "6:30: unknown fold \"summ\"; did you mean \"sum\"?",
    );
    check(
        "transform: [{by_variant: weighted_by}]",
        "6:30: weighted_by takes the name of a query: {weighted_by: QUERY}",
    );
    check(
        "transform: [{by_variant: {weighted: x}}]",
        "6:31: unknown field \"weighted\"; did you mean \"weighted_by\"?",
    );
    check(
        "transform: [{by_variant: {weighted_by: a b}}]",
        "6:44: \"a b\" is no query name: it takes 1 to 200 of A-Z a-z 0-9 _ - . : /",
    );
    check(
        "transform: [{labels: {keeps: [a]}}]",
        "6:27: unknown change of labels \"keeps\"; did you mean \"keep\"?",
    );
    check(
        "transform: [{labels: {rename: {}}}]",
        "6:35: rename must name at least one label",
    );
    check(
        "transform: [{label_to_value: ''}]",
        "6:34: a label's name has 1 to 200 bytes",
    );
    check(
        "fold: {pod: max}",
        "6:11: field \"variant\" is missing in how a query folds",
    );
    check(
        "fold: {pod: max, variant: mena}",
        "6:31: unknown fold \"mena\"; did you mean \"mean\"?",
    );
    check(
        "transform: [{by_variant: {weighted_by: acme/a}}]",
        "6:16: a query cannot be weighted by itself; name the query that tells how much each pod counts",
    );
}

#[test]
fn a_union_takes_the_transform_of_its_only_part() {
    let pack = |parts: &str| {
        let text = format!(
            "name: a\nqueries:\n  - {{name: x, template: up, transform: [{{promql: answer * 2}}]}}\n  \
             - {{name: y, template: up}}\n  - {{name: z, any_of: {parts}, transform: [{{by_variant: sum}}]}}"
        );
        Pack::parse("p.yaml", &text)
    };
    let alone = pack("[x]").unwrap();
    let steps: Vec<_> = alone
        .query("z")
        .unwrap()
        .transform
        .iter()
        .map(|step| step.name())
        .collect();
    assert_eq!(steps, ["promql", "by_variant"]);
    for parts in ["[x, y]", "[y, x]"] {
        let error = pack(parts).unwrap_err().to_string();
        assert!(error.contains("cannot be joined with others"), "{error}");
    }
}

/// The names that callers rely on, whatever engine they run.
#[test]
fn every_pack_has_the_common_names_that_its_engine_can_answer() {
    let gauges = "queue_length queue_length_instant running_requests";
    let kv = "kv_cache_usage kv_cache_usage_instant";
    let common = "kv_cache_usage kv_cache_usage_instant queue_length queue_length_instant running_requests \
        cache_config_info avg_ttft avg_itl avg_e2e_latency avg_queue_time prefix_cache_hit_rate \
        ttft_quantile itl_quantile request_rate model_request_count";
    let lengths = "avg_input_tokens avg_output_tokens";
    let tokens = "generation_token_rate prompt_token_rate";
    let scheduler = "scheduler_queue_size scheduler_queue_bytes scheduler_dispatch_rate";
    let stages = "preemption_rate avg_inference_time avg_prefill_time avg_decode_time";
    let pools = "pool_average_queue_size pool_average_kv_cache_usage pool_ready_pods";
    let check = |pack: &str, names: &[&str]| {
        let pack = Pack::builtin(pack).unwrap();
        let mut expected: Vec<_> = names.iter().flat_map(|names| names.split_whitespace()).collect();
        let mut found: Vec<_> = pack.queries().iter().map(short_name).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{}", pack.name());
    };
    let capacity = "kv_capacity_tokens";
    check("vllm", &[common, lengths, tokens, stages, capacity]);
    check("ray", &[common, lengths, tokens, stages, capacity]);
    check("sglang", &[common, lengths, tokens, capacity]);
    check("trtllm", &[common, tokens, capacity]);
    let requests = "avg_e2e_latency request_rate model_request_count";
    check(
        "triton",
        &[
            gauges,
            kv,
            requests,
            "cache_config_info kv_capacity_tokens avg_ttft avg_queue_time ttft_quantile",
        ],
    );
    let times = "avg_queue_time avg_inference_time avg_time_per_token";
    check("tgi", &[gauges, requests, lengths, tokens, times]);
    check("llamacpp", &[gauges, kv, tokens, "avg_itl"]);
    let latencies = "avg_ttft avg_itl ttft_quantile itl_quantile";
    let cache = "cache_config_info prefix_cache_hit_rate";
    check("dynamo", &[gauges, requests, lengths, tokens, latencies, cache]);
    let gpu = "gpu_utilization gpu_engine_active gpu_memory_usage gpu_memory_used gpu_power gpu_count";
    check("dcgm", &[gpu]);
    check("epp", &[scheduler, pools]);
    check(
        "inference",
        &[
            common,
            lengths,
            tokens,
            scheduler,
            capacity,
            "preemption_rate saturation",
        ],
    );
}
