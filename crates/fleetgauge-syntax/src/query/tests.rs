use super::*;
use crate::tree::{Group, Selector, Shift};
use crate::{Features, MAX_DEPTH, rewrite};

fn parsed(query: &str) -> Expr {
    parse(query).unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn enabled(query: &str, times: Option<Times>) -> Parsed {
    parse_with(query, Features::all(), times).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The tree with all operations in parentheses.
fn shape(expr: &Expr) -> String {
    match expr {
        Expr::Number(value) => value.to_string(),
        Expr::Text(text) => format!("{text:?}"),
        Expr::Selector(selector) => selector_shape(selector),
        Expr::Range(range) => format!("{}[{}]", selector_shape(&range.selector), range.range),
        Expr::Subquery(s) => {
            let step = s.step.map_or(String::new(), |step| step.to_string());
            format!("{}[{}:{step}]{}", shape(&s.expr), s.range, shift_shape(s.shift))
        }
        Expr::Call(call) => {
            let args: Vec<_> = call.args.iter().map(shape).collect();
            format!("{}({})", call.function.name(), args.join(", "))
        }
        Expr::Aggregate(a) => {
            let clause = if a.grouping.without { "without" } else { "by" };
            let param = a
                .param
                .as_ref()
                .map_or(String::new(), |param| shape(param) + ", ");
            format!(
                "{} {clause}({})({param}{})",
                a.op.name(),
                a.grouping.labels.join(","),
                shape(&a.expr)
            )
        }
        Expr::Negate(inner) => format!("(-{})", shape(inner)),
        Expr::Binary(b) => {
            let bool = if b.returns_bool { " bool" } else { "" };
            let on = match (b.matching.on, b.matching.labels.is_empty()) {
                (false, true) => String::new(),
                (on, _) => format!(
                    " {}({})",
                    if on { "on" } else { "ignoring" },
                    b.matching.labels.join(",")
                ),
            };
            let group = match b.matching.group {
                Group::Neither => String::new(),
                side => format!(" {side:?}({})", b.matching.include.join(",")),
            };
            format!(
                "({} {}{bool}{on}{group} {})",
                shape(&b.left),
                b.op.as_str(),
                shape(&b.right)
            )
        }
        Expr::Once(inner) => format!("once({})", shape(inner)),
    }
}

fn selector_shape(selector: &Selector) -> String {
    let matchers: Vec<_> = selector.matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}{}", matchers.join(","), shift_shape(selector.shift))
}

fn shift_shape(shift: Shift) -> String {
    let at = shift.at.map_or(String::new(), |at| format!("@{at:?}"));
    let offset = if shift.offset == 0 {
        String::new()
    } else {
        format!("-{}", shift.offset)
    };
    at + &offset
}

#[test]
fn queries_have_the_shape_that_prometheus_gives_them() {
    let check = |query: &str, expected: &str| {
        let expected = expected.replace("§", r#"{__name__="#).replace("¦", "}");
        assert_eq!(shape(&parsed(query)), expected, "{query}");
    };
    check("1 + 2 * 3 ^ 2 ^ 2", "once((1 + (2 * (3 ^ (2 ^ 2)))))");
    check("up # x\r + 1", r#"(§"up"¦ + 1)"#);
    check("up # x\n + 1", r#"(§"up"¦ + 1)"#);
    check("-1 ^ 2", "once((-(1 ^ 2)))");
    check("2 ^ -1 ^ 2 * 3", "once(((2 ^ (-(1 ^ 2))) * 3))");
    check("-1 * 2", "once((-1 * 2))");
    check("- -1", "1");
    check("a - b - c", r#"((§"a"¦ - §"b"¦) - §"c"¦)"#);
    check(
        "a or b and c unless d",
        r#"(§"a"¦ or ((§"b"¦ and §"c"¦) unless §"d"¦))"#,
    );
    check("a == b > c + d", r#"((§"a"¦ == §"b"¦) > (§"c"¦ + §"d"¦))"#);
    check("a % b atan2 c", r#"((§"a"¦ % §"b"¦) atan2 §"c"¦)"#);
    check("a > bool 1", r#"(§"a"¦ > bool 1)"#);
    check(
        "a * on (x, y) group_left (z) b",
        r#"(§"a"¦ * on(x,y) Left(z) §"b"¦)"#,
    );
    check(
        "a / IGNORING (x) group_right b",
        r#"(§"a"¦ / ignoring(x) Right() §"b"¦)"#,
    );
    check("a and on () b", r#"(§"a"¦ and on() §"b"¦)"#);
    check("Sum By (x,) (a)", r#"sum by(x)(§"a"¦)"#);
    check("sum(a) without (x)", r#"sum without(x)(§"a"¦)"#);
    check("topk by (\"x.y\") (3, a)", r#"topk by(x.y)(3, §"a"¦)"#);
    check("count_values(\"v\", a)", r#"count_values by()("v", §"a"¦)"#);
    check("rate (a[1h30m])", r#"rate(§"a"¦[5400000])"#);
    check("a[300]", r#"§"a"¦[300000]"#);
    check("a offset -5m", r#"§"a"¦--300000"#);
    check("a[5m] offset 90", r#"§"a"¦-90000[300000]"#);
    check("a @ -1.5 offset 1s", r#"once(§"a"¦@Time(-1500)-1000)"#);
    check("a @ start() + a @ end()", r#"once((§"a"¦@Start + §"a"¦@End))"#);
    check("a @ 1 + b", r#"(once(§"a"¦@Time(1000)) + §"b"¦)"#);
    check("-a offset 1s", r#"(-§"a"¦-1000)"#);
    check(
        "max_over_time(rate(a[1m])[5m:])",
        r#"max_over_time(rate(§"a"¦[60000])[300000:])"#,
    );
    check(
        "a[5m:30s] @ 10 offset 1m",
        r#"§"a"¦[300000:30000]@Time(10000)-60000"#,
    );
}

#[test]
fn selectors_are_read() {
    let check = |query: &str, expected: &str| assert_eq!(shape(&parsed(query)), expected, "{query}");
    check("a:b:c", r#"{__name__="a:b:c"}"#);
    check(r#"{a="b",}"#, r#"{a="b"}"#);
    check(
        r#"a{b!="c",d=~'e|f',g!~`h\d`}"#,
        r#"{__name__="a",b!="c",d=~"e|f",g!~"h\\d"}"#,
    );
    check(r#"{"a.b", "c d"="e"}"#, r#"{__name__="a.b","c d"="e"}"#);
    check(r#"{__name__=~"a.+"}"#, r#"{__name__=~"a.+"}"#);
    // Keywords are names where no keyword can stand.
    check("sum", r#"{__name__="sum"}"#);
    check("offset offset 1s", r#"{__name__="offset"}-1000"#);
    check(
        r#"a{on="1",by="2",inf="3"}"#,
        r#"{__name__="a",on="1",by="2",inf="3"}"#,
    );
    check(
        "sum by (sum, on) (start)",
        r#"sum by(sum,on)({__name__="start"})"#,
    );
    check("a # comment\n", r#"{__name__="a"}"#);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check = |query: &str, expected: &str| {
        let error = parse(query).expect_err(query).to_string();
        let expected = expected.replacen(' ', " parse error: ", 1);
        assert!(
            error.starts_with(&expected),
            "{query}\n  got      {error}\n  expected {expected}"
        );
    };
    check("", "1:1: no expression found");
    check(" # only a comment", "1:1: no expression found");
    check("(a", "1:1: unclosed left parenthesis");
    check("a)", "1:2: unexpected right parenthesis");
    check("a[5m", "1:2: unclosed left bracket");
    check("a{b=\"c\"", "1:2: unclosed left brace");
    check("a{b=\"c}", "1:5: unterminated quoted string");
    check(
        "sum(\n  a,\n  $b)",
        "3:3: unexpected character: '$': PromQL has no variables",
    );
    check(
        "a && b",
        "1:3: unexpected character: '&': \"and\" is written `and`",
    );
    check("a b", "1:3: unexpected identifier \"b\"");
    check("a +", "1:4: unexpected end of input");
    check(
        "a{b}",
        "1:4: unexpected \"}\" in label matching, expected one of =",
    );
    check(
        "a{b=c}",
        "1:5: unexpected identifier \"c\" in label matching, expected string",
    );
    check(
        "rte(a[5m])",
        "1:1: unknown function with name \"rte\"; did you mean \"rate\"?",
    );
    check(
        "rate(a)",
        "1:6: expected type range vector in call to function \"rate\", got instant vector",
    );
    check(
        "abs(a[5m])",
        "1:5: expected type instant vector in call to function \"abs\", got range vector",
    );
    check("abs()", "1:1: expected 1 argument(s) in call to \"abs\", got 0");
    check(
        "round(a, 1, 2)",
        "1:1: expected at most 2 argument(s) in call to \"round\", got 3",
    );
    check(
        "label_join(a)",
        "1:1: expected at least 3 argument(s) in call to \"label_join\", got 1",
    );
    check(
        "abs(a,)",
        "1:7: trailing commas not allowed in function call args",
    );
    check("sum()", "1:1: no arguments for aggregate expression provided");
    check(
        "topk(a)",
        "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    );
    check(
        "topk(a, b)",
        "1:6: expected type scalar in aggregation parameter, got instant vector",
    );
    check(
        "sum(1)",
        "1:5: expected type instant vector in aggregation expression, got scalar",
    );
    check("1 > 2", "1:3: comparisons between scalars must use BOOL modifier");
    check(
        "1 and a",
        "1:3: set operator \"and\" not allowed in binary scalar expression",
    );
    check(
        "a + bool b",
        "1:5: bool modifier can only be used on comparison operators",
    );
    check(
        "a + on (x) 1",
        "1:3: vector matching only allowed between instant vectors",
    );
    check(
        "a and on (x) group_left b",
        "1:14: no grouping allowed for \"and\" operation",
    );
    check(
        "a + on (x) group_left (x) b",
        "1:12: label \"x\" must not occur in ON and GROUP clause at once",
    );
    check(
        "a[5m] + 1",
        "1:1: binary expression must contain only scalar and instant vector types",
    );
    check(
        "1 + \"x\"",
        "1:5: binary expression must contain only scalar and instant vector types",
    );
    check(
        "-\"x\"",
        "1:2: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    );
    check(
        "{a=\"\"}",
        "1:1: vector selector must contain at least one non-empty matcher",
    );
    check(
        "a{__name__=\"b\"}",
        "1:1: metric name must not be set twice: \"a\" or \"b\"",
    );
    check("{\"a\", \"b\"}", "1:7: metric name must not be set twice");
    check(
        "a{b=~\"(\"}",
        "1:6: matcher of label \"b\" has an unusable regular expression",
    );
    check("(a)[5m]", "1:4: ranges only allowed for vector selectors");
    check(
        "a offset 1m [5m]",
        "1:13: no offset modifiers allowed before range",
    );
    check("a @ 1 [5m]", "1:7: no @ modifiers allowed before range");
    check(
        "1[5m:1m]",
        "1:1: subquery is only allowed on instant vector, got scalar instead",
    );
    check("sum(a) offset 5m", "1:8: offset modifier must be preceded by");
    check("(a) @ 5", "1:5: @ modifier must be preceded by");
    check(
        "a offset 1m offset 2m",
        "1:13: offset may not be set multiple times",
    );
    check("a @ 1 @ 2", "1:7: @ <timestamp> may not be set multiple times");
    check("a[0s]", "1:3: duration must be greater than 0");
    check("a[-5m]", "1:3: duration must be greater than 0");
    check("a[1m1h]", "1:3: not a valid duration string");
    check(
        "sum by (a:b) (c)",
        "1:9: unexpected identifier \"a:b\" in grouping opts, expected label",
    );
    check("1x", "1:1: bad number or duration syntax: \"1x\"");
    check("\"é\" é", "1:5: unexpected character: 'é'");
}

/// What Prometheus knows and this evaluator does not is refused by its name.
#[test]
fn what_is_not_supported_is_named() {
    let check = |query: &str, expected: &str| {
        let error = parse(query).expect_err(query).to_string();
        assert!(error.contains(expected), "{query}: {error}");
    };
    check(
        "a + fill(0) b",
        "`fill` is experimental and not enabled (promql-binop-fill-modifiers)",
    );
    check(
        "a + on (x) fill_left(0) b",
        "`fill_left` is experimental and not enabled",
    );
    // They are known where the query is evaluated: whoever makes something of a tree does not know them.
    let of_times = "a duration with step() or range() follows from the times of a query";
    check("a[step()]", &format!("1:3: parse error: {of_times}"));
    check(
        "a offset -max_of(1m, range())",
        &format!("1:22: parse error: {of_times}"),
    );
    check("a[5m:step() * 2]", of_times);
}

const TIMES: Times = Times {
    step: 15_000,
    range: 600_000,
    start: 1_700_000_000_500,
    end: 1_700_000_600_500,
};

/// Whatever they stand in is one that differs by the times of the query, and that no range can be kept of.
#[test]
fn what_the_times_of_the_query_say_is_a_number() {
    let check = |query: &str, expected: &str| {
        let parsed = enabled(query, Some(TIMES));
        assert_eq!(parsed.expr.to_string(), expected, "{query}");
        assert!(parsed.is_timed, "{query}");
        let unknown = enabled(query, None);
        assert_eq!(unknown.expr.to_string(), query);
        assert!(unknown.is_timed && !unknown.expr.is_causal(), "{query}");
    };
    check("step()", "15");
    check("-range()", "-600");
    check("x * (end() - start())", "x * (1700000600.5 - 1700000000.5)");
    check("vector(step())", "vector(15)");
    check(
        "max_over_time(vector(start())[5m:1m])",
        "max_over_time(vector(1700000000.5)[5m:1m])",
    );
    assert!(!enabled("x @ start()", None).is_timed);
    let refuse = |query: &str, column: usize, expected: &str| {
        let error = parse_with(query, Features::all(), None).expect_err(query);
        assert!(error.message().contains(expected), "{query}: {error}");
        assert_eq!(error.column(), column, "{query}: {error}");
    };
    refuse(
        "1 + step(5m)",
        5,
        "expected 0 argument(s) in call to \"step\", got 1",
    );
    refuse("1 + STEP()", 5, "unknown function with name \"STEP\"");
    refuse(
        "abs(range())",
        5,
        "expected type instant vector in call to function \"abs\", got scalar",
    );
}

#[test]
fn a_string_that_is_not_utf_8_is_refused_where_it_is() {
    let check = |query: &str, column: usize, expected: &str| {
        let error = parse_with(query, Features::all(), None).expect_err(query);
        assert!(error.message().contains(expected), "{query}: {error}");
        assert_eq!(error.column(), column, "{query}: {error}");
    };
    check(r#""\xff""#, 1, "string is not UTF-8");
    check(r#"x{a="\xff"}"#, 5, "string is not UTF-8");
    check(r#"x{"\xff"="a"}"#, 3, "string is not UTF-8");
    check(r#"sum by ("\xff") (x)"#, 9, "string is not UTF-8");
    check(r#"label_join(x, "a\xff", "")"#, 15, "string is not UTF-8");
    check(
        r#"count_values("é\xc5\"z", x)"#,
        14,
        r#"invalid label name "é\xc5\"z""#,
    );
    check(
        r#"count_values by (a) ("\xff", x)"#,
        22,
        r#"invalid label name "\xff""#,
    );
    check(r#"count_values("a", "\xff")"#, 19, "string is not UTF-8");
}

#[test]
fn durations_are_computed() {
    let check = |query: &str, expected: &str| {
        let parsed = enabled(query, Some(TIMES));
        assert_eq!(parsed.expr.to_string(), expected, "{query}");
        let is_timed = query.contains("step") || query.contains("range");
        assert_eq!(parsed.is_timed, is_timed, "{query}");
    };
    check("a[1m + 30s]", "a[1m30s]");
    check("a[2m*(10+5)]", "a[30m]");
    check("a[-5m+35m]", "a[30m]");
    check("a[1h30m % 1h]", "a[30m]");
    check("a[2 ^ 3 ^ 2]", "a[8m32s]");
    check("a[-2 ^ 2 + 5]", "a[1s]");
    check("a[-2 * -3]", "a[6s]");
    check("a[100 - 30 - 20 / 2]", "a[1m]");
    check("a[step() * 4:step()]", "a[1m:15s]");
    check("a[range() / 2]", "a[5m]");
    check("a[min_of(step(), 1m) + max_of(1, 2)]", "a[17s]");
    // Behind `offset` an operator is one between operands, but in parentheses.
    check("a offset 1m + 2", "a offset 1m + 2");
    check("a offset (1m + 2)", "a offset 1m2s");
    check("a offset -(1m + 2)", "a offset -1m2s");
    check("a offset -step() * 2", "a offset -15s * 2");
    check("a[5m] offset max_of(step(), range())", "a[5m] offset 10m");
    check("(a)[5m:] offset (1m - 2m)", "a[5m:] offset -1m");
    // However many there are, none is deeper than the others.
    check(&format!("a[{}1]", "1 + ".repeat(299)), "a[5m]");
}

#[test]
fn what_is_no_duration_is_refused_with_its_place() {
    let instant = Times {
        step: 0,
        range: 0,
        ..TIMES
    };
    let check = |query: &str, column: usize, expected: &str| {
        let error = parse_with(query, Features::all(), Some(instant)).expect_err(query);
        assert!(error.message().contains(expected), "{query}: {error}");
        assert_eq!(error.column(), column, "{query}: {error}");
    };
    check("a[1m - 1m]", 3, "must be greater than 0");
    check("a[step()]", 3, "must be greater than 0");
    check("a[1m / 0]", 6, "division by zero");
    check("a[1m % range()]", 6, "modulo by zero");
    check("a[1e300 * 2]", 3, "out of range");
    check("a[9223372036 - 1]", 3, "out of range");
    check("a[1 - NaN]", 7, "out of range");
    check("a[2 ^ 9e9]", 3, "NaN or infinite");
    check("a[(-2) ^ 0.5]", 3, "NaN or infinite");
    check("a[1m + b]", 8, "expected duration");
    check("a[1m +]", 7, "expected duration");
    check("a[step]", 7, "expected \"(\"");
    check("a[step(1)]", 8, "expected \")\"");
    check("a[min_of(1)]", 11, "expected \",\"");
    check("a[(1m]", 6, "expected \")\"");
    check("a offset (1m", 10, "unclosed left parenthesis");
    // Nothing is known of a duration that depends on times which are not known.
    assert!(enabled("a[step() - 1h]", None).is_timed);
    assert!(parse_with(&format!("a[{}1]", "(".repeat(30_000)), Features::all(), None).is_err());
    assert!(parse_with(&format!("a[{}1]", "-".repeat(30_000)), Features::all(), None).is_err());
}

#[test]
fn what_a_side_lacks_is_filled() {
    let check = |query: &str, expected: &str| {
        let parsed = |query: &str| enabled(query, None).expr;
        let printed = parsed(query).to_string();
        assert_eq!(printed, expected);
        assert_eq!(parsed(&printed).to_string(), printed);
    };
    check("a + fill(0) b", "a + fill_left (0) fill_right (0) b");
    check("a>bool FILL_RIGHT ( -1.5 ) b", "a > bool fill_right (-1.5) b");
    check(
        "a / on (x) group_left fill_right (1m) fill_left (+Inf) b",
        "a / on (x) group_left () fill_left (Inf) fill_right (60) b",
    );
    check(
        "a * ignoring (x) fill_left (NaN) (b)",
        "a * ignoring (x) fill_left (NaN) b",
    );
    // Without parentheses it is a metric.
    check(
        "fill + fill(0) b",
        r#"{__name__="fill"} + fill_left (0) fill_right (0) b"#,
    );
    check("a + fill", r#"a + {__name__="fill"}"#);
}

#[test]
fn what_cannot_be_filled_is_refused_with_its_place() {
    let check = |query: &str, column: usize, expected: &str| {
        let error = parse_with(query, Features::all(), None).expect_err(query);
        assert!(error.message().contains(expected), "{query}: {error}");
        assert_eq!(error.column(), column, "{query}: {error}");
    };
    check("a + fill (1) 2", 5, "only allowed between instant vectors");
    check("a and fill (1) b", 7, "not allowed for set operators");
    check("a or on (x) fill (1) b", 13, "not allowed for set operators");
    check("a + fill (b) b", 11, "expected number");
    check("a + fill () b", 11, "expected number");
    check("a + fill (1 b", 13, "expected \")\"");
    check("a + fill (1", 10, "unclosed left parenthesis");
    check("a + fill (1) fill_left (1) b", 14, "is set already");
    check("a + fill_left (1) fill_left (1) b", 19, "is set already");
    check("a + fill (1) on (x) b", 14, "unknown function with name \"on\"");
}

/// Each of them stands on samples of one side or of both, and which ones does not follow from the series.
#[test]
fn nothing_is_made_of_a_query_that_is_filled() {
    use crate::rewrite;
    let query = enabled("a + on (pod, cluster) fill (0) b", None).expr;
    let is_exact = |query: &Expr| {
        let age = rewrite::age(query, rewrite::Newest::Subquery);
        matches!(age, rewrite::Age::Exact(_))
    };
    assert!(!is_exact(&query) && is_exact(&parsed("a + on (pod, cluster) b")));
    let of_both = enabled("a smoothed + fill (0) rate(b[1m])", None).expr;
    let rewrite::Age::Bound(bound) = rewrite::age(&of_both, rewrite::Newest::TsOfLast) else {
        panic!("{of_both}")
    };
    let oldest = r#"min(min(ts_of_last_over_time(a[5m])) or label_replace(min(ts_of_last_over_time(b[1m])), "__side__", "1", "", ""))"#;
    assert_eq!(bound.to_string(), oldest);
    let ended = rewrite::ended(&of_both, rewrite::Newest::TsOfLast).expect("two that may have ended");
    assert!(
        ended
            .to_string()
            .starts_with("min(ts_of_last_over_time(a[5m]) unless timestamp(a)) or")
    );
    assert!(rewrite::reporting(&query).is_none());
    assert!(rewrite::present(&query).is_none());
    assert!(!rewrite::has_row_for_each(&query, "pod"));
    let plan = rewrite::distribute(&query, &["cluster"]).expect("parts");
    let rest = plan.rest.to_string();
    assert!(rest.contains("fill_left (0) fill_right (0)"), "{rest}");
}

#[test]
fn an_extended_range_is_written_behind_its_brackets() {
    let check = |query: &str, printed: &str| {
        let tree = enabled(query, None).expr;
        assert_eq!(tree.to_string(), printed, "{query}");
        assert!(tree.is_extended(), "{query}");
        assert_eq!(enabled(printed, None).expr.to_string(), printed);
    };
    check("rate(a[5m] anchored)", "rate(a[5m] anchored)");
    check("rate(a anchored [5m])", "rate(a[5m] anchored)");
    check(
        "rate(a[5m] offset 1m SMOOTHED @ 5)",
        "rate(a[5m] smoothed @ 5.000 offset 1m)",
    );
    check("a @ 100 smoothed + 0", "a smoothed @ 100.000 + 0");
    check("resets(a[5m] anchored anchored)", "resets(a[5m] anchored)");
    check(
        "max_over_time(a smoothed [5m:1m])",
        "max_over_time((a smoothed)[5m:1m])",
    );
    check("-a{b=\"c\"} smoothed ^ 2", "-a{b=\"c\"} smoothed ^ 2");
    // The names are those of metrics and labels as well.
    let metric = enabled("sum by (smoothed) (anchored{smoothed=\"a\"})", None).expr;
    assert!(!metric.is_extended());
}

#[test]
fn what_cannot_be_extended_is_refused_at_its_place() {
    let check = |query: &str, column: usize, message: &str| {
        let error = parse_with(query, Features::all(), None).expect_err(query);
        assert_eq!((error.message(), error.column()), (message, column), "{query}");
    };
    check("sum(a) smoothed", 8, "smoothed modifier not implemented");
    check("(a) anchored", 5, "anchored modifier not implemented");
    check("1 anchored", 3, "anchored modifier not implemented");
    check(
        "rate(a[5m:1m] anchored)",
        15,
        "anchored modifier is not supported for subqueries",
    );
    check(
        "rate(a[5m] anchored smoothed)",
        21,
        "anchored and smoothed modifiers cannot be used together",
    );
    check(
        "rate(a anchored [5m] smoothed)",
        22,
        "anchored and smoothed modifiers cannot be used together",
    );
    check(
        "1 + predict_linear(a[5m] anchored, 4)",
        20,
        "anchored modifier can only be used with: changes, delta, increase, rate, resets - not with predict_linear",
    );
    check(
        "resets((a[5m] smoothed))",
        8,
        "smoothed modifier can only be used with: delta, increase, rate - not with resets",
    );
}

/// What is extended stands on samples beyond its range. Its companions look as far back, and what they ask for is not extended
/// itself; what cannot ask for that is not made.
#[test]
fn what_is_made_of_a_query_that_is_extended_reads_no_less() {
    for query in [
        "rate(a[5m] anchored)",
        "sum by (pod) (rate(a[5m] smoothed))",
        "a smoothed",
    ] {
        let query = enabled(query, None).expr;
        let reporting = rewrite::reporting(&query).expect("who reports");
        assert!(!reporting.is_extended(), "{reporting}");
        let ended = rewrite::ended(&query, rewrite::Newest::TsOfLast).expect("what has ended");
        assert!(!ended.is_extended(), "{ended}");
        assert!(rewrite::oldest(&query).is_none(), "{query}");
        assert!(rewrite::present(&query).is_none(), "{query}");
        assert!(!rewrite::has_row_for_each(&query, "pod"), "{query}");
        let error = rewrite::distribute(&query, &["cluster"]).expect_err("no parts");
        assert_eq!(error, rewrite::DistributeError::Extended);
        let newest = rewrite::newest([&query]).map(|newest| newest.to_string());
        assert_eq!(newest.as_deref(), Some("max(timestamp(a))"), "{query}");
        let counts = rewrite::sample_counts(&query).expect("it reads samples");
        assert!(!counts.expr.is_extended(), "{query}");
        // The query itself, over fewer series.
        let own = rewrite::restricted(&query, [("replica", "b")]);
        assert!(
            own.is_extended() && own.to_string().contains("replica=\"b\""),
            "{own}"
        );
        // Which operand answers is asked of the operands themselves.
        let either = enabled(&format!("{query} or b"), None).expr;
        let branch = rewrite::branch(&either).expect("there is an `or`").to_string();
        assert!(
            branch.contains("anchored") || branch.contains("smoothed"),
            "{branch}"
        );
        assert_eq!(rewrite::operands(&either).len(), 2);
    }
    let reach = |query: &str| rewrite::reach(&enabled(query, None).expr, 300_000);
    assert_eq!(
        (reach("rate(a[1m])"), reach("rate(a[1m] anchored)")),
        (60_000, 360_000)
    );
    let is_causal = |query: &str| enabled(query, None).expr.is_causal();
    assert!(is_causal("rate(a[5m] anchored)") && is_causal("a anchored"));
    assert!(!is_causal("rate(a[5m] smoothed)") && !is_causal("a smoothed"));
}

/// `promql-parser` panics on these.
#[test]
fn times_beyond_all_bounds_are_refused() {
    for query in [
        "a offset Inf",
        "a offset -Inf",
        "a offset NaN",
        "a offset 1e30",
        "a[1e30]",
        "a[Inf]",
        "a[NaN]",
        "a[1m:1e30]",
        "a offset 99999999999y",
        "a @ Inf",
        "a @ NaN",
        "a @ 1e30",
    ] {
        let error = parse(query).expect_err(query).to_string();
        assert!(error.contains("out of"), "{query}: {error}");
    }
}

/// On a thread with as little stack as tokio gives.
#[test]
fn a_query_of_any_depth_is_read_or_refused() {
    let shapes: [fn(usize) -> String; 6] = [
        |n| "(".repeat(n) + "a" + &")".repeat(n),
        |n| "abs(".repeat(n) + "a" + &")".repeat(n),
        |n| "-".repeat(n) + "a",
        |n| vec!["a"; n].join("+"),
        |n| vec!["2"; n].join("^"),
        |n| "a".to_owned() + &"[1h:1m]".repeat(n),
    ];
    let run = move || {
        for shape in shapes {
            for n in [100, 1_000, 30_000] {
                if let Err(error) = parse(&shape(n)) {
                    assert!(n > 100 || error.message().contains("subquery is only"), "{error}");
                }
            }
        }
        let long = "a".repeat(MAX_LENGTH + 1);
        assert!(parse(&long).is_err());
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run);
    thread.expect("a thread").join().expect("no overflow");
}

/// As deep as may be, and not one deeper.
#[test]
fn a_tree_is_as_deep_as_the_limit() {
    let check = |of_depth: &dyn Fn(usize) -> String| {
        let deepest = of_depth(MAX_DEPTH);
        parse(&deepest).unwrap_or_else(|error| panic!("{deepest}: {error}"));
        let error = parse(&of_depth(MAX_DEPTH + 1)).expect_err("too deep");
        assert!(error.to_string().contains("deep"), "{error}");
    };
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth - 1), close.repeat(depth - 1))
    };
    check(&|depth| nested("(", "x", ")", depth));
    check(&|depth| nested("-", "x", "", depth));
    check(&|depth| nested("abs(", "x", ")", depth));
    check(&|depth| nested("sum by (a) (", "x", ")", depth));
    // From the left and from the right.
    check(&|depth| nested("x + ", "x", "", depth));
    check(&|depth| nested("x ^ ", "x", "", depth));
}

#[test]
fn a_step_that_depends_on_the_past_alone_is_known() {
    let check = |query: &str, expected: bool| {
        let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(expr.is_causal(), expected, "{query}");
    };
    for query in [
        "1",
        "up offset 5m",
        "sum by (pod) (rate(x[5m] offset 1h)) / on (pod) y > time()",
        "max_over_time(rate(x[5m])[1h:1m] offset 1m)",
    ] {
        check(query, true);
    }
    for query in [
        "up offset -5m",
        "up @ 100",
        "up + (down @ end())",
        "topk(scalar(x @ start()), up)",
        "-max_over_time(x[5m:1m] @ start())",
        "max_over_time((x offset -1m)[5m:1m])",
        "label_replace(rate(x[5m] offset -1s), \"a\", \"b\", \"c\", \".*\")",
    ] {
        check(query, false);
    }
}
