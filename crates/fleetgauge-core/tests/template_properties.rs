//! Decision 2 as a property: whatever the values are, a rendered query has the structure of its template, and a
//! text arrives as exactly that text. The judge is an independent PromQL parser.

use crate::support::template_body as body;

use fleetgauge_core::params::{ParamKind, ParamSpec, Params};
use fleetgauge_core::template::{RenderError, Template};
use fleetgauge_syntax::regex::rewrite;
use fleetgauge_syntax::tree;
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr};
use proptest::prelude::*;

/// A query around one placeholder, and a value that is harmless there.
#[derive(Clone, Debug)]
struct Place {
    source: &'static str,
    harmless: &'static str,
}

const fn place(source: &'static str, harmless: &'static str) -> Place {
    Place { source, harmless }
}

/// Strings: every value that is not refused arrives as it is.
const STRINGS: [Place; 8] = [
    place(r#"up{l="{{.x}}"}"#, "a"),
    place("up{l='{{.x}}'}", "a"),
    place("up{l=`{{.x}}`}", "a"),
    place(r#"up{l!="{{.x}}",other="b"}"#, "a"),
    place(r#"max by (pod) (rate(up{a="b", l="{{.x}}"}[5m])) > 0.5"#, "a"),
    place(r#"up{l="{{print .x}}"}"#, "a"),
    place(r#"up{l="{{with .x}}{{.}}{{end}}"}"#, "a"),
    place(
        r#"up{ # {{.x}} "
      l="{{.x}}"}"#,
        "a",
    ),
];

/// Regexes that must match exactly the text; raw strings are left out, as this parser reads escapes in them.
const REGEXES: [Place; 4] = [
    place(r#"up{l=~"{{.x}}"}"#, "a"),
    place("up{l!~'{{.x}}'}", "a"),
    place(r#"up{l=~"({{.x}})"}"#, "a"),
    place(r#"up{l=~"(?:{{.x}}){1}"}"#, "a"),
];

/// Code: one token, or refused.
const CODE: [Place; 12] = [
    place("{{.x}}{l=\"a\"}", "up"),
    place("sum({{.x}} offset 5m)", "up"),
    place("rate(up[{{.x}}])", "5m"),
    place("rate(up[1h:{{.x}}])", "5m"),
    place("up offset {{.x}}", "5m"),
    place("up offset -{{.x}}", "5m"),
    place("sum by ({{.x}}) (up)", "pod"),
    place("a * on (pod, {{.x}}) group_left () b", "c"),
    place("up{ {{.x}}=\"a\"}", "pod"),
    place("up @ {{.x}}", "5"),
    place("{{.x}}[5m]", "up"),
    place("avg without ({{.x}}) ({{if .x}}up{{else}}down{{end}})", "c"),
];

/// Numbers: in parentheses where they have a sign, so that what stands around them binds as before.
const NUMBERS: [Place; 8] = [
    place("up > {{.x}}", "5"),
    place("2 ^ {{.x}}", "5"),
    place("{{.x}} ^ 2", "5"),
    place("up - {{.x}} * 2", "5"),
    place("1 -{{.x}}", "5"),
    place("clamp(up, {{.x}}, 2)", "5"),
    place("up * 2 ^ {{.x}} ^ 2", "5"),
    place("topk({{.x}}, up) >= bool {{.x}}", "5"),
];

fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        prop::sample::select(vec![
            "\"",
            "'",
            "`",
            "\\",
            "\n",
            "\r",
            "#",
            "{",
            "}",
            "{{.x}}",
            "{{",
            "}}",
            "(",
            ")",
            "[",
            "]",
            "|",
            "*",
            "+",
            "?",
            "^",
            "$",
            ".",
            "=",
            "=~",
            "!",
            ",",
            " ",
            "or",
            " or up",
            "\"} or up{a=\"",
            "by",
            "sum",
            "offset",
            "5m",
            "0",
            "1e",
            "inf",
            "NaN",
            "-",
            "0x",
            "up",
            "le",
            "\\n",
            "\\\"",
            "\\Q",
            "(?i)",
            "(?",
            "[a-",
            "{2}",
            "\u{fffd}",
            "é",
            "日",
            "\u{0}",
            "\u{202e}",
            "ms",
            "1h30m",
            ":",
            "_",
            "vllm:x",
            "&&",
            "--",
            "\\d",
            "\\<",
            "a|b",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn render(source: &str, kind: ParamKind, value: &str) -> Result<String, RenderError> {
    let template = Template::compile(source, &[ParamSpec::required("x", kind)]).expect(source);
    template.render(&Params::from([("x", value)]))
}

/// The shape of a query: its tree without names, texts and numbers.
fn shape(query: &str) -> String {
    let expr = parser::parse(query).unwrap_or_else(|error| panic!("{query:?} does not parse: {error}"));
    shape_of(&expr)
}

fn shape_of(expr: &Expr) -> String {
    match expr {
        Expr::Aggregate(e) => format!(
            "{}({}, {:?})",
            e.op,
            shape_of(&e.expr),
            e.param.as_deref().map(shape_of)
        ),
        Expr::Unary(e) => format!("-({})", shape_of(&e.expr)),
        Expr::Binary(e) => format!("({} {} {})", shape_of(&e.lhs), e.op, shape_of(&e.rhs)),
        Expr::Paren(e) => format!("({})", shape_of(&e.expr)),
        Expr::Subquery(e) => format!("{}[:{}]", shape_of(&e.expr), e.step.is_some()),
        Expr::NumberLiteral(_) => "number".to_owned(),
        Expr::StringLiteral(_) => "string".to_owned(),
        Expr::VectorSelector(e) => selector(e),
        Expr::MatrixSelector(e) => format!("{}[]", selector(&e.vs)),
        Expr::Call(e) => format!(
            "{}({:?})",
            e.func.name,
            e.args.args.iter().map(|arg| shape_of(arg)).collect::<Vec<_>>()
        ),
        other => format!("{other:?}"),
    }
}

/// The number literals of a query, with the sign that stands before each.
fn numbers(expr: &Expr) -> Vec<f64> {
    match expr {
        Expr::NumberLiteral(number) => vec![number.val],
        Expr::Paren(e) => numbers(&e.expr),
        Expr::Unary(e) => numbers(&e.expr).into_iter().flat_map(|n| [n, -n]).collect(),
        Expr::Binary(e) => [numbers(&e.lhs), numbers(&e.rhs)].concat(),
        Expr::Aggregate(e) => e.param.as_deref().map_or(Vec::new(), numbers),
        Expr::Call(e) => e.args.args.iter().flat_map(|arg| numbers(arg)).collect(),
        _ => Vec::new(),
    }
}

fn selector(selector: &parser::VectorSelector) -> String {
    let ops: Vec<_> = selector.matchers.matchers.iter().map(op).collect();
    let or = selector.matchers.or_matchers.len();
    format!(
        "name {} {ops:?} {or} {} {}",
        selector.name.is_some(),
        selector.offset.is_some(),
        selector.at.is_some()
    )
}

fn op(matcher: &Matcher) -> &'static str {
    match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Re(_) => "=~",
        MatchOp::NotRe(_) => "!~",
    }
}

fn matcher(query: &str, label: &str) -> Matcher {
    fn find(expr: &Expr, label: &str) -> Option<Matcher> {
        let selector = match expr {
            Expr::VectorSelector(selector) => selector,
            Expr::MatrixSelector(e) => &e.vs,
            Expr::Aggregate(e) => return find(&e.expr, label),
            Expr::Binary(e) => return find(&e.lhs, label),
            Expr::Call(e) => return find(e.args.args.first()?, label),
            _ => return None,
        };
        selector
            .matchers
            .matchers
            .iter()
            .find(|matcher| matcher.name == label)
            .cloned()
    }
    let expr = parser::parse(query).unwrap_or_else(|error| panic!("{query:?} does not parse: {error}"));
    find(&expr, label).unwrap_or_else(|| panic!("{query:?} has no matcher of {label}"))
}

/// The regular expression of a query that is one selector with one matcher.
fn pattern(query: &str) -> String {
    match fleetgauge_syntax::parse(query) {
        Ok(tree::Expr::Selector(mut selector)) if selector.matchers.len() == 2 => {
            selector.matchers.remove(1).value
        }
        other => panic!("{query}: {other:?}"),
    }
}

/// What RE2 reads, as the evaluator compiles it.
fn re2(pattern: &str) -> regex::Regex {
    let rewritten = rewrite(pattern).unwrap_or_else(|error| panic!("{pattern:?}: {error}"));
    let compiled = regex::Regex::new(&format!("^(?s:{rewritten})$"));
    compiled.unwrap_or_else(|error| panic!("{pattern:?} as {rewritten:?}: {error}"))
}

fn reason_is_told(error: &RenderError) {
    match error {
        RenderError::Unplaceable {
            reason,
            fits,
            line: 1..,
            column: 1..,
            ..
        } => {
            assert!(!reason.is_empty() && !fits.is_empty());
        }
        other => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decision_2_a_text_in_a_string_arrives_as_exactly_that_text(at in prop::sample::select(&STRINGS[..]), value in hostile()) {
        let raw = at.source.contains('`');
        match render(at.source, ParamKind::Text, &value) {
            Ok(query) if raw && value.contains('\\') => {
                // This parser reads escapes in raw strings, which Prometheus does not.
                let literal = ["`", &*value, "`"].concat();
                prop_assert!(query.contains(&literal));
            }
            Ok(query) => {
                prop_assert_eq!(shape(&query), shape(&render(at.source, ParamKind::Text, at.harmless).unwrap()));
                prop_assert_eq!(matcher(&query, "l").value, value);
            }
            Err(error) => {
                prop_assert!(raw && (value.contains('`') || value.contains('\u{fffd}')), "{}", error);
                reason_is_told(&error);
            }
        }
    }

    #[test]
    fn decision_2_a_text_in_a_regex_matches_itself_and_no_mutation(
        at in prop::sample::select(&REGEXES[..]),
        value in hostile(),
        other in hostile(),
    ) {
        let query = render(at.source, ParamKind::Text, &value).unwrap();
        prop_assert_eq!(shape(&query), shape(&render(at.source, ParamKind::Text, at.harmless).unwrap()));
        let (MatchOp::Re(regex) | MatchOp::NotRe(regex)) = matcher(&query, "l").op else {
            panic!("{query:?} has no regex");
        };
        prop_assert!(regex.is_match(&value), "{} does not match {:?}", query, value);
        let mutations = [
            other,
            value.replace('.', "x"),
            value.replace('|', ""),
            value.to_uppercase(),
            value.chars().skip(1).collect(),
            format!("{value}{value}"),
            format!("{value}a"),
        ];
        for mutation in mutations {
            prop_assert_eq!(regex.is_match(&mutation), mutation == value, "{} and {:?}", query, mutation);
        }
    }

    #[test]
    fn decision_2_a_repetition_takes_the_whole_of_a_text(value in hostile()) {
        let query = render(r#"up{l=~"{{.x}}{2}"}"#, ParamKind::Text, &value).unwrap();
        let MatchOp::Re(regex) = matcher(&query, "l").op else { panic!("{query:?}") };
        prop_assert!(regex.is_match(&value.repeat(2)));
        prop_assert_eq!(regex.is_match(&value), value.is_empty());
    }

    #[test]
    fn decision_2_a_regex_stays_one_alternative(value in hostile()) {
        // Anchors mean another place in a whole than in a part.
        if ["^", "$", "\\b", "\\B", "\\A", "\\z"].iter().any(|anchor| value.contains(anchor)) {
            return Ok(());
        }
        match render(r#"up{l=~"p-{{.x}}-s"}"#, ParamKind::Regex, &value) {
            Err(error) => reason_is_told(&error),
            Ok(query) => {
                let (regex, alone) = (re2(&pattern(&query)), re2(&value));
                for inside in ["", "a", "b", "0", "ab", "é", "p-", "-s", &value] {
                    prop_assert_eq!(regex.is_match(&format!("p-{inside}-s")), alone.is_match(inside), "{} {}", query, inside);
                }
                prop_assert!(!regex.is_match("p-") && !regex.is_match("-s"));
                let query = render(r#"up{l=~"{{.x}}"}"#, ParamKind::Regex, &value).unwrap();
                prop_assert_eq!(pattern(&query), value);
            }
        }
    }

    #[test]
    fn decision_2_in_code_a_value_is_one_token_or_refused(at in prop::sample::select(&CODE[..]), value in hostile()) {
        match render(at.source, ParamKind::Text, &value) {
            Ok(query) => prop_assert_eq!(shape(&query), shape(&render(at.source, ParamKind::Text, at.harmless).unwrap())),
            Err(error) => reason_is_told(&error),
        }
    }

    #[test]
    fn decision_2_an_operand_is_a_name_or_a_number(value in hostile()) {
        match render("1 - {{.x}} ^ 2 == bool 3", ParamKind::Text, &value) {
            Ok(query) => {
                let name = shape("1 - up ^ 2 == bool 3");
                let shape = shape(&query).replace("(number)", "number");
                prop_assert!(shape == name || shape == name.replace("name true [] 0 false false", "number"), "{}", query);
            }
            Err(error) => reason_is_told(&error),
        }
    }

    #[test]
    fn decision_2_durations_and_numbers_parse(
        duration in "[0-9]{1,3}(y|w|d|h|m|s|ms)([0-9]{1,3}(h|m|s|ms))?",
        number in "[0-9.]{1,4}([eE][+-]?[0-9]{1,3})?|0x[0-9a-f]{1,15}|inf|NaN",
    ) {
        if let Ok(query) = render("rate(up[{{.x}}])", ParamKind::Duration, &duration) {
            prop_assert_eq!(shape(&query), shape("rate(up[5m])"));
        }
        if let Ok(query) = render("up > {{.x}}", ParamKind::Number, &number) {
            prop_assert_eq!(shape(&query), shape("up > 5"));
        }
        if let Ok(query) = render("up @ {{.x}}", ParamKind::Number, &number) {
            prop_assert_eq!(shape(&query), shape("up @ 5"));
        }
    }

    #[test]
    fn decision_2_a_number_keeps_its_value_and_the_tree_its_shape(
        value in prop_oneof![
            any::<f64>().prop_filter("a number that can be written", |v| !v.is_nan()).prop_map(|v| format!("{v:e}")),
            "[+-]?[0-9]{1,3}([.][0-9]{1,3})?",
            "[+-]?(Inf|inf)",
            Just("NaN".to_owned()),
        ],
        at in prop::sample::select(&NUMBERS[..]),
    ) {
        let value = value.replace("inf", "Inf").replace("+-", "-");
        let Ok(query) = render(at.source, ParamKind::Number, &value) else {
            // A leading zero, which some read as octal.
            prop_assert!(value.trim_start_matches(['+', '-']).starts_with('0'), "{}", value);
            return Ok(());
        };
        let unparenthesised = |query: &str| shape(query).replace("(number)", "number");
        let harmless = render(at.source, ParamKind::Number, at.harmless).unwrap();
        prop_assert_eq!(unparenthesised(&query), unparenthesised(&harmless), "{}", query);
        let expected: f64 = value.parse().unwrap();
        let arrived = numbers(&parser::parse(&query).unwrap());
        prop_assert!(
            arrived.iter().any(|n| n.to_bits() == expected.to_bits() || n.is_nan() && expected.is_nan()),
            "{} has {:?}", query, arrived
        );
    }

    #[test]
    fn decision_2_a_list_of_texts_matches_exactly_its_texts(
        values in prop::collection::vec(hostile(), 0..6),
        other in hostile(),
        source in prop::sample::select(&[
            r#"up{l=~"{{.x}}"}"#, "up{l!~'{{.x}}'}", r#"up{l=~"(?:{{.x}}){1}"}"#, r#"up{l=~"{{with .x}}{{.}}{{end}}"}"#,
        ][..]),
    ) {
        let template = Template::compile(source, &[ParamSpec::required("x", ParamKind::Texts)]).unwrap();
        match template.render(&Params::new().with_list("x", &values)) {
            Err(RenderError::MissingParam { .. }) => prop_assert!(values.is_empty()),
            Err(error) => {
                prop_assert!(values.iter().any(String::is_empty), "{}", error);
                reason_is_told(&error);
            }
            Ok(query) => {
                prop_assert_eq!(shape(&query), shape(&source.replace("{{.x}}", "a").replace("{{with .x}}{{.}}{{end}}", "a")));
                let (MatchOp::Re(regex) | MatchOp::NotRe(regex)) = matcher(&query, "l").op else { panic!("{query:?}") };
                for value in &values {
                    prop_assert!(regex.is_match(value), "{} does not match {:?}", query, value);
                }
                let joined = values.concat();
                for text in ["", &other, &joined, &values.join("|"), &values[0].to_uppercase()] {
                    prop_assert_eq!(regex.is_match(text), values.iter().any(|value| value == text), "{} and {:?}", query, text);
                }
            }
        }
    }

    #[test]
    fn decision_2_a_list_of_labels_is_that_list_or_refused(
        values in prop::collection::vec(prop_oneof![3 => "[a-z_]{1,4}", 1 => hostile()], 1..5),
    ) {
        let source = "sum by (first, {{.x}}) (up)";
        let template = Template::compile(source, &[ParamSpec::required("x", ParamKind::LabelNames)]).unwrap();
        match template.render(&Params::new().with_list("x", &values)) {
            Err(error) => reason_is_told(&error),
            Ok(query) => {
                let Ok(Expr::Aggregate(sum)) = parser::parse(&query) else { panic!("{query:?}") };
                let Some(parser::LabelModifier::Include(labels)) = &sum.modifier else { panic!("{query:?}") };
                let mut expected: Vec<&str> = vec!["first"];
                for value in &values {
                    if !expected[1..].contains(&&**value) {
                        expected.push(value);
                    }
                }
                prop_assert_eq!(labels.labels.iter().map(|label| &**label).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn decision_2_every_accepted_regex_compiles(value in r"[ab.*+?(){}\[\]|^$\\dwpLx0-9,:&~^-]{0,12}") {
        if render(r#"up{l=~"{{.x}}"}"#, ParamKind::Regex, &value).is_ok() {
            re2(&value);
        }
    }

    #[test]
    fn any_bytes_compile_and_render_without_panic(
        source in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", "define", "template", "block", "break",
                "\"t\"", ".x", ".podFilter", ".n", ".l", ".", "$", "$v", ":=", "=", "|", "(", ")", " ", "printf", "\"%5d\"",
                "print", "len", "eq", "and", "or", "slice", "1", "1.5", "999999", "up", "{", "}", "[", "]", "a=", "=~",
                "\"", "'", "`", "#", "\n", "\\", "{{.x}}", "{{end}}", "{{if .x}}", "{{range 3}}", "{{/*", "*/}}", ",", "é",
            ]).prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ], 0..24).prop_map(|parts| parts.concat()),
        x in hostile(),
        pods in hostile(),
    ) {
        body::check(&source, [&x, &pods, "5"]);
    }
}

#[test]
fn every_example_of_the_documentation_does_what_it_says() {
    let doc = include_str!("../../../docs/templates.md");
    let specs = |names: &str| -> Vec<ParamSpec> {
        names
            .split_whitespace()
            .map(|word| {
                let (name, kind) = word
                    .split_once(':')
                    .map_or((word, None), |(name, kind)| (name, Some(kind)));
                let kind = kind.map_or(ParamKind::default_for(name), |kind| kind.parse().unwrap());
                ParamSpec::optional(name, kind)
            })
            .collect()
    };
    let mut examples = 0;
    for block in doc.split("```text\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (mut template, mut declared, mut params) = ("", Vec::new(), Params::new());
        for line in block.lines() {
            let (key, rest) = line
                .split_once(' ')
                .map_or((line, ""), |(key, rest)| (key, rest.trim_start()));
            match key {
                "params" => declared = specs(rest),
                "template" => (template, params) = (rest, Params::new()),
                "value" => {
                    let (name, value) = rest.split_once('=').unwrap();
                    params.push(name, value);
                }
                "renders" => {
                    let compiled =
                        Template::compile(template, &declared).unwrap_or_else(|e| panic!("{template}: {e}"));
                    assert_eq!(compiled.render(&params).as_deref(), Ok(rest), "{template}");
                    examples += 1;
                    params = Params::new();
                }
                "refused" => {
                    let error = match Template::compile(template, &declared) {
                        Err(error) => error.to_string(),
                        Ok(compiled) => compiled.render(&params).unwrap_err().to_string(),
                    };
                    assert!(error.contains(rest), "{template}: {error}");
                    examples += 1;
                    params = Params::new();
                }
                "" => {}
                other => panic!("unknown line in an example: {other}"),
            }
        }
    }
    assert!(examples >= 25, "only {examples} examples were found");
}
