//! Pods of one name that are several, as in two clusters each of which is scraped by a source of its own: which rows would
//! make one of them.
//!
//! Two sources may as well tell of the same pods, and mostly do: an expression joins them by their name. Who scrapes them
//! knows where each is, and so which of both it is.

use std::collections::{BTreeSet, HashMap};

use fleetgauge_core::label::{Labels, METRIC_NAME};
use fleetgauge_core::pod::PodIdentity;
use fleetgauge_core::result::Answer;
use fleetgauge_promql::matcher;
use fleetgauge_syntax::rewrite::keeps;
use fleetgauge_syntax::tree::{Aggregate, Binary, Expr, Matcher, RangeSelector, Selector};

/// What an input has answered.
pub(super) struct Told<'a> {
    /// Its name in the expression.
    pub(super) input: &'a str,
    /// Where it is from: what one source tells twice is of the same pods.
    pub(super) source: &'a str,
    pub(super) answer: &'a Answer,
}

/// A pod of one input and another one of the same name of another input.
pub(super) struct Namesake {
    pod: PodIdentity,
    inputs: [String; 2],
    places: [String; 2],
    /// The labels that rows of theirs have.
    labels: BTreeSet<String>,
    /// Those of these that tell them apart: no value is that of a row of both.
    apart: BTreeSet<String>,
}

/// The rows of each pod that is named, by its namespace and name.
type Rows<'a> = HashMap<(Option<&'a str>, &'a str), Vec<Labels<'a>>>;

const POD: &str = "pod";

/// The pods of which `told` has two of one name, with rows that say nothing else.
pub(super) fn namesakes(told: &[Told<'_>]) -> Vec<Namesake> {
    let mut found = Vec::new();
    for (place, one) in told.iter().enumerate() {
        for other in told[..place].iter().filter(|other| other.source != one.source) {
            let (Some(ours), Some(theirs)) = (one.answer.completeness(), other.answer.completeness()) else {
                continue;
            };
            let namesakes = ours.namesakes(theirs);
            if namesakes.is_empty() {
                continue;
            }
            let rows = [one, other].map(|told| rows(told.answer));
            found.extend(namesakes.into_iter().filter_map(|(pod, namesake)| {
                let key = (pod.namespace(), pod.name());
                let rows = [rows[0].get(&key)?, rows[1].get(&key)?];
                let labels = rows.into_iter().flatten().flat_map(|labels| labels.iter());
                let names = labels.map(|(name, _)| name).filter(|name| *name != METRIC_NAME);
                let labels: BTreeSet<String> = names.map(str::to_owned).collect();
                let differs = |name: &&String| values(rows[0], name).is_disjoint(&values(rows[1], name));
                Some(Namesake {
                    pod: pod.clone(),
                    inputs: [one.input, other.input].map(str::to_owned),
                    places: [pod, namesake].map(|pod| pod.instance().unwrap_or_default().to_owned()),
                    apart: labels.iter().filter(differs).cloned().collect(),
                    labels,
                })
            }));
        }
    }
    found
}

/// What is wrong with what `expr` makes of `namesakes`, where some row of it stands on two pods, or may be taken for one pod's.
pub(super) fn mixed(expr: &Expr, namesakes: &[Namesake], answer: &Answer) -> Option<String> {
    if namesakes.is_empty() {
        return None;
    }
    let (shown, rows) = (inputs_by_pod(expr, namesakes), rows(answer));
    let operators = expr.walk().into_iter().filter_map(|part| match part {
        Expr::Binary(operator) => {
            let of_sides = [&operator.left, &operator.right].map(|side| inputs_by_pod(side, namesakes));
            Some((&**operator, of_sides))
        }
        _ => None,
    });
    let operators: Vec<_> = operators.collect();
    let groups = expr.walk().into_iter().filter_map(|part| match part {
        Expr::Aggregate(aggregate) => Some((&**aggregate, inputs_by_pod(&aggregate.expr, namesakes))),
        _ => None,
    });
    let groups: Vec<_> = groups.collect();
    let is_shown = |namesake: &Namesake| {
        namesake.inputs.iter().all(|input| shown.contains(input)) && namesake.is_one_in(&rows, answer)
    };
    let is_matched = |namesake: &Namesake| {
        let mut operators = operators.iter();
        operators.any(|(operator, of_sides)| namesake.is_matched_by(operator, of_sides))
    };
    let is_grouped = |namesake: &Namesake| {
        let mut groups = groups.iter();
        groups.any(|(aggregate, inputs)| namesake.is_grouped_by(aggregate, inputs))
    };
    let mut namesakes = namesakes.iter();
    let Namesake {
        pod, inputs, places, ..
    } = namesakes.find(|namesake| is_shown(namesake) || is_matched(namesake) || is_grouped(namesake))?;
    Some(format!(
        "different pods of one name, as {pod} at {} ({}) and at {} ({}), are one here: give their sources a label that tells \
         them apart, as `labels: {{cluster: eu}}`, and keep it where pods are grouped or matched, or add up each input first",
        places[0], inputs[0], places[1], inputs[1]
    ))
}

/// The inputs of `namesakes` whose rows reach those of `expr` with the pods that they name.
fn inputs_by_pod(expr: &Expr, namesakes: &[Namesake]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        if !keeps(expr, POD) {
            continue;
        }
        if let Expr::Selector(selector) | Expr::Range(RangeSelector { selector, .. }) = expr {
            let inputs = namesakes.iter().flat_map(|namesake| &namesake.inputs);
            found.extend(inputs.filter(|input| selects(selector, input)).cloned());
        }
        open.extend(expr.children());
    }
    found
}

