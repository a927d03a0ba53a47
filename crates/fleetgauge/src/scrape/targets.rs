//! The targets of a source at one moment, and which of them a query may read.
//!
//! Most queries read the pods of one workload among many. The others are neither asked nor waited for: one of them that
//! hangs costs nothing, and a query costs what it reads.

use std::collections::HashMap;
use std::sync::Arc;

use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::{Expr, MatchOp, Matcher};

use super::active::ActiveTarget;

/// The targets of one moment.
#[derive(Default)]
pub(super) struct Targets {
    /// In the order of their discovery.
    all: Vec<Arc<ActiveTarget>>,
    /// By the labels that many of them have.
    index: HashMap<String, ByValue>,
}

/// Positions of targets by the value of one label.
#[derive(Default)]
struct ByValue {
    with: HashMap<String, Vec<usize>>,
    /// Those that do not have it: their series may.
    without: Vec<usize>,
}

// === impl Targets ===

impl Targets {
    pub(super) fn new(all: Vec<Arc<ActiveTarget>>) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for active in &all {
            for name in active.target.labels().keys() {
                *counts.entry(name).or_default() += 1;
            }
        }
        // Of a label that few have, the list of those without it is long.
        let many = counts.into_iter().filter(|(_, count)| count * 2 >= all.len());
        let mut index: HashMap<_, ByValue> = many
            .map(|(name, _)| (name.to_owned(), ByValue::default()))
            .collect();
        for (name, positions) in &mut index {
            for (at, active) in all.iter().enumerate() {
                match active.target.labels().get(name) {
                    Some(value) => positions.with.entry(value.clone()).or_default().push(at),
                    None => positions.without.push(at),
                }
            }
        }
        Self { all, index }
    }

    pub(super) fn all(&self) -> &[Arc<ActiveTarget>] {
        &self.all
    }

    /// Those that `query` may read series of, in their order: all, where that cannot be told.
    pub(super) fn read_by(&self, query: &str) -> Vec<Arc<ActiveTarget>> {
        let Ok(expr) = fleetgauge_syntax::parse(query) else {
            return self.all.clone();
        };
        let mut read = vec![false; self.all.len()];
        for part in expr.walk() {
            match part {
                Expr::Selector(selector) => self.select(&selector.matchers, &mut read),
                Expr::Range(range) => self.select(&range.selector.matchers, &mut read),
                // Its second argument says which labels are added, and whose these are is known when the first is evaluated.
                Expr::Call(call) if call.function == Function::Info => return self.all.clone(),
                _ => {}
            }
        }
        let all = self.all.iter().zip(read);
        all.filter(|(_, is_read)| *is_read)
            .map(|(active, _)| Arc::clone(active))
            .collect()
    }

    /// Marks those that may have series which `matchers` select, by what these ask to be equal.
    fn select(&self, matchers: &[Matcher], read: &mut [bool]) {
        let equal = || matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal);
        let mut mark = |at: usize| {
            let labels = self.all[at].target.labels();
            read[at] |= equal().all(|matcher| {
                labels
                    .get(&matcher.name)
                    .is_none_or(|value| *value == matcher.value)
            });
        };
        let indexed = equal().filter_map(|matcher| Some(self.index.get(&matcher.name)?.of(&matcher.value)));
        match indexed.min_by_key(|(with, without)| with.len() + without.len()) {
            Some((with, without)) => with.iter().chain(without).for_each(|at| mark(*at)),
            None => (0..self.all.len()).for_each(mark),
        }
    }
}

// === impl ByValue ===

impl ByValue {
    /// Those that may have series with `value`.
    fn of(&self, value: &str) -> (&[usize], &[usize]) {
        (self.with.get(value).map_or(&[], Vec::as_slice), &self.without)
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::target::{Target, TargetDefaults, TargetLabels};
    use fleetgauge_core::time::Clock;

    use super::*;

    /// The pods of targets, of which some have no group.
    fn read_by(groups: &[&str], query: &str) -> Vec<usize> {
        let active = groups.iter().enumerate().map(|(at, group)| {
            let mut labels = TargetLabels::new();
            labels.insert("__address__".into(), format!("127.0.0.1:{}", at + 1));
            labels.insert("pod".into(), at.to_string());
            labels.insert("group".into(), (*group).into());
            let target = Target::from_labels(&labels, &TargetDefaults::default()).unwrap();
            ActiveTarget::new(target, Clock::system(), None, false)
        });
        let targets = Targets::new(active.collect());
        let read = targets.read_by(query);
        read.iter()
            .map(|active| active.target.labels()["pod"].parse().unwrap())
            .collect()
    }

    #[test]
    fn those_are_read_whose_labels_do_not_contradict() {
        let groups = ["a", "b", "", "a"];
        let check =
            |query: &str, expected: &[usize]| assert_eq!(read_by(&groups, query), expected, "{query}");
        check(r#"up{group="a"}"#, &[0, 2, 3]);
        check(r#"sum(rate(x{group="b"}[1m:10s])) + y{group="b"}"#, &[1, 2]);
        check(r#"x{group="a"} / x{pod="1"}"#, &[0, 1, 2, 3]);
        check(r#"x{group="a",pod="0"}"#, &[0]);
        check(r#"x{group="a",pod="1"}"#, &[]);
        check(r#"x{group="c"}"#, &[2]);
        check(r#"x{group=""}"#, &[2]);
        check(r#"x{zone="a"}"#, &[0, 1, 2, 3]);
        // Only what is to be equal is looked at.
        check(r#"x{group=~"a"}"#, &[0, 1, 2, 3]);
        check("vector(1)", &[]);
        check("no expression", &[0, 1, 2, 3]);
        check(r#"info(x{group="a"})"#, &[0, 1, 2, 3]);
    }

    #[test]
    fn a_label_that_few_have_is_looked_up_one_by_one() {
        let groups = ["", "", "", "", "a"];
        assert_eq!(read_by(&groups, r#"x{group="a"}"#), [0, 1, 2, 3, 4]);
        assert_eq!(read_by(&groups, r#"x{group="b"}"#), [0, 1, 2, 3]);
    }
}
