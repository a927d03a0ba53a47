//! Makes expressions of the whole grammar that Prometheus 2.42 knows.
//!
//! What is left out, and why:
//! - `limitk`, `limit_ratio`, `sort_by_label*`, `mad_over_time`, `first_over_time`, `ts_of_*`, `info`,
//!   `double_exponential_smoothing` (which 2.42 calls `holt_winters`, see the test): it has none of them.
//! - Numbers as durations, durations as numbers, quoted names: 3.x alone.
//! - `topk` and `bottomk` over anything but selectors of series that are never alike, and of series that are
//!   not numbers: which of two equal series is left out depends on the order in which they are stored.
//! - `rate` and `increase` of anything but counters, and over coarse subqueries: where a counter would be
//!   extrapolated below zero, 2.42 stops elsewhere.
//! - `deriv`, `predict_linear`, `stddev_over_time` and `stdvar_over_time` over infinities, or what overflows to
//!   one: with the care that it takes, 2.42 adds them up to NaN.
//! - `timestamp` of a selector with both `@` and `offset`: Prometheus forgets the offset.
//! - `stddev` and `stdvar` of what may be no number: of one such series alone, 2.42 says 0.
//! - `predict_linear` of a range with `@`: in range queries 2.42 loses the range's samples behind the first step.
//! - The name of the result of `atan2`, which 2.42 forgets to drop: `+ 0` always follows it (see `expr.rs`).
//! - Quantiles that are NaN, and buckets that are not cumulative: 3.x repairs and warns.
//! - Calendar functions of numbers that are no time: Go leaves the conversion undefined.

use crate::data::LENGTH;
use crate::expr::{At, Binary, CALENDAR, COMPARISONS, Expr, Kind, Modifiers, SET_OPERATORS, Selector};
use crate::random::Random;

const GAUGES: [&str; 6] = ["gauge", "other", "gauge", "sparse", "wild", "requests_total"];
const FINITE: [&str; 4] = ["gauge", "other", "sparse", "requests_total"];
const MATCHERS: [&str; 12] = [
    "job=\"a\"",
    "job!=\"a\"",
    "inst=~\"0|1\"",
    "inst!~\"1\"",
    "job=~\".+\"",
    "zone=\"\"",
    "zone!=\"\"",
    "nosuch=\"\"",
    "inst=\"9\"",
    "inst=\"0\"",
    "inst=~\"[02]\"",
    "job=~\"a.*|x\"",
];
const NUMBERS: [&str; 16] = [
    "0", "1", "2", "3", "10", "0.5", "1.5", "-1", "-2.5", "1e3", "0x1F", ".25", "1e-3", "Inf", "-Inf", "NaN",
];
const RANGES: [&str; 8] = ["20s", "1m", "90s", "2m30s", "5m", "7m", "10m", "1s"];
const STEPS: [&str; 5] = ["15s", "30s", "1m", "", "20s"];
const OFFSETS: [&str; 6] = ["1m", "5m", "17s", "-1m", "-3m", "1h"];
const MATHS: [&str; 20] = [
    "exp", "ln", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "deg", "rad", "sgn",
];
const OVER_TIME: [&str; 11] = [
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "changes",
    "resets",
    "delta",
    "idelta",
];

/// An expression that is defined exactly enough to be compared.
pub(crate) fn expression(random: &mut Random) -> Expr {
    loop {
        let depth = random.below(5);
        let expr = match random.below(20) {
            0 => scalar(random, depth),
            1 => matrix(random, depth),
            2 => broken(random, depth),
            _ => vector(random, depth),
        };
        if expr.level().is_some() {
            return expr;
        }
    }
}

