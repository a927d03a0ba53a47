//! Expressions as trees: printed, taken apart, and judged by how exactly they are defined.

use std::fmt::Write as _;

use super::vocabulary::{NATIVE, ODD_QUANTILES};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Number(&'static str),
    Text(&'static str),
    Selector(Selector),
    Range {
        selector: Selector,
        range: &'static str,
    },
    Subquery {
        inner: Box<Expr>,
        range: &'static str,
        step: &'static str,
        modifiers: Modifiers,
    },
    Unary(Box<Expr>),
    Binary(Box<Binary>),
    Aggregate {
        op: &'static str,
        grouping: String,
        args: Vec<Expr>,
    },
    Call {
        name: &'static str,
        args: Vec<Expr>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selector {
    pub(crate) name: &'static str,
    pub(crate) matchers: Vec<&'static str>,
    pub(crate) modifiers: Modifiers,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Modifiers {
    pub(crate) offset: &'static str,
    pub(crate) at: Option<At>,
    pub(crate) at_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    Start,
    End,
    /// *Unit*: milliseconds after the start of the data.
    Time(i64),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binary {
    pub(crate) op: &'static str,
    pub(crate) is_bool: bool,
    /// ` on(…) group_left(…)`
    pub(crate) matching: String,
    /// Whether the operands stand in parentheses.
    pub(crate) parens: bool,
    /// Whether `+ 0` follows: 2.42 keeps the metric's name for `atan2`, and the sum drops it.
    pub(crate) adds_zero: bool,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Text,
    Vector,
    Matrix,
}

/// How far two right implementations may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// In the last digits: what is summed, averaged, extrapolated, or comes from a mathematical library.
    Close,
    /// Not at all: the same operations on the same bits.
    Exact,
    /// Not at all, nor is the sum of such numbers in any order.
    Summable,
}

use Level::{Close, Exact, Summable};

pub(crate) const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];
pub(crate) const COMPARISONS: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];
pub(crate) const CALENDAR: [&str; 8] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "year",
];

// === impl Expr ===

impl Expr {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Selector(_) | Self::Aggregate { .. } => Kind::Vector,
            Self::Range { .. } | Self::Subquery { .. } => Kind::Matrix,
            Self::Unary(inner) => inner.kind(),
            Self::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            Self::Call { name, .. } => match *name {
                "time" | "pi" | "scalar" => Kind::Scalar,
                _ => Kind::Vector,
            },
        }
    }

    /// The children, in the order of [`with_child`](Self::with_child).
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range { .. } => Vec::new(),
            Self::Subquery { inner, .. } | Self::Unary(inner) => vec![inner],
            Self::Binary(binary) => vec![&binary.left, &binary.right],
            Self::Aggregate { args, .. } | Self::Call { args, .. } => args.iter().collect(),
        }
    }

    pub(crate) fn with_child(&self, index: usize, child: Expr) -> Self {
        let mut new = self.clone();
        match &mut new {
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range { .. } => {}
            Self::Subquery { inner, .. } | Self::Unary(inner) => **inner = child,
            Self::Binary(binary) if index == 0 => binary.left = child,
            Self::Binary(binary) => binary.right = child,
            Self::Aggregate { args, .. } | Self::Call { args, .. } => args[index] = child,
        }
        new
    }

    /// This expression and all below it.
    pub(crate) fn walk(&self) -> Vec<&Expr> {
        let mut all = vec![self];
        let mut next = 0;
        while next < all.len() {
            let children = all[next].children();
            all.extend(children);
            next += 1;
        }
        all
    }

    /// How exactly it is defined; `None` if it magnifies what is not: a comparison of numbers that may be
    /// apart in their last digit has two right answers.
    pub(crate) fn level(&self) -> Option<Level> {
        let children: Option<Vec<_>> = self.children().into_iter().map(Self::level).collect();
        let children = children?;
        let least = children.iter().copied().min().unwrap_or(Summable);
        let needs = |need: Level, gives: Level| (least >= need).then_some(gives);
        match self {
            // 3.5 evaluates it once, with the parameter of the first step; and what a parameter holds by `@` moves
            // along with the steps.
            Self::Aggregate { args, .. }
                if args.len() == 2 && args[0].varies() && (args[0].has_at() || args[1].is_held()) =>
            {
                None
            }
            // Of what is not at the step, 3.5 selects the info series of another time, and has none at the step.
            Self::Call { name: "info", args } if args.first().is_some_and(Self::is_shifted) => None,
            // No multiples of 1/64.
            Self::Number("1e-3" | "0.1" | "0.95" | "5ms" | "1e-9") => Some(Exact),
            Self::Selector(selector) | Self::Range { selector, .. }
                if ["rough", "strange"].contains(&selector.name) =>
            {
                Some(Exact)
            }
            Self::Number(_) | Self::Text(_) | Self::Selector(_) | Self::Range { .. } => Some(Summable),
            Self::Subquery { .. } | Self::Unary(_) => Some(least),
            Self::Binary(binary) => match binary.op {
                "+" | "-" => Some(least),
                "*" => Some(least.min(Exact)),
                "/" => (children[1] >= Exact).then_some(children[0].min(Exact)),
                "%" => needs(Exact, Exact),
                "^" | "atan2" => needs(Exact, Close),
                op if SET_OPERATORS.contains(&op) => Some(least),
                _ if binary.is_bool => needs(Exact, Summable),
                // A filter gives the values of its vector, on whichever side that is.
                _ => needs(Exact, least),
            },
            Self::Aggregate { op, .. } => match *op {
                "sum" => Some(if least == Summable { Summable } else { Close }),
                "count" | "group" => Some(Summable),
                "count_values" => needs(Exact, Summable),
                "min" | "max" => Some(least),
                "topk" | "bottomk" => needs(Exact, least),
                "limitk" | "limit_ratio" => Some(least),
                "stddev" | "stdvar" => needs(Exact, Close),
                _ => Some(Close),
            },
            Self::Call { name, .. } => match *name {
                "abs" | "clamp" | "clamp_min" | "clamp_max" | "scalar" | "vector" | "info" | "sort"
                | "sort_desc" | "sort_by_label" | "sort_by_label_desc" | "label_replace" | "label_join"
                | "last_over_time" | "min_over_time" | "max_over_time" => Some(least),
                "time" => Some(Summable),
                "pi" => Some(Exact),
                "timestamp"
                | "absent"
                | "absent_over_time"
                | "count_over_time"
                | "present_over_time"
                | "ts_of_last_over_time" => Some(Summable),
                "ts_of_min_over_time" | "ts_of_max_over_time" => needs(Exact, Summable),
                "sum_over_time" => Some(if least == Summable { Summable } else { Close }),
                "ceil" | "floor" | "idelta" => needs(Exact, least),
                "round" | "sqrt" | "irate" => needs(Exact, Exact),
                "sgn" | "changes" | "resets" => needs(Exact, Summable),
                name if CALENDAR.contains(&name) => needs(Exact, Summable),
                "avg_over_time" | "stdvar_over_time" | "quantile_over_time" | "mad_over_time" => Some(Close),
                "stddev_over_time" => needs(Exact, Close),
                "histogram_count" | "histogram_sum" => Some(least),
                "histogram_avg" | "histogram_stddev" | "histogram_stdvar" | "histogram_fraction"
                    if least == Close && !self.only_grows() =>
                {
                    None
                }
                "histogram_avg" => Some(least.min(Exact)),
                "histogram_stddev" | "histogram_stdvar" | "histogram_fraction" => Some(Close),
                "histogram_quantile" if self.is_odd_quantile_of_native() => Some(Close),
                _ => needs(Exact, Close),
            },
        }
    }

    /// Whether no counts can cancel each other out, to nothing or to what rounding leaves.
    fn only_grows(&self) -> bool {
        self.walk().into_iter().all(|part| match part {
            Self::Unary(_) => false,
            Self::Binary(binary) => binary.op != "-",
            Self::Call { name, .. } => !["delta", "idelta"].contains(name),
            Self::Selector(selector) | Self::Range { selector, .. } => selector.name != "levels",
            _ => true,
        })
    }

    /// Whether no rank of it falls on the end of a bucket, and no bucket is of a classic histogram.
    fn is_odd_quantile_of_native(&self) -> bool {
        let Self::Call { args, .. } = self else {
            return false;
        };
        let [Self::Number(quantile), all] = &args[..] else {
            return false;
        };
        let is_native = |part: &&Self| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => {
                NATIVE.contains(&selector.name) && selector.name != "doubled"
            }
            _ => true,
        };
        ODD_QUANTILES.contains(quantile) && all.walk().iter().all(is_native) && self.only_grows()
    }

    fn varies(&self) -> bool {
        !matches!(self, Self::Number(_) | Self::Text(_))
    }

    fn has_at(&self) -> bool {
        self.walk().into_iter().any(|part| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => selector.modifiers.at.is_some(),
            Self::Subquery { modifiers, .. } => modifiers.at.is_some(),
            _ => false,
        })
    }

    /// Whether a selector looks at another time than the step.
    fn is_shifted(&self) -> bool {
        self.walk().into_iter().any(|part| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => {
                selector.modifiers.at.is_some() || !selector.modifiers.offset.is_empty()
            }
            _ => false,
        })
    }

    /// Over several steps, 3.5 takes one series for another if some are not there at each of them.
    pub(crate) fn has_info(&self) -> bool {
        let is_info = |part: &&Self| matches!(part, Self::Call { name: "info", .. });
        self.walk().iter().any(is_info)
    }

    pub(crate) fn is_held_subquery(&self) -> bool {
        matches!(self, Self::Subquery { modifiers, .. } if modifiers.at.is_some())
    }

    /// Whether 3.5 does not give what it says that this is.
    ///
    /// In a subquery, what a subquery with `@` has inside is shifted, even if it has an `@` of its own.
    pub(crate) fn is_mistaken(&self) -> bool {
        let is_subquery = matches!(self, Self::Subquery { .. });
        let is_held = || self.walk().into_iter().skip(1).any(Self::is_held_subquery);
        is_subquery && (is_held() || self.has_info())
            || self.is_of_negative()
            || self.is_without_buckets()
            || self.is_extended_below_zero()
            || self.is_of_3_5()
            || self.is_absent_of_reordered()
            || self.is_info_of_others()
    }

    /// Where counts may be negative, Prometheus finds a reset or not, and the bucket of a quantile, by the empty buckets that
    /// its storage has added to histograms; and in 3.5, what is multiplied by less than zero is no gauge.
    fn is_of_negative(&self) -> bool {
        let is_signed = |part: &Self| matches!(part, Self::Unary(_) | Self::Binary(_));
        let is_of = |args: &[Self]| {
            let parts = || args.iter().flat_map(Self::walk);
            parts().any(is_signed) && parts().any(Self::is_native)
        };
        let names = [
            "rate",
            "increase",
            "irate",
            "resets",
            "delta",
            "idelta",
            "histogram_quantile",
            "histogram_fraction",
        ];
        matches!(self, Self::Call { name, args } if names.contains(name) && is_of(args))
    }

    /// 3.5 extends histograms beyond where they would be zero, which gauges and what is computed often are near.
    fn is_extended_below_zero(&self) -> bool {
        let is_low = |part: &Self| match part {
            Self::Range { selector, .. } => selector.name == "levels",
            Self::Subquery { inner, .. } => inner.walk().into_iter().any(Self::is_native),
            _ => false,
        };
        matches!(self, Self::Call { name: "rate" | "increase", args } if args.iter().any(is_low))
    }

    /// Where NaNs were observed, 3.5 looks for quantiles from the wrong end; and of the fraction of a classic histogram, the
    /// lowest bucket has begun at zero since.
    fn is_of_3_5(&self) -> bool {
        let is_strange = |part: &Self| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => selector.name == "strange",
            _ => false,
        };
        let is_classic = |part: &Self| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => {
                selector.name == "doubled" || !part.is_native()
            }
            _ => false,
        };
        let mut parts = self.walk().into_iter();
        match self {
            Self::Call {
                name: "histogram_quantile",
                ..
            } => parts.any(is_strange),
            Self::Call {
                name: "histogram_fraction",
                ..
            } => parts.any(is_classic),
            _ => false,
        }
    }

    fn is_native(&self) -> bool {
        match self {
            Self::Selector(selector) | Self::Range { selector, .. } => NATIVE.contains(&selector.name),
            _ => false,
        }
    }

    /// Where counts alone are asked for, Prometheus reads no buckets. So of a gauge nobody has looked for resets before; and
    /// 3.5 then adds and compares what has other buckets.
    fn is_without_buckets(&self) -> bool {
        let names = [
            "histogram_count",
            "histogram_sum",
            "histogram_avg",
            "timestamp",
            "absent",
        ];
        let resets = ["rate", "increase", "irate", "resets"];
        let is_of = |part: &Self, metric: &str| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => selector.name == metric,
            _ => false,
        };
        let has = |part: &Self, metric: &str| part.walk().into_iter().any(|part| is_of(part, metric));
        let depends = |part: &Self| match part {
            Self::Call { name, .. } if resets.contains(name) => has(part, "levels"),
            Self::Binary(binary) => {
                let mut sides = [&binary.left, &binary.right].into_iter();
                sides.all(|side| side.walk().into_iter().any(Self::is_native))
            }
            part => is_of(part, "mingled"),
        };
        matches!(self, Self::Call { name, .. } if names.contains(name))
            && self.walk().into_iter().any(depends)
    }

    /// Of series that lack what info series are found by, or have a label that is asked for, 3.5 keeps others.
    fn is_info_of_others(&self) -> bool {
        let is_served = |part: &&Self| match part {
            Self::Selector(selector) | Self::Range { selector, .. } => selector.name == "served",
            _ => true,
        };
        match self {
            Self::Call { name: "info", args } => match args.first() {
                Some(Self::Call {
                    name: "last_over_time",
                    args,
                }) => !args.iter().all(|arg| is_served(&arg)),
                Some(selector @ Self::Selector(_)) => !is_served(&selector),
                _ => true,
            },
            _ => false,
        }
    }

    /// `absent` gives the labels that are matched once by `=`, and of several matchers of a label the order counts;
    /// in 3.5 the storage puts negative ones behind.
    fn is_absent_of_reordered(&self) -> bool {
        let Self::Call { name, args } = self else {
            return false;
        };
        let (Self::Selector(selector) | Self::Range { selector, .. }) = &args.first().unwrap_or(self) else {
            return false;
        };
        let name_of = |matcher: &str| {
            matcher
                .split(['=', '!'])
                .next()
                .map(|name| name.replace(['"', '\''], ""))
        };
        let matchers = || selector.matchers.iter().map(|matcher| name_of(matcher));
        name.starts_with("absent")
            && matchers().any(|one| matchers().filter(|other| *other == one).count() > 1)
    }

    /// Whether it compares and leaves out what does not hold.
    pub(crate) fn is_filter(&self) -> bool {
        matches!(self, Self::Binary(binary) if !binary.is_bool && ["==", "!=", "<", "<=", ">", ">="].contains(&binary.op))
    }

    /// Whether `@` makes it the same at every step.
    fn is_held(&self) -> bool {
        match self {
            Self::Selector(selector) | Self::Range { selector, .. } => selector.modifiers.at.is_some(),
            Self::Subquery { modifiers, .. } => modifiers.at.is_some(),
            _ => self.children().into_iter().all(Self::is_held),
        }
    }

    /// As PromQL, where the data starts at `start`, in milliseconds.
    pub(crate) fn print(&self, start: i64) -> String {
        let mut text = String::new();
        self.write(start, &mut text);
        text
    }

    fn write(&self, start: i64, out: &mut String) {
        match self {
            Self::Number(text) => *out += text,
            Self::Text(text) => {
                let _ = write!(out, "{text:?}");
            }
            Self::Selector(selector) => selector.write("", start, out),
            Self::Range { selector, range } => selector.write(range, start, out),
            Self::Subquery {
                inner,
                range,
                step,
                modifiers,
            } => {
                inner.write_in_parens(start, out);
                let _ = write!(out, "[{range}:{step}]");
                modifiers.write(start, out);
            }
            Self::Unary(inner) => {
                *out += "-";
                inner.write_in_parens(start, out);
            }
            Self::Binary(binary) => {
                *out += if binary.adds_zero { "(" } else { "" };
                let write = if binary.parens {
                    Self::write_in_parens
                } else {
                    Self::write
                };
                write(&binary.left, start, out);
                let is_bool = if binary.is_bool { " bool" } else { "" };
                let _ = write!(out, " {}{is_bool}{} ", binary.op, binary.matching);
                write(&binary.right, start, out);
                *out += if binary.adds_zero { " + 0)" } else { "" };
            }
            Self::Aggregate { op, grouping, args } => {
                let _ = write!(out, "{op}{grouping}");
                write_args(args, start, out);
            }
            Self::Call { name, args } => {
                *out += name;
                write_args(args, start, out);
            }
        }
    }

    fn write_in_parens(&self, start: i64, out: &mut String) {
        *out += "(";
        self.write(start, out);
        *out += ")";
    }
}

