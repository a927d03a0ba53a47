//! `info`: adds to series the labels of the info series of the same `instance` and `job`.
//!
//! *Source*: <https://prometheus.io/docs/prometheus/latest/querying/functions/#info>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetgauge_syntax::info;

use crate::budget::{Budget, REGEX_WORK, SERIES_WORK};
use crate::error::EvalError;
use crate::label::{Groups, LabelSet, METRIC_NAME, Projection, SCHEMA, text_bytes};
use crate::matcher::Matcher;
use crate::sample::is_histogram;
use crate::value::{Vector, is_absent};

/// The labels by which a series and an info series belong together.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What a call asks for, given the series of its first argument.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The matchers of the metric name of an info series: those of the second argument, and the one that is implied.
    of_name: Vec<Matcher>,
    /// The others, which also say which labels are added: all, if there is none.
    of_data: Vec<&'a Matcher>,
    /// For each row of the first argument, whether it is an info series itself, which stays as it is.
    is_info: Vec<bool>,
    /// The values of the identifying labels of all other rows, by which of them a row has.
    identities: BTreeMap<[bool; 2], [BTreeSet<&'a str>; 2]>,
}

/// The info series, by metric name, `instance` and `job`.
struct InfoSeries<'a> {
    /// Its rows hold the times of the samples, or that one is a histogram.
    found: &'a Vector,
    groups: Groups,
    /// The rows of each group. Several, if an info series was replaced by another one.
    rows: Vec<Vec<usize>>,
    names: BTreeSet<&'a str>,
}

// === impl Wanted ===

impl<'a> Wanted<'a> {
    /// `matchers` are those of the second argument, if there is one.
    pub(crate) fn new(
        base: &'a Vector,
        matchers: Option<&'a [Matcher]>,
        budget: &mut Budget,
    ) -> Result<Self, EvalError> {
        // A flag, and the entries of two sets, a series.
        budget.take_list::<[usize; 12]>(base.len())?;
        let given = matchers.unwrap_or_default().iter();
        let (of_name, of_data): (Vec<_>, Vec<_>) = given.partition(|m| m.name() == METRIC_NAME);
        let implied = info::implied(of_name.iter().map(|m| m.op())).map(Matcher::compile);
        let implied = implied
            .transpose()
            .map_err(|error| EvalError::execution(error.to_string()))?;
        let of_name: Vec<_> = of_name.into_iter().cloned().chain(implied).collect();
        let is_info = |labels: &LabelSet| of_name.iter().all(|m| m.matches_value(labels.metric_name()));
        let is_info = base.labels.iter().map(|labels| {
            budget.spend(SERIES_WORK + labels.metric_name().len() * REGEX_WORK)?;
            Ok(is_info(labels))
        });
        let is_info: Vec<_> = is_info.collect::<Result<_, EvalError>>()?;
        let mut identities: BTreeMap<_, [BTreeSet<&str>; 2]> = BTreeMap::new();
        for (labels, _) in base.labels.iter().zip(&is_info).filter(|(_, is_info)| !**is_info) {
            let identity = IDENTIFYING.map(|name| labels.get(name));
            // By nothing, nothing can be found.
            if identity.iter().any(Option::is_some) {
                let values = identities.entry(identity.map(|v| v.is_some())).or_default();
                values.iter_mut().zip(identity).for_each(|(all, v)| all.extend(v));
            }
        }
        Ok(Self {
            of_name,
            of_data,
            is_info,
            identities,
        })
    }

    /// The matchers of the info series; none if no series can have any.
    pub(crate) fn selects(&self) -> Option<Vec<Matcher>> {
        if self.identities.is_empty() {
            return None;
        }
        let of_data = self.of_data.iter().copied();
        Some(self.of_name.iter().chain(of_data).cloned().collect())
    }

    /// Whether an info series can be of one of the rows.
    fn can_be_of(&self, info: &LabelSet) -> bool {
        let identity = IDENTIFYING.map(|name| info.get(name));
        let values = self.identities.get(&identity.map(|v| v.is_some()));
        values.is_some_and(|values| {
            let mut all = values.iter().zip(identity);
            all.all(|(values, value)| value.is_none_or(|value| values.contains(value)))
        })
    }

    /// Whether a label of an info series is asked for.
    fn takes(&self, name: &str) -> bool {
        let is_listed = || self.of_data.iter().any(|matcher| matcher.name() == name);
        !SCHEMA.contains(&name) && (self.of_data.is_empty() || is_listed())
    }

    /// Whether a series without an info series is left out, because it does not fit the matchers.
    fn drops_bare(&self) -> bool {
        self.of_data.iter().any(|matcher| !matcher.matches_value(""))
    }
}

// === impl InfoSeries ===

impl<'a> InfoSeries<'a> {
    fn new(found: &'a Vector, wanted: &Wanted<'_>, budget: &mut Budget) -> Result<Self, EvalError> {
        // The rows of each group, and the names.
        budget.take_list::<[usize; 12]>(found.len())?;
        let key = [METRIC_NAME, IDENTIFYING[0], IDENTIFYING[1]].map(Arc::from);
        let mut groups = Groups::new(Projection::keep(&key));
        let (mut rows, mut names) = (Vec::new(), BTreeSet::new());
        for (row, labels) in found.labels.iter().enumerate() {
            if wanted.can_be_of(labels) {
                let group = groups.add(labels, budget)?;
                rows.resize_with(groups.len(), Vec::new);
                rows[group].push(row);
                names.insert(labels.metric_name());
            }
        }
        Ok(Self {
            found,
            groups,
            rows,
            names,
        })
    }