/// One with a part of a wrong kind, which both must refuse.
fn broken(random: &mut Random, depth: usize) -> Expr {
    let expr = vector(random, depth + 1);
    let children = expr.children();
    if children.is_empty() {
        return Expr::Unary(Box::new(matrix(random, 0)));
    }
    let index = random.below(children.len());
    let wrong = match random.below(3) {
        0 if children[index].kind() != Kind::Matrix => matrix(random, 0),
        1 if children[index].kind() == Kind::Matrix => scalar(random, 0),
        _ => Expr::Text("text"),
    };
    expr.with_child(index, wrong)
}

/// Of a kind, and not so that the whole has no answer to compare.
fn below(random: &mut Random, depth: usize, kind: Kind) -> Expr {
    loop {
        let expr = match kind {
            Kind::Scalar => scalar(random, depth),
            Kind::Matrix => matrix(random, depth),
            Kind::Vector | Kind::Text => vector(random, depth),
        };
        if expr.level().is_some() {
            return expr;
        }
    }
}

fn scalar(random: &mut Random, depth: usize) -> Expr {
    let deeper = depth.saturating_sub(1);
    match random.below(if depth == 0 { 7 } else { 12 }) {
        0..=4 => Expr::Number(random.pick(&NUMBERS)),
        5 => call("time", vec![]),
        6 => call("pi", vec![]),
        7 | 8 => call("scalar", vec![below(random, deeper, Kind::Vector)]),
        9 => Expr::Unary(Box::new(below(random, deeper, Kind::Scalar))),
        _ => {
            let op = operator(random, false);
            binary(
                op,
                COMPARISONS.contains(&op) && !random.chance(3),
                "",
                below(random, deeper, Kind::Scalar),
                below(random, deeper, Kind::Scalar),
            )
        }
    }
}

fn vector(random: &mut Random, depth: usize) -> Expr {
    if depth == 0 {
        return selector(random);
    }
    let deeper = depth - 1;
    match random.below(100) {
        0..=29 => vectors(random, deeper),
        30..=41 => {
            let is_set = random.chance(1);
            let op = operator(random, is_set);
            let is_bool = COMPARISONS.contains(&op) && random.chance(40);
            let (vector, scalar) = (
                below(random, deeper, Kind::Vector),
                below(random, deeper, Kind::Scalar),
            );
            if random.chance(70) {
                binary(op, is_bool, "", vector, scalar)
            } else {
                binary(op, is_bool, "", scalar, vector)
            }
        }
        42..=61 => aggregate(random, deeper),
        62..=79 => over_range(random, deeper),
        80..=84 => Expr::Unary(Box::new(below(random, deeper, Kind::Vector))),
        _ => function(random, deeper),
    }
}

/// An operator between two vectors.
fn vectors(random: &mut Random, depth: usize) -> Expr {
    let is_set = random.chance(30);
    let op = operator(random, is_set);
    let is_set = SET_OPERATORS.contains(&op);
    let is_bool = COMPARISONS.contains(&op) && random.chance(40);
    let mut left = below(random, depth, Kind::Vector);
    let right = match random.below(10) {
        // The same series, so that there is a match.
        0..=2 => left.clone(),
        3 => plain(random, "build_info"),
        _ => below(random, depth, Kind::Vector),
    };
    if random.chance(5) {
        left = plain(random, "build_info");
    }
    let mut matching = match random.below(9) {
        0..=2 => String::new(),
        3 => " on(job, inst)".to_owned(),
        4 => " ignoring(zone)".to_owned(),
        5 => " ignoring(version, inst, zone)".to_owned(),
        6 => " on()".to_owned(),
        7 => " on(__name__)".to_owned(),
        _ => " on(job)".to_owned(),
    };
    if !matching.is_empty() && !is_set && random.chance(60) {
        let include = ["()", "()", "(version)", "(version)", "(zone, nosuch)", "(inst)"];
        // The labels that are matched cannot be included: both refuse that too, but need not often.
        matching += random.pick(&[" group_left", " group_right"]);
        matching += random.pick(&include);
    }
    binary(op, is_bool, &matching, left, right)
}