fn write_args(args: &[Expr], start: i64, out: &mut String) {
    *out += "(";
    for (index, arg) in args.iter().enumerate() {
        *out += if index > 0 { ", " } else { "" };
        arg.write(start, out);
    }
    *out += ")";
}

// === impl Selector ===

impl Selector {
    fn write(&self, range: &str, start: i64, out: &mut String) {
        let name = if self.name.starts_with('{') { "" } else { self.name };
        *out += name;
        let mut matchers = self.matchers.clone();
        if let Some(inner) = self.name.strip_prefix('{') {
            matchers.insert(0, inner.trim_end_matches('}'));
        }
        if !matchers.is_empty() {
            let _ = write!(out, "{{{}}}", matchers.join(","));
        }
        if !range.is_empty() {
            let _ = write!(out, "[{range}]");
        }
        self.modifiers.write(start, out);
    }
}

// === impl Modifiers ===

impl Modifiers {
    fn write(&self, start: i64, out: &mut String) {
        let at = match self.at {
            None => String::new(),
            Some(At::Start) => " @ start()".to_owned(),
            Some(At::End) => " @ end()".to_owned(),
            Some(At::Time(millis)) => format!(" @ {}", (start + millis) as f64 / 1000.0),
        };
        let offset = match self.offset {
            "" => String::new(),
            offset => format!(" offset {offset}"),
        };
        let (first, second) = if self.at_first { (at, offset) } else { (offset, at) };
        *out += &first;
        *out += &second;
    }
}
