//! Makes expressions of the whole grammar that the asked Prometheus knows.
//!
//! What is left out for all, and why:
//! - `timestamp` of a selector with both `@` and `offset`: Prometheus forgets the offset.
//! - Powers and logarithms of numbers below 1e-308, of which Go's are wrong in the first digits.
//! - Calendar functions of numbers that are no time: Go leaves the conversion undefined.
//! - `limitk`, and `topk` and `bottomk` where two series are alike, over anything but selectors: which of them are
//!   taken depends on the order in which the series come, and Prometheus keeps that of no operation.
//!
//! For Prometheus 3 (3.5):
//! - `</` and `>/`: they came after it. What it answers otherwise of native histograms is in `native.rs`, as far as other data
//!   avoids it, and else in `Expr::is_mistaken`.
//! - `first_over_time`, `ts_of_first_over_time`, `min_of`, `max_of`: they came after it.
//! - `histogram_fraction`: the lowest bucket has begun at zero since.
//! - `info` over several steps, or of what is not at the step: see `expr.rs`. With two matchers of the metric name it
//!   panics.
//!
//! For 2.42 moreover:
//! - `limitk`, `limit_ratio`, `sort_by_label*`, `mad_over_time`, `ts_of_*`, `info`: it has none of them.
//!   `double_exponential_smoothing` is called `holt_winters` there.
//! - Numbers as durations, durations as numbers, quoted names: 3.x alone.
//! - `topk` and `bottomk` over series that may be alike, or are not numbers.
//! - `rate` and `increase` of anything but counters, and over coarse subqueries: where a counter would be
//!   extrapolated below zero, 2.42 stops elsewhere.
//! - `deriv`, `predict_linear`, `stddev_over_time` and `stdvar_over_time` over infinities, or what overflows to
//!   one: with the care that it takes, 2.42 adds them up to NaN.
//! - `stddev` and `stdvar` of what may be no number: of one such series alone, 2.42 says 0.
//! - `predict_linear` of a range with `@`: in range queries 2.42 loses the range's samples behind the first step.
//! - The name of the result of `atan2`, which 2.42 forgets to drop: `+ 0` always follows it (see `expr.rs`).
//! - Quantiles that are NaN, and buckets that are not cumulative: 3.x repairs and warns.

use std::ops::{Deref, DerefMut};

use super::data::LENGTH;
use super::expr::{At, Binary, CALENDAR, COMPARISONS, Expr, Kind, Modifiers, SET_OPERATORS, Selector};
use super::random::Random;
use super::version::Version;
use super::vocabulary::{
    FINITE, GAUGES, INFO_MATCHERS, MATCHERS, MATHS, NATIVE, NEW_GAUGES, NEW_MATCHERS, NEW_NUMBERS,
    NEW_OFFSETS, NEW_RANGES, NEW_STEPS, NUMBERS, ODD_QUANTILES, OFFSETS, OVER_HISTOGRAMS, OVER_TIME,
    QUANTILES, RANGES, STEPS, WORD_MATCHERS,
};

/// What is chosen at random, for a Prometheus.
pub(crate) struct Choices<'r> {
    random: &'r mut Random,
    version: Version,
}

// === impl Choices ===

impl<'r> Choices<'r> {
    pub(crate) fn new(random: &'r mut Random, version: Version) -> Self {
        Self { random, version }
    }

    fn is_3(&self) -> bool {
        self.version == Version::V3
    }

    /// Of what both know, or, for 3, of what it knows alone.
    fn pick_of(&mut self, both: &[&'static str], new: &[&'static str]) -> &'static str {
        if self.is_3() && self.chance(40) {
            return self.pick(new);
        }
        self.pick(both)
    }
}

impl Deref for Choices<'_> {
    type Target = Random;

    fn deref(&self) -> &Random {
        self.random
    }
}

impl DerefMut for Choices<'_> {
    fn deref_mut(&mut self) -> &mut Random {
        self.random
    }
}

/// An expression that is defined exactly enough to be compared.
pub(crate) fn expression(random: &mut Choices<'_>) -> Expr {
    loop {
        let depth = random.below(5);
        let expr = match random.below(20) {
            0 => scalar(random, depth),
            1 => matrix(random, depth),
            2 => broken(random, depth),
            _ => vector(random, depth),
        };
        if expr.level().is_some() {
            return if random.is_3() { expr } else { without_names(&expr) };
        }
    }
}

