use fleetgauge::document::Document;

use super::*;

fn translated(text: &str) -> Translation {
    let document = Document::parse("adapter.yaml", text).unwrap();
    translate(&document).unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// What the queries are, and what is told.
fn check(text: &str, queries: &[&str], told: &[&str]) {
    let translation = translated(text);
    let yaml = &translation.yaml;
    let line = |line: &str| {
        let template = line.trim_start().strip_prefix("template: '")?;
        Some(template.trim_end_matches('\'').replace("\", ", "\","))
    };
    let found: Vec<_> = yaml.lines().filter_map(line).collect();
    let problems = lines(&translation.problems);
    assert_eq!(found, queries, "{text}\n{problems}");
    assert_eq!(problems.lines().count(), told.len(), "{text}\n{problems}");
    for (line, expected) in problems.lines().zip(told) {
        assert!(line.contains(expected), "{text}\n{line}\nhas no {expected:?}");
    }
    let is_left_out = translation.problems.iter().any(|problem| !problem.is_warning);
    assert_eq!(translation.is_partial, is_left_out, "{text}");
    assert_eq!(
        yaml.contains(" is not here, or not all of it."),
        is_left_out,
        "{yaml}"
    );
}

/// Of a rule for pods, with this query.
fn of_pods(query: &str) -> String {
    format!(
        "rules:\n- seriesQuery: 'q{{namespace!=\"\"}}'\n  resources: {{template: <<.Resource>>}}\n  metricsQuery: '{query}'\n"
    )
}

/// Of an external rule, with this query.
fn external(query: &str) -> String {
    format!("externalRules:\n- seriesQuery: q\n  metricsQuery: '{query}'\n")
}

/// What the adapter's own documents show, in other words.
#[test]
fn documented_shapes() {
    check(
        "rules:\n\
         - seriesQuery: 'http_requests_total{kubernetes_namespace!=\"\",kubernetes_pod_name!=\"\"}'\n  \
           resources:\n    overrides:\n      kubernetes_namespace: {resource: namespace}\n      kubernetes_pod_name: {resource: pod}\n  \
           name: {matches: '^(.*)_total', as: '${1}_per_second'}\n  \
           metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'\n",
        &["sum by (kubernetes_namespace, kubernetes_pod_name) \
           (rate(http_requests_total{kubernetes_namespace!=\"\",kubernetes_pod_name!=\"\"}[2m]))"],
        &[],
    );
    check(
        "rules:\n\
         - seriesQuery: '{__name__=~\"^container_.*\",container!=\"POD\",namespace!=\"\",pod!=\"\"}'\n  \
           resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n  \
           name: {matches: '^container_(.*)_seconds_total$'}\n  \
           metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,container!=\"POD\"}[2m])) by (<<.GroupBy>>)'\n\
         - seriesQuery: 'cheddar{sharp=\"true\"}'\n  \
           name: {as: cheesy_goodness}\n  \
           resources: {overrides: {brand: {group: cheese.io, resource: brand}}}\n  \
           metricsQuery: 'count(cheddar{sharp=\"true\"})'\n",
        &[],
        &[
            "adapter.yaml:2:16: which series it finds depends on what is in Prometheus",
            "adapter.yaml:8:14: only pods have metrics here, and it is about \"brand\"",
        ],
    );
    check(
        "externalRules:\n\
         - seriesQuery: '{__name__=\"queue_consumer_lag\",name!=\"\"}'\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)\n\
         - seriesQuery: '{__name__=\"queue_depth\",topic!=\"\"}'\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)\n  \
           resources: {namespaced: false}\n",
        &[
            "sum by (namespace, name) (queue_consumer_lag{namespace!=\"\"})",
            "sum by (name) (queue_depth)",
        ],
        &[
            "2:3: warning: HPAs can select from \"queue_consumer_lag\" by name alone",
            "4:3: warning: HPAs can select from \"queue_depth\" by name alone",
        ],
    );
    check(
        "resourceRules:\n  cpu: {containerQuery: anything}\n",
        &[],
        &["2:3: CPU and memory of pods and nodes (metrics.k8s.io) are not served here"],
    );
}

/// Sums that would be over other namespaces or pods than those of a request are not made.
#[test]
fn queries() {
    for (query, expected) in [
        ("<<.Series>>{<<.LabelMatchers>>}", "q{namespace!=\"\",pod!=\"\"}"),
        (
            "max by (pod) (<< .Series >>{a=\"b\",<<.LabelMatchers>>})",
            "max by (namespace, pod) (q{a=\"b\",namespace!=\"\",pod!=\"\"})",
        ),
        (
            "sum without (container) (q{<<.LabelMatchers>>})",
            "sum without (container) (q{namespace!=\"\",pod!=\"\"})",
        ),
        (
            "2 * avg_over_time(q{<<.LabelMatchers>>}[1m])",
            "2 * avg_over_time(q{namespace!=\"\",pod!=\"\"}[1m])",
        ),
        (
            "histogram_quantile(0.9, sum by (le, <<.GroupBy>>) (rate(q{<<.LabelMatchers>>}[1m])))",
            "histogram_quantile(0.9, sum by (le, namespace, pod) (rate(q{namespace!=\"\",pod!=\"\"}[1m])))",
        ),
    ] {
        check(&of_pods(query), &[expected], &[]);
    }
    for (query, why) in [
        ("sum(q{<<.LabelMatchers>>})", "it aggregates \"pod\" away"),
        (
            "sum without (pod) (q{<<.LabelMatchers>>})",
            "it aggregates \"pod\" away",
        ),
        (
            "topk by (pod) (1, q{<<.LabelMatchers>>})",
            "it chooses among the pods",
        ),
        ("q", "it does not say where <<.LabelMatchers>> go"),
        (
            "sum by (pod) (q{<<.LabelMatchers>>}) / sum by (pod) (limit)",
            "one side of an operator",
        ),
        (
            "q{<<.LabelMatchers>>} / on (pod) r{<<.LabelMatchers>>}",
            "it joins series",
        ),
        ("scalar(q{<<.LabelMatchers>>})", "scalar may lose"),
        (
            "q{pod=~\"<<index .LabelValuesByName \"pod\">>\"}",
            "is not known before a request is",
        ),
        ("q{<<.LabelMatchers", "is not known before a request is"),
        ("sum(q{<<.LabelMatchers>>}", "it is not PromQL"),
        (
            "label_replace(q{<<.LabelMatchers>>}, \"namespace\", \"a\", \"\", \"\")",
            "label_replace may lose",
        ),
        ("q{<<.LabelMatchers>>,a=\"{{b}}\"}", "{{ would begin something"),
    ] {
        let translation = translated(&of_pods(query));
        let told = lines(&translation.problems);
        assert!(
            translation.is_partial && told.lines().count() == 1,
            "{query}: {told}"
        );
        let place = "adapter.yaml:4:17: its query cannot be asked for all at once: ";
        assert!(
            told.starts_with(place) && told.contains(why),
            "{query}: {told}, without {why}"
        );
    }
    for (query, expected, told) in [
        (
            "max(q{<<.LabelMatchers>>})",
            "max by (namespace) (q{namespace!=\"\"})",
            "by none: its row has no other label",
        ),
        (
            "sum(q{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
            "sum by (namespace) (q{namespace!=\"\"})",
            "by none",
        ),
        (
            "q{<<.LabelMatchers>>}",
            "q{namespace!=\"\"}",
            "by the labels of their rows",
        ),
        (
            "sum(q{<<.LabelMatchers>>}) / count(q{<<.LabelMatchers>>})",
            "sum by (namespace) (q{namespace!=\"\"}) / count by (namespace) (q{namespace!=\"\"})",
            "by the labels of their rows",
        ),
    ] {
        check(&external(query), &[expected], &[told]);
    }
    check(
        &external("sum(q{<<.LabelMatchers>>}) / sum(r)"),
        &[],
        &["one side of an operator"],
    );
}

/// A row that had a label twice would be no row.
#[test]
fn labels_that_are_there_twice() {
    let rule = |overrides: &str, query: &str| {
        format!(
            "rules:\n- seriesQuery: q\n  resources: {{overrides: {{{overrides}}}}}\n  metricsQuery: '{query}'\n"
        )
    };
    let exported = "exported_namespace: {resource: namespace}, exported_pod: {resource: pod}";
    check(
        &rule(exported, "<<.Series>>{<<.LabelMatchers>>}"),
        &[
            "label_replace(label_replace(q{exported_namespace!=\"\",exported_pod!=\"\"}, \
             \"namespace\",\"$1\",\"exported_namespace\",\"(.*)\"), \"pod\",\"$1\",\"exported_pod\",\"(.*)\")",
        ],
        &[],
    );
    let both =
        "namespace: {resource: namespace}, exported_namespace: {resource: namespace}, pod: {resource: pod}";
    check(
        &rule(both, "<<.Series>>{<<.LabelMatchers>>}"),
        &[],
        &["adapter.yaml:3:81: \"namespace\" and \"exported_namespace\" are both said to be the namespace"],
    );
    // What is grouped by one of them alone has no other.
    let grouped = translated(&rule(exported, "sum(q{<<.LabelMatchers>>}) by (<<.GroupBy>>)"));
    let renamed = "rename: {'exported_namespace': namespace, 'exported_pod': pod}";
    assert!(grouped.yaml.contains(renamed), "{}", grouped.yaml);
}

#[test]
fn values_of_the_chart_are_read_as_they_are() {
    let values = "prometheus: {url: http://p, port: 9090}\nreplicas: 2\nrules:\n  default: false\n  custom:\n  \
        - seriesQuery: q\n    resources: {template: <<.Resource>>}\n    metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'\n  \
        external:\n  - seriesQuery: r\n    resources: {namespaced: false}\n    metricsQuery: 'sum(r{<<.LabelMatchers>>})'\n  \
        existing:\n  resource: {}\n";
    let both = ["q{namespace!=\"\",pod!=\"\"}", "sum(r)"];
    let selects = "HPAs can select from \"r\" by none";
    check(values, &both, &[selects]);
    let default = "4:12: warning: the chart's own rules (`default`) are not here";
    check(
        &values.replace("default: false", "default: true"),
        &both,
        &[default, selects],
    );
    let own = values.replace("existing:\n", "existing: own\n");
    let document = Document::parse("adapter.yaml", &own).unwrap();
    let refused = lines(&translate(&document).unwrap_err());
    assert!(
        refused.contains("with `existing` the chart's rules do not count"),
        "{refused}"
    );
    check(
        &values.replace("resource: {}", "resource: {cpu: {containerQuery: any}}"),
        &both,
        &[selects, "CPU and memory of pods and nodes"],
    );
}

#[test]
fn names() {
    let rule = |series: &str, more: &str| {
        format!(
            "externalRules:\n- seriesQuery: '{series}'\n  metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}})'\n{more}"
        )
    };
    let check = |series: &str, more: &str, names: &[&str], told: &[&str]| {
        let translation = translated(&rule(series, more));
        let found = translation
            .yaml
            .lines()
            .filter_map(|line| line.strip_prefix("  - name: "));
        let problems: Vec<_> = translation.problems.iter().map(ToString::to_string).collect();
        assert_eq!(found.collect::<Vec<_>>(), names, "{problems:#?}");
        for expected in told {
            assert!(
                problems.iter().any(|problem| problem.contains(expected)),
                "{problems:#?} have no {expected:?}"
            );
        }
    };
    check(
        "vllm:num_requests_waiting",
        "",
        &["vllm_num_requests_waiting"],
        &["HPAs that ask for \"vllm:num_requests_waiting\" have to ask for \"vllm_num_requests_waiting\""],
    );
    check(
        "{__name__=~\"^(a|b_total)$\"}",
        "  name: {matches: '(.*)_total'}\n",
        &["b"],
        &[],
    );
    check(
        "{__name__=~\"a|b\"}",
        "  seriesFilters: [{isNot: b}]\n",
        &["a"],
        &[],
    );
    check(
        "{__name__=~\"a|b\"}",
        "  seriesFilters: [{is: c}]\n",
        &[],
        &["leave none of its series"],
    );
    check(
        "{__name__=~\"a|b\"}",
        "  name: {as: same}\n",
        &["same", "same_external"],
        &[],
    );
    check("a", "  name: {matches: '(a)(b)?'}\n", &[], &["`as` is missing"]);
    check(
        "a",
        "  name: {matches: '(a'}\n",
        &[],
        &["not a regular expression"],
    );
    check(
        "a",
        "  seriesFilters: [{is: a, isNot: b}]\n",
        &[],
        &["a filter is one of is and isNot"],
    );
    check("a + b", "", &[], &["seriesQuery is not a selector"]);
    check(
        "{namespace!=\"\"}",
        "",
        &[],
        &["depends on what is in Prometheus"],
    );
    check(
        "a",
        "  metricQuery: b\n",
        &[],
        &["unknown field \"metricQuery\" in a rule; did you mean \"metricsQuery\"?"],
    );
    check("9{", "", &[], &["seriesQuery is not PromQL"]);
    check(
        "a",
        "  labelValueReplacements: [{find: '#', replace: x}]\n",
        &["a"],
        &["labelValueReplacements has no counterpart"],
    );
}

/// Files that are none of the adapter's, or are made to break what reads them.
#[test]
fn hostile_files() {
    let refused = |text: &str, expected: &str| {
        let problems = Document::parse("adapter.yaml", text)
            .map_err(|problem| vec![problem])
            .and_then(|document| translate(&document))
            .unwrap_err();
        assert!(lines(&problems).contains(expected), "{text}: {problems:?}");
    };
    refused(
        "kind: ConfigMap\ndata: {config.yaml: 'rules: []'}\n",
        "this is a manifest of Kubernetes",
    );
    refused("[]", "expected a configuration of prometheus-adapter");
    refused("rule: []", "did you mean \"rules\"?");
    // What is in texts does not get out of them.
    let series = "q\\n  - name: evil";
    let text = format!(
        "externalRules:\n- seriesQuery: \"{{__name__=\\\"{series}\\\"}}\"\n  name: {{as: \"x'\\n- y: \\u001b[31m\"}}\n  \
         metricsQuery: 'sum({{__name__=\"<<.Series>>\",a=\"it''s\",<<.LabelMatchers>>}})'\n"
    );
    let translation = translated(&text);
    let made = Document::parse("made.yaml", &translation.yaml).unwrap();
    let queries = made
        .root()
        .field("queries")
        .map(|node| node.as_list().unwrap().len());
    assert!(queries.is_none_or(|count| count == 1), "{}", translation.yaml);
    assert!(!translation.yaml.contains('\u{1b}'), "{}", translation.yaml);
    // Long and deep.
    let deep = format!(
        "{}q{{<<.LabelMatchers>>}}{}",
        "(".repeat(5_000),
        ")".repeat(5_000)
    );
    check(&external(&deep), &[], &["it is not PromQL"]);
    let many = "- seriesQuery: '{a=\"b\"}'\n  metricsQuery: q\n".repeat(2_000);
    let translation = translated(&format!("externalRules:\n{many}"));
    assert_eq!(translation.yaml.matches(" is not here").count(), 2_000);
    assert!(lines(&translation.problems).contains("1000 more problems are not told"));
}