    /// The groups that belong to a series, at most one for each metric name.
    fn of(&mut self, labels: &LabelSet, budget: &mut Budget) -> Result<Vec<usize>, EvalError> {
        let names = self.names.iter();
        let groups = names.map(|name| self.groups.find(&labels.with(METRIC_NAME, name), budget));
        groups.filter_map(Result::transpose).collect()
    }

    /// The row of a group whose sample is the newest at a step.
    fn newest(&self, group: usize, step: usize) -> Option<usize> {
        let time = |row: &usize| self.found.row(*row)[step];
        let present = self.rows[group].iter().filter(|row| !is_absent(time(row)));
        present.max_by(|a, b| time(a).total_cmp(&time(b))).copied()
    }

    /// Refuses histograms, and groups in which two samples are the newest, at a step at which there are series to add
    /// labels to.
    fn check(&self, base: &Vector, budget: &mut Budget) -> Result<(), EvalError> {
        let mut is_asked = vec![false; base.width()];
        for (_, row) in base.rows() {
            budget.spend(row.len())?;
            for (is_asked, value) in is_asked.iter_mut().zip(row) {
                *is_asked |= !is_absent(*value);
            }
        }
        for &row in self.rows.iter().flatten() {
            budget.spend(base.width())?;
            let mut steps = self.found.row(row).iter().zip(&is_asked);
            if steps.any(|(&time, &is_asked)| is_asked && is_histogram(time)) {
                return Err(EvalError::execution("info sample should be float"));
            }
        }
        let several = self.rows.iter().enumerate().filter(|(_, rows)| rows.len() > 1);
        for (group, rows) in several {
            budget.spend(rows.len() * base.width())?;
            for step in (0..base.width()).filter(|&step| is_asked[step]) {
                let Some(newest) = self.newest(group, step) else {
                    continue;
                };
                let time = |row: usize| self.found.row(row)[step];
                if rows.iter().any(|&row| row != newest && time(row) == time(newest)) {
                    let name = self.found.labels[newest].metric_name();
                    return Err(EvalError::execution(format!(
                        "found duplicate series for info metric {name}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The series of `base` with the labels of info series; `found` are those that [`Wanted::selects`] means, with
/// the times of their samples.
///
/// *Errors*: Prometheus's, for info series that contradict each other and for series that become the same.
pub(crate) fn join(
    base: &Vector,
    found: &Vector,
    wanted: &Wanted<'_>,
    budget: &mut Budget,
) -> Result<Vector, EvalError> {
    let mut info = InfoSeries::new(found, wanted, budget)?;
    info.check(base, budget)?;
    let mut result = Vector::new(base.width());
    // Of one series at a time: which info series it has, at each step.
    budget.take_bytes(base.width().saturating_mul(64 + 16 * info.names.len()))?;
    for (i, (labels, row)) in base.rows().enumerate() {
        budget.take_samples(base.width())?;
        budget.spend(SERIES_WORK)?;
        if wanted.is_info[i] {
            budget.take_vector(1, base.width())?;
            result.push_row_of(labels.clone(), base, i);
            continue;
        }
        let groups = info.of(labels, budget)?;
        let looked_at: usize = groups.iter().map(|&group| info.rows[group].len()).sum();
        // The info series may be others at other steps, and the result with them.
        let mut rows: BTreeMap<Vec<Option<usize>>, Option<usize>> = BTreeMap::new();
        for (step, &value) in row.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            budget.spend(looked_at)?;
            let newest: Vec<_> = groups.iter().map(|&group| info.newest(group, step)).collect();
            let known = rows.get(&newest).copied();
            let at = match known {
                Some(at) => at,
                None => {
                    let infos = newest.iter().flatten().map(|&row| &found.labels[row]);
                    let at = match with_labels_of(labels, infos, wanted, budget)? {
                        None => None,
                        Some(labels) => {
                            budget.take_row(result.len(), base.width())?;
                            result.push_absent(labels);
                            result.take_namelessness(result.len() - 1, base, i);
                            Some(result.len() - 1)
                        }
                    };
                    rows.insert(newest, at);
                    at
                }
            };
            if let Some(at) = at {
                match base.histogram(i, step) {
                    Some(histogram) => result.set_histogram(at, step, Arc::clone(histogram)),
                    None => result.row_mut(at)[step] = value,
                }
                result.stand_on_at(at, step, base.age(i, step));
            }
        }
    }
    budget.check_series(result.len())?;
    result.merge_duplicates(budget)?;
    Ok(result)
}

/// The labels of a series and those of its info series that are asked for and that it has not. `None` if the
/// series is left out.
fn with_labels_of<'a>(
    labels: &LabelSet,
    infos: impl Iterator<Item = &'a LabelSet>,
    wanted: &Wanted<'_>,
    budget: &mut Budget,
) -> Result<Option<LabelSet>, EvalError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    let mut infos = infos.peekable();
    if infos.peek().is_none() && wanted.drops_bare() {
        return Ok(None);
    }
    for (name, value) in infos.flat_map(LabelSet::iter) {
        if !wanted.takes(name) || labels.get(name).is_some() {
            continue;
        }
        if *added.entry(name).or_insert(value) != value {
            return Err(EvalError::execution(format!("conflicting label: {name}")));
        }
    }
    if added.is_empty() {
        return Ok(Some(labels.clone()));
    }
    let texts = added.iter().flat_map(|(name, value)| [*name, *value]);
    budget.spend_series(labels.bytes() + texts.map(text_bytes).sum::<usize>())?;
    Ok(Some(LabelSet::from_pairs(labels.iter().chain(added))))
}