fn aggregate(random: &mut Random, depth: usize) -> Expr {
    let grouping = random.pick(&[
        "",
        "",
        " by (job) ",
        " by (job, inst) ",
        " without (inst) ",
        " without (zone, job) ",
        " by () ",
        " without () ",
        " by (nosuch, zone) ",
        " by (__name__, job) ",
    ]);
    let op = random.pick(&[
        "sum",
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "stddev",
        "stdvar",
        "quantile",
        "count_values",
        "topk",
        "bottomk",
    ]);
    let args = match op {
        "topk" | "bottomk" => {
            let name = random.pick(&["gauge", "other", "sparse"]);
            let count = random.pick(&["0", "1", "2", "3", "-1", "100", "1e30", "2.9"]);
            vec![Expr::Number(count), plain(random, name)]
        }
        "quantile" => {
            let quantile = random.pick(&["0", "0.5", "0.95", "1", "-1", "2", "0.1"]);
            vec![Expr::Number(quantile), below(random, depth, Kind::Vector)]
        }
        "count_values" => {
            let label = random.pick(&["value", "job", "zone"]);
            vec![Expr::Text(label), below(random, depth, Kind::Vector)]
        }
        "stddev" | "stdvar" => {
            let name = random.pick(&FINITE);
            vec![match random.below(3) {
                0 => call("last_over_time", vec![range_of(random, name)]),
                1 => binary("*", false, "", plain(random, name), Expr::Number("2")),
                _ => Expr::Selector(with_matchers(random, name)),
            }]
        }
        _ => vec![below(random, depth, Kind::Vector)],
    };
    Expr::Aggregate {
        op,
        grouping: (*grouping).to_owned(),
        args,
    }
}

/// A function of a range vector.
fn over_range(random: &mut Random, depth: usize) -> Expr {
    match random.below(20) {
        0..=3 => {
            let name = random.pick(&["rate", "increase"]);
            call(name, vec![counter_range(random)])
        }
        4 => call("irate", vec![matrix(random, depth)]),
        5 => {
            let quantile = random.pick(&["0", "0.5", "0.95", "1", "-1", "2"]);
            let args = vec![Expr::Number(quantile), matrix(random, depth)];
            call("quantile_over_time", args)
        }
        6 => {
            let ahead = random.pick(&["0", "10", "1e3", "-1"]);
            let mut range = finite_range(random);
            if let Expr::Range { selector, .. } = &mut range {
                selector.modifiers.at = None;
            }
            call("predict_linear", vec![range, Expr::Number(ahead)])
        }
        7 => {
            let mut factor = || Expr::Number(random.pick(&["0.5", ".25", "0.1", "0.95"]));
            let (level, trend) = (factor(), factor());
            call("holt_winters", vec![matrix(random, depth), level, trend])
        }
        8 => call("absent_over_time", vec![matrix(random, depth)]),
        9 | 10 => {
            let name = random.pick(&["deriv", "stddev_over_time", "stdvar_over_time"]);
            call(name, vec![finite_range(random)])
        }
        _ => {
            let name = random.pick(&OVER_TIME);
            call(name, vec![matrix(random, depth)])
        }
    }
}