/// For 2.42, which forgets to drop the name of what `atan2` gives.
fn without_names(expr: &Expr) -> Expr {
    let mut new = expr.clone();
    for (index, child) in expr.children().into_iter().enumerate() {
        new = new.with_child(index, without_names(child));
    }
    if let Expr::Binary(binary) = &mut new {
        binary.adds_zero = binary.op == "atan2";
    }
    new
}

/// One with a part of a wrong kind, which both must refuse.
fn broken(random: &mut Choices<'_>, depth: usize) -> Expr {
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
fn below(random: &mut Choices<'_>, depth: usize, kind: Kind) -> Expr {
    below_with(random, |random| match kind {
        Kind::Scalar => scalar(random, depth),
        Kind::Matrix => matrix(random, depth),
        Kind::Vector | Kind::Text => vector(random, depth),
    })
}

fn below_with(random: &mut Choices<'_>, make: impl Fn(&mut Choices<'_>) -> Expr) -> Expr {
    loop {
        let expr = make(random);
        if expr.level().is_some() {
            return expr;
        }
    }
}

fn scalar(random: &mut Choices<'_>, depth: usize) -> Expr {
    let deeper = depth.saturating_sub(1);
    match random.below(if depth == 0 { 7 } else { 12 }) {
        0..=4 => Expr::Number(random.pick_of(&NUMBERS, &NEW_NUMBERS)),
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

fn vector(random: &mut Choices<'_>, depth: usize) -> Expr {
    if depth == 0 {
        return selector(random);
    }
    if random.is_3() && random.chance(25) {
        return of_histograms(random, depth);
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

/// What is told of histograms, or histograms themselves.
fn of_histograms(random: &mut Choices<'_>, depth: usize) -> Expr {
    let all = below_with(random, |random| histograms(random, depth));
    match random.below(10) {
        0..=2 => {
            let quantile = match random.chance(60) {
                true => Expr::Number(random.pick(&ODD_QUANTILES)),
                false => quantile_of(random),
            };
            call("histogram_quantile", vec![quantile, all])
        }
        3 => {
            let (lower, upper) = (scalar(random, 0), scalar(random, 0));
            call("histogram_fraction", vec![lower, upper, all])
        }
        4..=6 => {
            let names = [
                "histogram_count",
                "histogram_sum",
                "histogram_avg",
                "histogram_stddev",
                "histogram_stdvar",
            ];
            call(random.pick(&names), vec![all])
        }
        _ => all,
    }
}

/// Histograms, mostly.
fn histograms(random: &mut Choices<'_>, depth: usize) -> Expr {
    let name = random.pick(&NATIVE);
    let shape = if depth == 0 { 0 } else { random.below(12) };
    let deeper = depth.saturating_sub(1);
    match shape {
        0..=1 => Expr::Selector(with_matchers(random, name)),
        2..=5 => {
            let range = match random.below(5) {
                0 => Expr::Subquery {
                    inner: Box::new(below_with(random, |random| histograms(random, deeper))),
                    range: random.pick_of(&RANGES, &NEW_RANGES),
                    step: random.pick_of(&STEPS, &NEW_STEPS),
                    modifiers: modifiers(random),
                },
                _ => range_of(random, name),
            };
            call(random.pick(&OVER_HISTOGRAMS), vec![range])
        }
        6..=8 => Expr::Aggregate {
            op: random.pick(&["sum", "sum", "avg", "count"]),
            grouping: random
                .pick(&[
                    "",
                    " by (job) ",
                    " by (inst) ",
                    " without (job) ",
                    " by (__name__) ",
                ])
                .to_owned(),
            args: vec![below_with(random, |random| histograms(random, deeper))],
        },
        9 => {
            let left = below_with(random, |random| histograms(random, deeper));
            let right = match random.below(3) {
                0 => left.clone(),
                1 => below(random, deeper, Kind::Vector),
                _ => below_with(random, |random| histograms(random, deeper)),
            };
            let op = random.pick(&[
                "+", "-", "+", "-", "*", "/", "==", "!=", ">", "and", "unless", "or",
            ]);
            let matching = random.pick(&["", " on(job, inst)", " on(job, inst) group_left()"]);
            let matching = if SET_OPERATORS.contains(&op) { "" } else { matching };
            binary(op, false, matching, left, right)
        }
        10 => {
            let (all, number) = (
                below_with(random, |random| histograms(random, deeper)),
                scalar(random, 0),
            );
            let op = random.pick(&["*", "*", "/", "/", "+", "=="]);
            match random.chance(70) {
                true => binary(op, false, "", all, number),
                false => binary(op, false, "", number, all),
            }
        }
        _ => Expr::Unary(Box::new(below_with(random, |random| histograms(random, deeper)))),
    }
}

/// An operator between two vectors.
fn vectors(random: &mut Choices<'_>, depth: usize) -> Expr {
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
        _ if random.is_3() && random.chance(30) => " on('a.b', \"job\")".to_owned(),
        _ => " on(job)".to_owned(),
    };
    if !matching.is_empty() && !is_set && random.chance(60) {
        let include = ["()", "()", "(version)", "(version)", "(zone, nosuch)", "(inst)"];
        // The labels that are matched cannot be included: both refuse that too, but need not often.
        matching += random.pick(&[" group_left", " group_right"]);
        matching += random.pick_of(&include, &["", "('a.b')", "(zone, \"a.b\")"]);
    }
    binary(op, is_bool, &matching, left, right)
}

fn aggregate(random: &mut Choices<'_>, depth: usize) -> Expr {
    let new_groupings = [
        " by (\"a.b\") ",
        " without ('a.b', inst) ",
        " by (le) ",
        " by (word, inst) ",
    ];
    let new_ops = [
        "limitk",
        "limit_ratio",
        "stddev",
        "stdvar",
        "quantile",
        "topk",
        "bottomk",
        "count_values",
    ];
    let groupings = [
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
    ];
    let grouping = random.pick_of(&groupings, &new_groupings);
    let ops = [
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
    ];
    let op = random.pick_of(&ops, &new_ops);
    let args = match op {
        "topk" | "bottomk" | "limitk" if random.is_3() => {
            let count = match random.below(3) {
                0 => binary("%", false, "", call("time", vec![]), Expr::Number("4")),
                1 => scalar(random, 1),
                _ => Expr::Number(random.pick(&["0", "1", "2", "3", "-1", "100", "2.9"])),
            };
            vec![count, selector(random)]
        }
        "limit_ratio" => {
            let ratio = match random.below(3) {
                0 => scalar(random, 1),
                _ => Expr::Number(random.pick(&["0", "0.5", "-0.5", "1", "-1", "0.1", "1.5", "-2"])),
            };
            vec![ratio, below(random, depth, Kind::Vector)]
        }
        "quantile" if random.is_3() => vec![quantile_of(random), below(random, depth, Kind::Vector)],
        "stddev" | "stdvar" if random.is_3() => vec![below(random, depth, Kind::Vector)],
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
            let label = random.pick_of(&["value", "job", "zone"], &["a.b", "", "le", "__name__"]);
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

/// The parameter of a quantile: also what no quantile can be, and what changes from step to step.
fn quantile_of(random: &mut Choices<'_>) -> Expr {
    match random.below(5) {
        0 => scalar(random, 1),
        1 => {
            let time = binary("%", false, "", call("time", vec![]), Expr::Number("3"));
            binary("-", false, "", time, Expr::Number("1"))
        }
        _ => Expr::Number(random.pick(&QUANTILES)),
    }
}

/// What 2.42 answers otherwise, or not at all.
fn over_new_range(random: &mut Choices<'_>, depth: usize) -> Expr {
    let range = below(random, depth, Kind::Matrix);
    match random.below(9) {
        0..=2 => call(random.pick(&["rate", "increase", "irate"]), vec![range]),
        3 => call("quantile_over_time", vec![quantile_of(random), range]),
        4 => {
            let ahead = scalar(random, 1);
            call("predict_linear", vec![range, ahead])
        }
        5 => call(
            random.pick(&["deriv", "stddev_over_time", "stdvar_over_time"]),
            vec![range],
        ),
        6 => {
            let (level, trend) = (scalar(random, 0), scalar(random, 0));
            call("double_exponential_smoothing", vec![range, level, trend])
        }
        _ => {
            let new = [
                "mad_over_time",
                "ts_of_last_over_time",
                "ts_of_min_over_time",
                "ts_of_max_over_time",
            ];
            call(random.pick(&new), vec![range])
        }
    }
}

/// A function of a range vector.
fn over_range(random: &mut Choices<'_>, depth: usize) -> Expr {
    if random.is_3() && random.chance(50) {
        return over_new_range(random, depth);
    }
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
            if let Expr::Range { selector, .. } = &mut range
                && !random.is_3()
            {
                selector.modifiers.at = None;
            }
            call("predict_linear", vec![range, Expr::Number(ahead)])
        }
        7 => {
            let mut factor = || Expr::Number(random.pick(&["0.5", ".25", "0.1", "0.95"]));
            let (level, trend) = (factor(), factor());
            let name = if random.is_3() {
                "double_exponential_smoothing"
            } else {
                "holt_winters"
            };
            call(name, vec![matrix(random, depth), level, trend])
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

/// The labels of info metrics: of series that have what they are found by, and of any other.
fn info(random: &mut Choices<'_>, depth: usize) -> Expr {
    let mut args = vec![match random.below(4) {
        0 => below(random, depth, Kind::Vector),
        1 => call("last_over_time", vec![range_of(random, "served")]),
        2 => Expr::Selector(with_matchers(random, "{__name__=~\"served|.+_info\"}")),
        _ => Expr::Selector(with_matchers(random, "served")),
    }];
    if random.chance(60) {
        let mut matchers = vec![random.pick(&INFO_MATCHERS)];
        let second = random.pick(&INFO_MATCHERS);
        if random.chance(40) && !second.starts_with("__name__") {
            matchers.push(second);
        }
        args.push(Expr::Selector(Selector {
            name: "",
            matchers,
            modifiers: Modifiers::default(),
        }));
    }
    call("info", args)
}

fn function(random: &mut Choices<'_>, depth: usize) -> Expr {
    if random.is_3() && random.chance(12) {
        return info(random, depth);
    }
    let vector = |random: &mut Choices<'_>| below(random, depth, Kind::Vector);
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
        13 if random.is_3() && random.chance(50) => {
            let mut args = vec![vector(random)];
            for _ in 0..random.below(3) + 1 {
                args.push(Expr::Text(
                    random.pick(&["inst", "job", "word", "a.b", "zone", "__name__", "le"]),
                ));
            }
            call(random.pick(&["sort_by_label", "sort_by_label_desc"]), args)
        }
        13 => call(random.pick(&["sort", "sort_desc"]), vec![vector(random)]),
        14 => {
            let (to, with) = (
                random.pick_of(&["zone", "new", "job", "__name__"], &["a.b", "", "é", "inst"]),
                random.pick_of(
                    &["$1-$2", "x", "", "$1", "${2}y$3", "$$1"],
                    &["$n", "${n}", "${word}s", "$1x", "$01", "$-1", "${", "$é"],
                ),
            );
            let (from, regex) = (
                random.pick_of(&["inst", "job", "nosuch", "__name__"], &["a.b", "word", "le", ""]),
                random.pick_of(
                    &["(.*)", "(a|b)(.*)", "[0-1]", "", "(?P<n>.)(.*)", "("],
                    &[
                        "(\\d+).*",
                        "(?i)(K)",
                        "(.)(.)?(.)?",
                        "(?<n>\\w)",
                        "^(a)|b$",
                        "(\\S*)\\s?(.*)",
                    ],
                ),
            );
            let texts = [to, with, from, regex].map(Expr::Text);
            call("label_replace", [vec![vector(random)], texts.to_vec()].concat())
        }
        15 => {
            let mut args = vec![
                vector(random),
                Expr::Text(random.pick_of(&["new", "job", "zone"], &["a.b", "", "__name__"])),
                Expr::Text(random.pick(&["-", "", ", "])),
            ];
            for _ in 0..random.below(4) {
                args.push(Expr::Text(random.pick(&["job", "inst", "nosuch", "__name__"])));
            }
            call("label_join", args)
        }
        16 => plain(random, "dates"),
        _ => {
            if random.is_3() && random.chance(60) {
                let quantile = quantile_of(random);
                let buckets = new_buckets(random, depth);
                return call("histogram_quantile", vec![quantile, buckets]);
            }
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

/// Broken ones as well.
fn new_buckets(random: &mut Choices<'_>, depth: usize) -> Expr {
    let odd = random.pick(&["odd_bucket", "odd_bucket", "lat_bucket"]);
    match random.below(4) {
        0 => plain(random, odd),
        1 => {
            let range = Expr::Range {
                selector: plain_selector(random, odd),
                range: random.pick_of(&RANGES, &NEW_RANGES),
            };
            call(
                random.pick(&["delta", "increase", "idelta", "last_over_time", "rate"]),
                vec![range],
            )
        }
        2 => {
            let grouping = random.pick(&[
                " by (le) ",
                " by (job, le) ",
                " without (inst, twin) ",
                " by (__name__, le) ",
            ]);
            Expr::Aggregate {
                op: random.pick(&["sum", "max", "avg", "count"]),
                grouping: grouping.to_owned(),
                args: vec![plain(random, odd)],
            }
        }
        _ => below(random, depth, Kind::Vector),
    }
}

fn matrix(random: &mut Choices<'_>, depth: usize) -> Expr {
    if depth == 0 || random.chance(60) {
        let name = match random.is_3() && random.chance(15) {
            true => random.pick(&NATIVE),
            false => random.pick_of(&GAUGES, &NEW_GAUGES),
        };
        return range_of(random, name);
    }
    let inner = below(random, depth - 1, Kind::Vector);
    if random.is_3() {
        return Expr::Subquery {
            inner: Box::new(inner),
            range: random.pick_of(&RANGES, &NEW_RANGES),
            step: random.pick_of(&STEPS, &NEW_STEPS),
            modifiers: modifiers(random),
        };
    }
    let inner = half_a_second_off(&inner);
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
fn finite_range(random: &mut Choices<'_>) -> Expr {
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

fn range_of(random: &mut Choices<'_>, name: &'static str) -> Expr {
    Expr::Range {
        selector: with_matchers(random, name),
        range: random.pick_of(&RANGES, &NEW_RANGES),
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
fn counter_range(random: &mut Choices<'_>) -> Expr {
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

fn selector(random: &mut Choices<'_>) -> Expr {
    let name = match random.below(20) {
        0 => "{__name__=~\"gauge|other\"}",
        1 => "build_info",
        2 => "nosuch",
        3 | 4 if random.is_3() => random.pick(&NATIVE),
        _ => random.pick_of(&GAUGES, &NEW_GAUGES),
    };
    Expr::Selector(with_matchers(random, name))
}

fn plain(random: &mut Choices<'_>, name: &'static str) -> Expr {
    Expr::Selector(plain_selector(random, name))
}

fn plain_selector(random: &mut Choices<'_>, name: &'static str) -> Selector {
    Selector {
        name,
        matchers: Vec::new(),
        modifiers: modifiers(random),
    }
}

fn with_matchers(random: &mut Choices<'_>, name: &'static str) -> Selector {
    let mut matchers = Vec::new();
    if name == "words" && random.chance(60) {
        matchers.push(random.pick(&WORD_MATCHERS));
    }
    while random.chance(20) {
        matchers.push(random.pick_of(&MATCHERS, &NEW_MATCHERS));
    }
    Selector {
        name,
        matchers,
        modifiers: modifiers(random),
    }
}

fn modifiers(random: &mut Choices<'_>) -> Modifiers {
    let offset = match random.chance(12) {
        true => random.pick_of(&OFFSETS, &NEW_OFFSETS),
        false => "",
    };
    let at = random.chance(10).then(|| match random.below(4) {
        0 => At::Start,
        1 => At::End,
        _ if random.is_3() => At::Time(time(random)),
        _ => At::Time((random.below(LENGTH as usize / 1000) * 1000 + 500) as i64),
    });
    Modifiers {
        offset,
        at,
        at_first: random.chance(50),
    }
}

/// When to look: between samples, for 2.42, and where samples are.
pub(crate) fn time(random: &mut Choices<'_>) -> i64 {
    let seconds = random.below((LENGTH / 1000) as usize + 300) as i64;
    if !random.is_3() {
        return seconds * 1000 + 500;
    }
    let on = if random.chance(60) {
        seconds / 15 * 15
    } else {
        seconds
    };
    on * 1000 + random.pick(&[0, 0, 0, 0, 1, 500, 999])
}

fn operator(random: &mut Choices<'_>, set: bool) -> &'static str {
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
    use super::expr::Level::Close;
    let is_close = |part: &&Expr| part.level().is_none_or(|level| level == Close);
    let is_set = |expr: &Expr| matches!(expr, Expr::Binary(binary) if SET_OPERATORS.contains(&binary.op));
    let is_simple = |expr: &Expr| !is_set(expr) && !expr.walk().iter().any(is_close);
    Expr::Binary(Box::new(Binary {
        op,
        is_bool,
        matching: matching.to_owned(),
        parens: !(is_simple(&left) && is_simple(&right) && !["^", "atan2"].contains(&op)),
        adds_zero: false,
        left,
        right,
    }))
}
