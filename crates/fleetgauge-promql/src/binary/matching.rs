//! Arithmetic and comparison between two vectors.
//!
//! Which series belong together depends on their labels alone, so it is found once; whether a match is
//! ambiguous depends on which of them have a sample, so that is looked at step by step.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::annotation::Annotations;
use crate::budget::{Budget, SERIES_WORK};
use crate::error::EvalError;
use crate::label::{Groups, LabelSet, Members, Projection, SCHEMA};
use crate::parse::{Binary, BinaryOp, Group, Matching};
use crate::sample::SampleValue;
use crate::value::{ABSENT, Vector, is_absent};

use super::mixed::{Outcome, Remarks, Side};
use super::operation::Operation;

const AMBIGUOUS: &str = "multiple matches for labels: grouping labels must ensure unique matches";

/// The labels by which series are matched.
pub(super) fn projection(matching: &Matching) -> Projection {
    match matching.on {
        true => Projection::keep(&matching.labels),
        false => Projection::drop(&matching.labels),
    }
}

/// The side that may have several series for one of the other is `many`; without grouping it is the left one.
struct Sides<'a> {
    many: &'a Vector,
    one: &'a Vector,
    swapped: bool,
    fill: Fill,
}

/// What stands in for a sample that a side lacks.
#[derive(Clone, Copy)]
struct Fill {
    many: Option<f64>,
    one: Option<f64>,
}

/// The values of one series, or numbers that stand in for them.
#[derive(Clone, Copy)]
struct Row<'a> {
    values: &'a [f64],
    of: Option<(&'a Vector, usize)>,
}

/// The result under way.
struct Joined<'a> {
    op: BinaryOp,
    group: Group,
    /// What is said where values are histograms; none where none can be.
    remarks: Option<Remarks>,
    /// The place of the pair in the order in which Prometheus computes.
    place: usize,
    rows: Vector,
    /// By the series of the result, which group it is of.
    group_of: Vec<usize>,
    labelling: Labelling<'a>,
    operation: Operation,
    returns_bool: bool,
    swapped: bool,
    /// For how many series memory was taken.
    room: usize,
    /// At which steps two series met, though a comparison may have filtered what came of it; nothing where it does not
    /// matter.
    met: Vec<bool>,
    /// At which steps series of the group have met: all of them together without grouping, else those whose results have
    /// the same labels.
    taken: HashMap<LabelSet, Vec<bool>, RandomState>,
}