fn function(random: &mut Random, depth: usize) -> Expr {
    let vector = |random: &mut Random| below(random, depth, Kind::Vector);
    match random.below(20) {
        0..=3 => call(random.pick(&MATHS), vec![vector(random)]),
        4 => call(
            random.pick(&["abs", "ceil", "floor", "round"]),
            vec![vector(random)],
        ),
        5 => {
            let to = random.pick(&["2", "0.5", ".25", "10", "0.1", "0", "-1"]);
            call("round", vec![vector(random), Expr::Number(to)])
        }
        6 => {
            let (least, most) = (scalar(random, 1), scalar(random, 1));
            call("clamp", vec![vector(random), least, most])
        }
        7 => {
            let name = random.pick(&["clamp_min", "clamp_max"]);
            let bound = scalar(random, 1);
            call(name, vec![vector(random), bound])
        }
        8 => {
            let mut of = vector(random);
            if let Expr::Selector(selector) = &mut of
                && selector.modifiers.at.is_some()
            {
                selector.modifiers.offset = "";
            }
            call("timestamp", vec![of])
        }
        9 | 10 => {
            let name = random.pick(&CALENDAR);
            let args = match random.below(4) {
                0 => vec![],
                1 => {
                    let days = Expr::Number(random.pick(&["0", "86400", "-86400", "1e6", "31e6"]));
                    let time = binary("+", false, "", call("time", vec![]), days);
                    vec![call("vector", vec![time])]
                }
                _ => vec![plain(random, "dates")],
            };
            call(name, args)
        }
        11 => call("absent", vec![vector(random)]),
        12 => call("vector", vec![below(random, depth, Kind::Scalar)]),
        13 => call(random.pick(&["sort", "sort_desc"]), vec![vector(random)]),
        14 => {
            let (to, with) = (
                random.pick(&["zone", "new", "job", "__name__"]),
                random.pick(&["$1-$2", "x", "", "$1", "${2}y$3", "$$1"]),
            );
            let (from, regex) = (
                random.pick(&["inst", "job", "nosuch", "__name__"]),
                random.pick(&["(.*)", "(a|b)(.*)", "[0-1]", "", "(?P<n>.)(.*)", "("]),
            );
            let texts = [to, with, from, regex].map(Expr::Text);
            call("label_replace", [vec![vector(random)], texts.to_vec()].concat())
        }
        15 => {
            let mut args = vec![
                vector(random),
                Expr::Text(random.pick(&["new", "job", "zone"])),
                Expr::Text(random.pick(&["-", "", ", "])),
            ];
            for _ in 0..random.below(4) {
                args.push(Expr::Text(random.pick(&["job", "inst", "nosuch", "__name__"])));
            }
            call("label_join", args)
        }
        16 => plain(random, "dates"),
        _ => {
            let quantile = random.pick(&["0", "0.5", "0.95", "1", "-1", "2", "0.1", ".25"]);
            let buckets = match random.below(4) {
                0 => plain(random, "lat_bucket"),
                1 => Expr::Aggregate {
                    op: "sum",
                    grouping: " by (le) ".to_owned(),
                    args: vec![plain(random, "lat_bucket")],
                },
                2 => Expr::Aggregate {
                    op: "sum",
                    grouping: " by (job, le) ".to_owned(),
                    args: vec![call(
                        "idelta",
                        vec![Expr::Range {
                            selector: plain_selector(random, "lat_bucket"),
                            range: random.pick(&RANGES),
                        }],
                    )],
                },
                _ => selector(random),
            };
            call("histogram_quantile", vec![Expr::Number(quantile), buckets])
        }
    }
}

fn matrix(random: &mut Random, depth: usize) -> Expr {
    if depth == 0 || random.chance(60) {
        let name = random.pick(&GAUGES);
        return range_of(random, name);
    }
    let inner = half_a_second_off(&below(random, depth - 1, Kind::Vector));
    let range = random.pick(&["1m", "90s", "5m", "7m", "20s"]);
    Expr::Subquery {
        inner: Box::new(inner),
        range,
        // Where no step is in a range, Prometheus shows one behind it if what is inside is constant.
        step: if range == "20s" {
            "15s"
        } else {
            random.pick(&STEPS)
        },
        modifiers: modifiers(random),
    }
}

/// Of samples that are all numbers.
fn finite_range(random: &mut Random) -> Expr {
    let name = random.pick(&FINITE);
    if random.chance(70) {
        return range_of(random, name);
    }
    Expr::Subquery {
        inner: Box::new(Expr::Selector(with_matchers(random, name))),
        range: random.pick(&["1m", "90s", "5m", "7m"]),
        step: random.pick(&STEPS),
        modifiers: Modifiers::default(),
    }
}

