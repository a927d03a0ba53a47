//! Makes a failure small: simpler expressions first, then fewer series, then fewer samples.

use std::collections::BTreeSet;
use std::ops::Range;

use super::data::Series;
use super::expr::{Expr, Kind, Modifiers};

/// Simpler expressions of the same kind, the simplest first.
pub(crate) fn simpler(expr: &Expr) -> Vec<Expr> {
    let mut all: Vec<Expr> = expr
        .walk()
        .into_iter()
        .skip(1)
        .filter(|part| {
            part.kind() == expr.kind() || expr.kind() == Kind::Vector && part.kind() == Kind::Scalar
        })
        .cloned()
        .collect();
    all.extend(plainer(expr));
    for (index, child) in expr.children().into_iter().enumerate() {
        all.extend(
            simpler(child)
                .into_iter()
                .map(|child| expr.with_child(index, child)),
        );
    }
    // A text is no smaller that is as long.
    let length = expr.print(0).len();
    all.retain(|simpler| simpler.level().is_some() && simpler.print(0).len() < length);
    all.sort_by_key(|simpler| simpler.print(0).len());
    all
}

/// Without what stands beside its parts.
fn plainer(expr: &Expr) -> Vec<Expr> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Expr)| {
        let mut new = expr.clone();
        change(&mut new);
        all.push(new);
    };
    match expr {
        Expr::Selector(selector) | Expr::Range { selector, .. } => {
            for index in 0..selector.matchers.len() {
                with(&|new| {
                    if let Expr::Selector(selector) | Expr::Range { selector, .. } = new {
                        selector.matchers.remove(index);
                    }
                });
            }
            with(&|new| {
                if let Expr::Selector(selector) | Expr::Range { selector, .. } = new {
                    selector.modifiers.offset = "";
                }
            });
            with(&|new| {
                if let Expr::Selector(selector) | Expr::Range { selector, .. } = new {
                    selector.modifiers.at = None;
                }
            });
        }
        Expr::Subquery { .. } => with(&|new| {
            if let Expr::Subquery { modifiers, .. } = new {
                *modifiers = Modifiers::default();
            }
        }),
        Expr::Binary(_) => {
            with(&|new| {
                if let Expr::Binary(binary) = new {
                    binary.matching.clear();
                }
            });
            with(&|new| {
                if let Expr::Binary(binary) = new {
                    binary.is_bool = false;
                }
            });
        }
        Expr::Aggregate { .. } => with(&|new| {
            if let Expr::Aggregate { grouping, .. } = new {
                grouping.clear();
            }
        }),
        Expr::Number(_) => with(&|new| *new = Expr::Number("1")),
        Expr::Text(_) | Expr::Unary(_) | Expr::Call { .. } => {}
    }
    all
}

/// The smallest that still fails, as far as taking a step at a time gets.
pub(crate) fn expression(expr: Expr, mut fails: impl FnMut(&Expr) -> bool) -> Expr {
    let mut smallest = expr;
    while let Some(smaller) = simpler(&smallest).into_iter().find(|simpler| fails(simpler)) {
        smallest = smaller;
    }
    smallest
}

/// As few series as still fail, and of those as few samples.
pub(crate) fn series(expr: &Expr, all: &[Series], mut fails: impl FnMut(&[Series]) -> bool) -> Vec<Series> {
    let text = expr.print(0);
    let mut left: Vec<Series> = all.to_vec();
    left.retain(|series| text.contains(series.name));
    if left.is_empty() || !fails(&left) {
        // It takes others than it names: by a pattern, or info series.
        left = all.to_vec();
    }
    let without_series = |all: &[Series], out: Range<usize>| {
        let mut fewer = all.to_vec();
        fewer.drain(out);
        fewer
    };
    let left = leave_out(left, <[Series]>::len, without_series, &mut fails);
    let without_times = |all: &[Series], out: Range<usize>| {
        let out = &times(all)[out];
        let mut fewer = all.to_vec();
        for series in &mut fewer {
            series.samples.retain(|(at, _)| !out.contains(at));
        }
        fewer.retain(|series| !series.samples.is_empty());
        fewer
    };
    leave_out(left, |all| times(all).len(), without_times, &mut fails)
}

/// The times at which there are samples.
fn times(all: &[Series]) -> Vec<i64> {
    let times = all.iter().flat_map(|series| &series.samples).map(|(at, _)| *at);
    times.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Tries without a half of what there is to count, then without quarters, and so on. Every try costs a start of
/// Prometheus, so there are not many.
fn leave_out(
    mut left: Vec<Series>,
    count: impl Fn(&[Series]) -> usize,
    without: impl Fn(&[Series], Range<usize>) -> Vec<Series>,
    mut fails: impl FnMut(&[Series]) -> bool,
) -> Vec<Series> {
    const TRIES: usize = 40;
    let mut tries = 0;
    let mut part = count(&left) / 2;
    while part > 0 {
        let mut from = 0;
        while from < count(&left) && tries < TRIES {
            let fewer = without(&left, from..(from + part).min(count(&left)));
            tries += 1;
            if !fewer.is_empty() && fails(&fewer) {
                left = fewer;
            } else {
                from += part;
            }
        }
        part /= 2;
    }
    left
}