pub(super) fn evaluate(
    binary: &Binary,
    left: &Vector,
    right: &Vector,
    budget: &mut Budget,
    notes: &mut Annotations,
) -> Result<Vector, EvalError> {
    let width = left.width();
    let matching = &binary.matching;
    let swapped = matching.group == Group::Right;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let sides = Sides {
        many,
        one,
        swapped,
        fill: Fill::new(binary, swapped),
    };
    let nothing_meets = match matching.fill.is_any() {
        true => many.len() == 0 && one.len() == 0,
        false => many.len() == 0 || one.len() == 0,
    };
    if nothing_meets {
        return Ok(Vector::new(width));
    }

    let mut groups = Groups::new(projection(matching));
    // The group of each series, and the members of each group.
    budget.take_list::<[usize; 5]>(many.len() + one.len())?;
    let ones = one.labels.iter().map(|labels| groups.add(labels, budget));
    let ones: Vec<_> = ones.collect::<Result<_, _>>()?;
    let mut group_of_many = Vec::with_capacity(many.len());
    for (i, labels) in many.labels.iter().enumerate() {
        let group = match sides.fill.one {
            None => groups.find(labels, budget)?,
            Some(_) => Some(groups.add(labels, budget)?),
        };
        group_of_many.extend(group.map(|group| (i, group)));
    }
    let ones = Members::new(groups.len(), ones.into_iter().enumerate());
    let manys = Members::new(groups.len(), group_of_many.into_iter());
    sides.refuse_duplicates(&ones, &mut groups, budget)?;

    budget.take_vector(many.len(), width)?;
    let is_mixed = left.has_histograms() || right.has_histograms() || binary.op.is_trim();
    let remarks = match is_mixed {
        true => Some(Remarks::new(binary.op, width, budget)?),
        false => None,
    };
    let mut joined = Joined {
        op: binary.op,
        group: matching.group,
        remarks,
        place: 0,
        rows: Vector::with_capacity(width, many.len()),
        group_of: Vec::with_capacity(many.len()),
        labelling: Labelling::new(binary, budget.delays_names()),
        operation: Operation::new(binary.op)?,
        returns_bool: binary.returns_bool,
        swapped,
        room: many.len(),
        met: Vec::new(),
        taken: HashMap::default(),
    };
    if matching.fill.is_any() {
        budget.take_list::<f64>(width)?;
    }
    for (group, (manys, ones)) in manys.iter().zip(ones.iter()).enumerate() {
        joined.taken.clear();
        let is_shared = manys.len() > 1 && joined.may_be_ambiguous(matching);
        for &i in manys {
            let of_many = (&many.labels[i], Row::of(many, i));
            joined.place = i;
            for &j in ones {
                let of_one = (&one.labels[j], Row::of(one, j));
                if joined.add(group, of_many, of_one, is_shared, budget)? {
                    let last = joined.rows.len() - 1;
                    joined.rows.stand_on(last, many, i);
                    joined.rows.stand_on(last, one, j);
                }
            }
            if let Some(value) = sides.fill.one {
                let labels = projection(matching).apply(&many.labels[i]);
                budget.spend_series(labels.bytes())?;
                let filled = filled(value, one, ones, budget)?;
                if joined.add(group, of_many, (&labels, Row::filled(&filled)), is_shared, budget)? {
                    joined.rows.stand_on(joined.rows.len() - 1, many, i);
                }
            }
        }
        let Some(value) = sides.fill.many else { continue };
        for &j in ones {
            let labels = projection(matching).apply(&one.labels[j]);
            budget.spend_series(labels.bytes())?;
            let filled = filled(value, many, manys, budget)?;
            joined.place = many.len() + j;
            let of_one = (&one.labels[j], Row::of(one, j));
            if joined.add(group, (&labels, Row::filled(&filled)), of_one, false, budget)? {
                joined.rows.stand_on(joined.rows.len() - 1, one, j);
            }
        }
    }
    let Joined {
        rows: mut result,
        group_of,
        remarks,
        ..
    } = joined;
    if let Some(remarks) = remarks {
        remarks.tell(notes);
    }
    // Others have lost it already, or keep it, though their operands would lose it: so does Prometheus.
    if binary.returns_bool && budget.delays_names() {
        result.be_nameless();
    }
    // Without grouping, what a group was matched by are the labels of its result, unless the name is among them, which
    // may be dropped.
    let is_by_name = matching.labels.iter().any(|label| SCHEMA.contains(&&**label));
    let is_one_each = || group_of.windows(2).all(|pair| pair[0] != pair[1]);
    if matching.group != Group::Neither || is_by_name || !is_one_each() {
        merge(&mut result, &group_of, matching.group, budget)?;
    }
    Ok(result)
}

/// The value at the steps at which none of these series has a sample.
fn filled(value: f64, of: &Vector, series: &[usize], budget: &mut Budget) -> Result<Vec<f64>, EvalError> {
    let mut filled = vec![value; of.width()];
    for &row in series {
        budget.spend(of.width())?;
        for (place, &sample) in filled.iter_mut().zip(of.row(row)) {
            if !is_absent(sample) {
                *place = ABSENT;
            }
        }
    }
    Ok(filled)
}

/// Fills a row of the result; `false` if it has no sample.
fn compute(operation: Operation, returns_bool: bool, left: &[f64], right: &[f64], row: &mut [f64]) -> bool {
    let mut any = false;
    for ((place, &left), &right) in row.iter_mut().zip(left).zip(right) {
        if is_absent(left) || is_absent(right) {
            continue;
        }
        *place = match operation {
            Operation::Arithmetic(compute) => compute(left, right),
            Operation::Comparison(holds) => match (returns_bool, holds(left, right)) {
                (true, holds) => f64::from(u8::from(holds)),
                (false, true) => left,
                (false, false) => continue,
            },
            Operation::Trim => continue,
        };
        any = true;
    }
    any
}

