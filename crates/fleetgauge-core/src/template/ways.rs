//! The ways through a template's conditions, each as a query with stand-ins for the values.
//!
//! Whether a template is PromQL cannot be seen in its source: half of a query stands in one branch and half in
//! another. So it is walked as if it were rendered, and wherever a value decides (a condition, `and`, `or`, how
//! often a loop runs) each outcome is one way. What was decided about a value holds for the rest of the way:
//! `{{if .x}}` in two places is two ways and not four, and a value that equals one text equals no other.

mod walk;
mod way;

use std::collections::{HashSet, VecDeque};

use super::error::Offset;
use super::program::{Program, Step};
use walk::{Branches, Walk};

pub use way::{Example, Way};

/// How much work all ways together may be: a step and a byte of text count as one each.
const MAX_WORK: usize = 4 << 20;
/// How many further ways are tried for the branches that the first ones left out.
const MAX_MORE: usize = 512;
/// Ways through a template, as [`Template::ways`](super::Template::ways) finds them.
#[derive(Clone, Debug)]
pub struct Ways {
    ways: Vec<Way>,
    coverage: Coverage,
}

/// How much of a template its [`Ways`] show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Every way.
    Whole,
    /// Every branch at least once, but not in every combination.
    Branches,
    /// Not even that: the template is too long, or its conditions are too entangled.
    Part,
}

// === impl Ways ===

impl Ways {
    /// See [`Template::ways`](super::Template::ways).
    pub(super) fn of(program: &Program, max: usize) -> Self {
        let mut ways = Ways {
            ways: Vec::new(),
            coverage: Coverage::Whole,
        };
        let (mut texts, mut branches) = (HashSet::new(), HashSet::new());
        let (mut plan, mut work) = (Vec::new(), 0);
        for _ in 0..max {
            let mut taken = ways.walk(program, &plan, &mut branches, &mut texts, &mut work);
            // The next plan: the last decision that could go otherwise does.
            plan.clear();
            while let Some((_, option, options)) = taken.pop() {
                if option + 1 < options {
                    plan.extend(taken.iter().map(|(_, option, _)| option));
                    plan.push(option + 1);
                    break;
                }
            }
            if plan.is_empty() {
                return ways;
            }
            if work > MAX_WORK {
                ways.coverage = Coverage::Part;
                return ways;
            }
        }
        ways.cover(program, &mut branches, &mut texts, &mut work);
        ways
    }

    /// The ways, of which no two have the same text.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Way> {
        self.ways.iter()
    }

    /// Whether these are all.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Walks one way; answers what was decided on it.
    fn walk(
        &mut self,
        program: &Program,
        plan: &[usize],
        branches: &mut Branches,
        texts: &mut HashSet<Vec<Box<str>>>,
        work: &mut usize,
    ) -> Vec<(Offset, usize, usize)> {
        let mut walk = Walk::new(program, plan, branches);
        let renders = walk.run(&program.steps).is_ok();
        let (taken, way, steps) = (walk.taken, walk.way, walk.steps);
        let text: Vec<_> = way.segments.iter().map(|segment| segment.text.clone()).collect();
        *work += steps + text.iter().map(|text| text.len()).sum::<usize>();
        if renders && texts.insert(text) {
            self.ways.push(way);
        }
        taken
    }

    /// Walks ways until each branch that can be reached was passed, those first that decide as none did before.
    fn cover(
        &mut self,
        program: &Program,
        branches: &mut Branches,
        texts: &mut HashSet<Vec<Box<str>>>,
        work: &mut usize,
    ) {
        let all = all_branches(&program.steps);
        let (mut tried, mut new, mut others) =
            (HashSet::new(), VecDeque::from([Vec::new()]), VecDeque::new());
        let mut decided = HashSet::new();
        for _ in 0..MAX_MORE {
            if all.is_subset(branches) {
                self.coverage = Coverage::Branches;
                return;
            }
            self.coverage = Coverage::Part;
            let Some(plan) = new.pop_front().or_else(|| others.pop_front()) else {
                return;
            };
            if *work > MAX_WORK {
                return;
            }
            let taken = self.walk(program, &plan, branches, texts, work);
            decided.extend(taken.iter().map(|(at, option, _)| (*at, *option)));
            for (i, (at, option, options)) in taken.iter().enumerate().skip(plan.len()) {
                for other in (0..*options).filter(|other| other != option) {
                    let mut plan: Vec<_> = taken[..i].iter().map(|(_, option, _)| *option).collect();
                    plan.push(other);
                    // A template with thousands of conditions has plans of that length for each.
                    *work += plan.len();
                    match tried.insert((*at, other)) && !decided.contains(&(*at, other)) {
                        true => new.push_back(plan),
                        false => others.push_back(plan),
                    }
                }
            }
        }
    }
}

/// Each branch, by where it is and which of the two or three it is.
fn all_branches(steps: &[Step]) -> Branches {
    let mut branches = Branches::new();
    let mut lists = vec![steps];
    while let Some(steps) = lists.pop() {
        for step in steps {
            match step {
                Step::If(branch) | Step::With(branch) | Step::Range(branch) => {
                    branches.extend([(branch.at, 0), (branch.at, 1)]);
                    lists.extend([&*branch.body, &*branch.otherwise]);
                }
                Step::Body { body, .. } => lists.push(body),
                _ => {}
            }
        }
    }
    branches
}

#[cfg(test)]
mod tests;