fn selects(selector: &Selector, input: &str) -> bool {
    let mut of_name = selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name == METRIC_NAME);
    let fits = |written: &Matcher| {
        let compiled = matcher::Matcher::new(&written.name, written.op, &written.value);
        compiled.is_ok_and(|compiled| compiled.matches_value(input))
    };
    of_name.all(fits)
}

fn rows(answer: &Answer) -> Rows<'_> {
    let mut rows = Rows::new();
    for series in answer.series() {
        let labels = series.labels();
        if let Some(pod) = labels.get(POD) {
            rows.entry((labels.get("namespace"), pod))
                .or_default()
                .push(labels);
        }
    }
    rows
}

/// The values of a label; none is a value, too.
fn values<'a>(rows: &[Labels<'a>], name: &str) -> BTreeSet<&'a str> {
    rows.iter()
        .map(|labels| labels.get(name).unwrap_or_default())
        .collect()
}

// === impl Namesake ===

impl Namesake {
    /// Whether a row of `answer` names the pod, and no label tells which of both it is: whoever folds rows by pod takes all
    /// such rows for those of one.
    fn is_one_in(&self, rows: &Rows<'_>, answer: &Answer) -> bool {
        let is_told = |labels: &Labels<'_>| {
            let mut of_cluster = labels.iter().filter(|(name, _)| answer.is_of_cluster(name));
            // The expression has set it, or it tells them apart.
            of_cluster.any(|(name, _)| !self.labels.contains(name) || self.apart.contains(name))
        };
        let rows = rows.get(&(self.pod.namespace(), self.pod.name()));
        rows.is_some_and(|rows| !rows.iter().all(is_told))
    }

    /// Whether `aggregate`, which is over the pods of these inputs, makes a group of both by the name of the pod.
    fn is_grouped_by(&self, aggregate: &Aggregate, inputs: &BTreeSet<String>) -> bool {
        let is_of_group = |name: &str| {
            let is_named = aggregate.grouping.labels.iter().any(|label| **label == *name);
            is_named != aggregate.grouping.without
        };
        let mut apart = self.apart.iter();
        self.inputs.iter().all(|input| inputs.contains(input))
            && is_of_group(POD)
            && !apart.any(|name| is_of_group(name) && keeps(&aggregate.expr, name))
    }

    /// Whether `operator`, whose sides have the pods of these inputs, brings rows of both together by the name of the pod.
    fn is_matched_by(&self, operator: &Binary, of_sides: &[BTreeSet<String>; 2]) -> bool {
        let [one, other] = &self.inputs;
        let is_between = |left, right| of_sides[0].contains(left) && of_sides[1].contains(right);
        let is_compared = |name: &str| {
            let is_named = operator.matching.labels.iter().any(|label| **label == *name);
            is_named == operator.matching.on
        };
        let is_kept = |name: &str| keeps(&operator.left, name) && keeps(&operator.right, name);
        let mut apart = self.apart.iter();
        (is_between(one, other) || is_between(other, one))
            && is_compared(POD)
            && !apart.any(|name| is_compared(name) && is_kept(name))
    }
}