/// Makes one series of those of the result that have the same labels.
fn merge(
    result: &mut Vector,
    group_of: &[usize],
    grouping: Group,
    budget: &mut Budget,
) -> Result<(), EvalError> {
    // Twice, as a hash table has room to spare.
    budget.take_list::<[(LabelSet, usize); 2]>(result.len())?;
    let mut first: HashMap<LabelSet, usize, RandomState> =
        HashMap::with_capacity_and_hasher(result.len(), RandomState::default());
    let mut merged = false;
    for i in 0..result.len() {
        budget.spend(SERIES_WORK)?;
        let known = *first.entry(result.labels[i].clone()).or_insert(i);
        if known == i {
            continue;
        }
        let is_ambiguous = grouping != Group::Neither && group_of[known] == group_of[i];
        // Where names stay until the end, Prometheus does not look for others at one step.
        if !is_ambiguous && budget.delays_names() && result.width() == 1 {
            continue;
        }
        merged = true;
        budget.spend(result.width())?;
        for step in 0..result.width() {
            let histogram = result.histogram(i, step).cloned();
            let value = std::mem::replace(&mut result.row_mut(i)[step], ABSENT);
            if is_absent(value) {
                continue;
            }
            let place = &mut result.row_mut(known)[step];
            if !is_absent(*place) {
                return Err(EvalError::execution(match is_ambiguous {
                    true => AMBIGUOUS,
                    false => "vector cannot contain metrics with the same labelset",
                }));
            }
            *place = value;
            if let Some(histogram) = histogram {
                result.set_histogram(known, step, histogram);
            }
            result.move_age(i, known, step);
        }
    }
    if merged {
        result.retain_present();
    }
    Ok(())
}

// === impl Fill ===

impl Fill {
    fn new(binary: &Binary, swapped: bool) -> Self {
        let fill = binary.matching.fill;
        let (many, one) = match swapped {
            true => (fill.right, fill.left),
            false => (fill.left, fill.right),
        };
        Self { many, one }
    }
}

// === impl Joined ===

impl Joined<'_> {
    /// Adds what comes of two series; `false` if that is no sample.
    fn add(
        &mut self,
        group: usize,
        (many_labels, many): (&LabelSet, Row<'_>),
        (one_labels, one): (&LabelSet, Row<'_>),
        is_shared: bool,
        budget: &mut Budget,
    ) -> Result<bool, EvalError> {
        let width = self.rows.width();
        budget.check_series(self.rows.len() + 1)?;
        budget.take_samples(width)?;
        // Beyond what was taken for one series each.
        if self.rows.len() >= self.room {
            budget.take_vector(1, width)?;
        }
        let row = self.rows.push_absent(LabelSet::empty());
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        self.met.clear();
        if is_shared {
            let both = left.values.iter().zip(right.values);
            self.met
                .extend(both.map(|(&left, &right)| !is_absent(left) && !is_absent(right)));
        }
        let any = match self.remarks {
            None => compute(self.operation, self.returns_bool, left.values, right.values, row),
            Some(_) => self.compute_mixed(left, right, budget)?,
        };
        if !(any || is_shared) {
            self.rows.pop();
            return Ok(false);
        }
        let labels = self.labelling.apply(many_labels, one_labels, budget)?;
        if is_shared {
            self.refuse_ambiguous(&labels, budget)?;
        }
        if !any {
            self.rows.pop();
            return Ok(false);
        }
        if let Some(place) = self.rows.labels.to_mut().last_mut() {
            *place = labels;
        }
        self.group_of.push(group);
        Ok(true)
    }
}

impl Joined<'_> {
    /// Whether series of one group may have results that would be one series. Where the labels of the result are all of
    /// those of the many and nothing is filtered, it is seen by the result.
    fn may_be_ambiguous(&self, matching: &Matching) -> bool {
        let is_filter = self.op.is_comparison() && !self.returns_bool;
        matching.group == Group::Neither || is_filter && !matching.include.is_empty()
    }

    /// Notes where the last two series met, and refuses a second pair at the same step.
    fn refuse_ambiguous(&mut self, labels: &LabelSet, budget: &mut Budget) -> Result<(), EvalError> {
        let (key, why) = match self.group {
            Group::Neither => (
                LabelSet::empty(),
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ),
            Group::Left | Group::Right => (labels.clone(), AMBIGUOUS),
        };
        budget.take_list::<bool>(self.met.len())?;
        let taken = self
            .taken
            .entry(key)
            .or_insert_with(|| vec![false; self.met.len()]);
        let mut both = taken.iter_mut().zip(&self.met);
        match both.any(|(taken, &met)| met && std::mem::replace(taken, true)) {
            true => Err(EvalError::execution(why)),
            false => Ok(()),
        }
    }

    /// As [`compute`] fills the last row, where values are histograms.
    fn compute_mixed(
        &mut self,
        left: Row<'_>,
        right: Row<'_>,
        budget: &mut Budget,
    ) -> Result<bool, EvalError> {
        let last = self.rows.len() - 1;
        let mut any = false;
        for step in 0..self.rows.width() {
            let (Some(left), Some(right)) = (left.side(step), right.side(step)) else {
                continue;
            };
            budget.spend(left.work() + right.work())?;
            let outcome = Outcome::new(self.op, self.operation, left, right);
            if let Some(remarks) = &mut self.remarks {
                remarks.note(&outcome, self.place, step);
            }
            match (outcome.value, outcome.holds) {
                (None, _) => {
                    if let Some(met) = self.met.get_mut(step) {
                        *met = false;
                    }
                    continue;
                }
                (Some(_), holds) if self.returns_bool => {
                    self.rows.row_mut(last)[step] = f64::from(u8::from(holds));
                }
                (Some(_), false) => continue,
                (Some(SampleValue::Float(value)), true) => self.rows.row_mut(last)[step] = value,
                (Some(SampleValue::Histogram(histogram)), true) => {
                    budget.take_histogram(&histogram)?;
                    self.rows.set_histogram(last, step, histogram);
                }
            }
            any = true;
        }
        Ok(any)
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    fn of(vector: &'a Vector, i: usize) -> Self {
        Self {
            values: vector.row(i),
            of: Some((vector, i)),
        }
    }

    fn filled(values: &'a [f64]) -> Self {
        Self { values, of: None }
    }

    fn side(&self, step: usize) -> Option<Side<'a>> {
        match self.of {
            Some((vector, i)) => Side::of(vector, i, step),
            None => Side::of_number(self.values[step]),
        }
    }
}