fn range_of(random: &mut Random, name: &'static str) -> Expr {
    Expr::Range {
        selector: with_matchers(random, name),
        range: random.pick(&RANGES),
    }
}

/// What is inside a subquery is asked at whole seconds: the border of a subquery in there would fall on its
/// own steps, where 2.x and 3.x differ.
fn half_a_second_off(expr: &Expr) -> Expr {
    let mut new = expr.clone();
    for (index, child) in expr.children().into_iter().enumerate() {
        new = new.with_child(index, half_a_second_off(child));
    }
    if let Expr::Subquery { modifiers, .. } = &mut new
        && modifiers.at.is_none()
    {
        modifiers.offset = "500ms";
    }
    new
}

/// A range of a counter, or one that is hardly coarser than its samples.
fn counter_range(random: &mut Random) -> Expr {
    let mut selector = with_matchers(random, "requests_total");
    if random.chance(80) {
        return Expr::Range {
            selector,
            range: random.pick(&RANGES),
        };
    }
    selector.modifiers = Modifiers::default();
    Expr::Subquery {
        inner: Box::new(Expr::Selector(selector)),
        range: random.pick(&["1m", "90s", "5m", "7m"]),
        step: random.pick(&["15s", "20s"]),
        modifiers: modifiers(random),
    }
}

fn selector(random: &mut Random) -> Expr {
    let name = match random.below(20) {
        0 => "{__name__=~\"gauge|other\"}",
        1 => "build_info",
        2 => "nosuch",
        _ => random.pick(&GAUGES),
    };
    Expr::Selector(with_matchers(random, name))
}

fn plain(random: &mut Random, name: &'static str) -> Expr {
    Expr::Selector(plain_selector(random, name))
}

fn plain_selector(random: &mut Random, name: &'static str) -> Selector {
    Selector {
        name,
        matchers: Vec::new(),
        modifiers: modifiers(random),
    }
}

fn with_matchers(random: &mut Random, name: &'static str) -> Selector {
    let mut matchers = Vec::new();
    while random.chance(20) {
        matchers.push(random.pick(&MATCHERS));
    }
    Selector {
        name,
        matchers,
        modifiers: modifiers(random),
    }
}

fn modifiers(random: &mut Random) -> Modifiers {
    let offset = match random.chance(12) {
        true => random.pick(&OFFSETS),
        false => "",
    };
    let at = random.chance(10).then(|| match random.below(4) {
        0 => At::Start,
        1 => At::End,
        _ => At::Time((random.below(LENGTH as usize / 1000) * 1000 + 500) as i64),
    });
    Modifiers {
        offset,
        at,
        at_first: random.chance(50),
    }
}

fn operator(random: &mut Random, set: bool) -> &'static str {
    if set {
        return random.pick(&SET_OPERATORS);
    }
    match random.below(3) {
        0 => random.pick(&COMPARISONS),
        _ => random.pick(&["+", "-", "*", "/", "%", "^", "+", "-", "*", "/", "atan2"]),
    }
}

fn call(name: &'static str, args: Vec<Expr>) -> Expr {
    Expr::Call { name, args }
}

/// Without parentheses if no precedence could turn it into something that is not defined exactly.
fn binary(op: &'static str, is_bool: bool, matching: &str, left: Expr, right: Expr) -> Expr {
    use crate::expr::Level::Close;
    let is_close = |part: &&Expr| part.level().is_none_or(|level| level == Close);
    let is_set = |expr: &Expr| matches!(expr, Expr::Binary(binary) if SET_OPERATORS.contains(&binary.op));
    let is_simple = |expr: &Expr| !is_set(expr) && !expr.walk().iter().any(is_close);
    Expr::Binary(Box::new(Binary {
        op,
        is_bool,
        matching: matching.to_owned(),
        parens: !(is_simple(&left) && is_simple(&right) && !["^", "atan2"].contains(&op)),
        left,
        right,
    }))
}