// === impl Sides ===

impl Sides<'_> {
    /// Refuses series of the `one` side that are in one group and have samples at the same step, unless the
    /// other side is empty then.
    fn refuse_duplicates(
        &self,
        ones: &Members,
        groups: &mut Groups,
        budget: &mut Budget,
    ) -> Result<(), EvalError> {
        let width = self.one.width();
        if ones.iter().all(|ones| ones.len() <= 1) {
            return Ok(());
        }
        budget.take_list::<[usize; 3]>(width)?;
        // What is filled is asked for at every step.
        let mut is_asked = vec![self.fill.many.is_some() || self.fill.one.is_some(); width];
        for (_, row) in self.many.rows() {
            budget.spend(width)?;
            for (is_asked, &value) in is_asked.iter_mut().zip(row) {
                *is_asked |= !is_absent(value);
            }
        }
        let mut holder: Vec<Option<usize>> = vec![None; width];
        for (group, rows) in ones.iter().enumerate().filter(|(_, rows)| rows.len() > 1) {
            holder.fill(None);
            for &row in rows {
                budget.spend(width)?;
                for (step, &value) in self.one.row(row).iter().enumerate() {
                    if is_absent(value) || !is_asked[step] {
                        continue;
                    }
                    if let Some(other) = holder[step].replace(row) {
                        return Err(self.duplicates([row, other], &groups.labels(group, budget)?));
                    }
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn duplicates(&self, [row, other]: [usize; 2], group: &LabelSet) -> EvalError {
        let side = if self.swapped { "left" } else { "right" };
        // In the order of their texts, so that it says the same each time.
        let mut both = [row, other].map(|row| self.one.labels[row].braced().to_string());
        both.sort();
        EvalError::execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: \
             [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            group.braced(),
            both[0],
            both[1],
        ))
    }
}

/// The labels of the result.
struct Labelling<'a> {
    of_many: Projection,
    include: &'a [std::sync::Arc<str>],
}

// === impl Labelling ===

impl<'a> Labelling<'a> {
    fn new(binary: &'a Binary, delays_names: bool) -> Self {
        let matching = &binary.matching;
        let drops_name = !binary.op.is_comparison() || binary.returns_bool && !delays_names;
        let of_many = match (matching.group, matching.on) {
            (Group::Neither, true) => {
                let mut labels = matching.labels.clone();
                labels.retain(|label| !(drops_name && SCHEMA.contains(&&**label)));
                Projection::keep(&labels)
            }
            (Group::Neither, false) if drops_name => Projection::drop(&matching.labels),
            (Group::Neither, false) => Projection::drop_exactly(&matching.labels),
            _ if drops_name => Projection::without_name(),
            _ => Projection::drop_exactly(&[]),
        };
        Self {
            of_many,
            include: &matching.include,
        }
    }

    fn apply(&mut self, many: &LabelSet, one: &LabelSet, budget: &mut Budget) -> Result<LabelSet, EvalError> {
        let mut labels = self.of_many.apply(many);
        budget.spend_series(self.of_many.made())?;
        for name in self.include {
            let value = one.get(name).unwrap_or_default();
            budget.spend_series(labels.bytes_with(name, value))?;
            labels = labels.with(name, value);
        }
        Ok(labels)
    }
}
