//! What is asked beside a query, and what an answer is told by it: how old its values are, which of them have ended,
//! which side of an `or` they came from, and how far samples are apart.
//!
//! Nothing here asks. A [`Plan`] is the texts for one query, which are made once; [`Told`] is what came back, of which
//! any part may be missing. What is missing costs what it would have told, never a value.

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetgauge_core::age::{Age, AgeKind};
use fleetgauge_core::interval::short_windows;
use fleetgauge_core::label::{Labels, METRIC_NAME};
use fleetgauge_core::query::Companions;
use fleetgauge_core::result::{Answer, AnswerKind};
use fleetgauge_core::time::{Moment, Timestamp};
use fleetgauge_syntax::rewrite::{self, COUNTED_MILLIS, Newest, OLDEST, SELECTOR, TOLD, YOUNGEST};
use fleetgauge_syntax::tree::{Expr, Selector};
use foldhash::fast::FixedState;

use super::rules::Reads;
use super::together::{ASKED, MAX_COST, Part};

/// How many plans are kept: more queries than that are not refreshed in turn.
const MAX_PLANS: usize = 1_000;

/// How often samples are counted anew.
const COUNT_EVERY: Duration = Duration::from_secs(600);

/// The ages of more rows than that are asked for one by one only where it may matter.
const FEW_ROWS: usize = 20;

/// Above this it is always asked how old each row is: of a series that is a minute old, others ought not to seem as old.
const MAX_USUAL_AGE: Duration = Duration::from_secs(90);

/// How old the rows of a query are.
#[derive(Debug)]
pub(super) enum Ages {
    /// Each is asked for.
    Exact(String),
    /// Of the oldest series alone.
    Bound(String),
    /// No sample contributes.
    Ageless,
    /// It cannot be asked, for this reason.
    Unknown(String),
}

/// The companions of one query.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) ages: Ages,
    /// Who reports, or where only a bound is asked for, whether a series has ended; `None` where no row of the query can outlive
    /// its series.
    pub(super) live: Option<String>,
    pub(super) branches: Option<String>,
    pub(super) reads: Reads,
    query: Option<Expr>,
    /// How old all rows are at most, in one row.
    oldest: Option<Oldest>,
    last: Mutex<Last>,
    counts: Option<(String, Vec<Selector>)>,
    interval: Mutex<Interval>,
}

/// As [`rewrite::Oldest`].
#[derive(Debug)]
struct Oldest {
    text: String,
    with_youngest: String,
    is_of_samples: bool,
    /// Whether ranges are read, whose ages are dear also where there are few rows.
    looks_back: bool,
}

/// What the last answer told.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    rows: usize,
    /// How long it took.
    taken: Duration,
    /// Whether all rows were as young as those of series that go on, and none had ended.
    is_calm: bool,
    /// Whether all samples were of one time.
    is_of_one_time: bool,
}

/// What is known of the distance of the samples that a query reads.
#[derive(Debug, Default)]
struct Interval {
    asked: Option<Moment>,
    longest: Option<Duration>,
    warnings: Arc<[String]>,
}

/// What the companions answered; `None`: not asked, or not answered in time.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) oldest: Option<Result<Part, String>>,
    pub(super) ages: Option<Result<Part, String>>,
    pub(super) live: Option<Result<Part, String>>,
    pub(super) branches: Option<Result<Part, String>>,
}

/// When a query was asked, and how long ago that was when its answer was complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Timestamp,
    pub(super) since: Duration,
    /// How long the query alone took.
    pub(super) taken: Duration,
}

/// The plans of the queries that were asked, by their text.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<HashMap<Box<str>, Arc<Plan>>>);

/// Where the rows of a companion are, by labels without the metric name.
struct Rows<'a> {
    rows: Vec<(Labels<'a>, f64)>,
    /// Behind the one that was found last.
    next: Cell<usize>,
    /// By the hashes of labels; made where the rows are in another order than the query's.
    index: OnceCell<HashMap<u64, Vec<usize>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Plans ===

impl Plans {
    pub(super) fn of(&self, query: &str) -> Arc<Plan> {
        let mut plans = lock(&self.0);
        if let Some(plan) = plans.get(query) {
            return Arc::clone(plan);
        }
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        let plan = Arc::new(Plan::new(query));
        plans.insert(query.into(), Arc::clone(&plan));
        plan
    }
}

// === impl Plan ===

impl Plan {
    fn new(query: &str) -> Self {
        let tree = match fleetgauge_syntax::parse(query) {
            Ok(tree) => tree,
            Err(error) => {
                let why = match error.is_own_refusal() {
                    true => "no other query can be made of it",
                    false => "the query is not PromQL as Prometheus has it",
                };
                return Self {
                    ages: Ages::Unknown(format!("{why} ({error})")),
                    live: None,
                    branches: None,
                    reads: Reads::default(),
                    query: None,
                    oldest: None,
                    last: Mutex::default(),
                    counts: None,
                    interval: Mutex::default(),
                };
            }
        };
        let ages = match rewrite::age(&tree, Newest::Subquery) {
            rewrite::Age::Exact(rows) => Ages::Exact(rows.to_string()),
            rewrite::Age::Bound(oldest) => Ages::Bound(oldest.to_string()),
            rewrite::Age::Ageless => Ages::Ageless,
        };
        let looks_back = rewrite::looks_back(&tree);
        let live = match (&ages, looks_back) {
            (_, false) | (Ages::Ageless | Ages::Unknown(_), _) => None,
            (Ages::Exact(_), true) => rewrite::reporting(&tree),
            (Ages::Bound(_), true) => rewrite::ended(&tree, Newest::Subquery),
        };
        let counts = rewrite::sample_counts(&tree);
        let oldest = rewrite::oldest(&tree).map(|oldest| Oldest {
            text: oldest.expr.to_string(),
            with_youngest: oldest.with_youngest.to_string(),
            is_of_samples: oldest.is_of_samples,
            looks_back,
        });
        Self {
            ages,
            live: live.map(|rows| rows.to_string()),
            branches: rewrite::branch(&tree).map(|rows| rows.to_string()),
            reads: Reads::of(&tree),
            counts: counts.map(|counts| (counts.expr.to_string(), counts.selectors)),
            query: Some(tree),
            oldest,
            last: Mutex::default(),
            interval: Mutex::default(),
        }
    }

    /// What is asked in the place of the ages of all rows, where it is dearer to ask for each and that told nothing
    /// before: no row is older than what comes back. Whether that is enough, [`is_enough`](Self::is_enough) tells.
    ///
    /// Not before it is known how far samples are apart: what is older than usual has to be told from what is not.
    pub(super) fn oldest(&self) -> Option<&str> {
        let oldest = self.oldest.as_ref()?;
        let last = *lock(&self.last);
        let is_dear = oldest.looks_back || last.rows > FEW_ROWS;
        if !is_dear || !last.is_calm || self.usual_age().is_none() {
            return None;
        }
        Some(match last.is_of_one_time && oldest.is_of_samples {
            true => &oldest.with_youngest,
            false => &oldest.text,
        })
    }

    /// How long the last answer took, and so may what is asked beside it, where it is known and that much that other
    /// questions may be asked together with it.
    pub(super) fn cost(&self) -> Option<Duration> {
        let last = *lock(&self.last);
        (last.rows > 0 && last.taken < MAX_COST).then_some(last.taken)
    }

    /// As [`cost`](Self::cost), of what tells of each row, where those were few.
    pub(super) fn cost_of_rows(&self) -> Option<Duration> {
        self.cost().filter(|_| lock(&self.last).rows <= FEW_ROWS)
    }

    /// Up to which age the newest sample of a series is that goes on, and that a scrape may have been late for.
    fn usual_age(&self) -> Option<Duration> {
        let longest = lock(&self.interval).longest?;
        Some((longest.saturating_mul(3) / 2).min(MAX_USUAL_AGE))
    }

    /// Whether no row can have ended or be older than usual, so that it need not be asked how old each is.
    pub(super) fn is_enough(&self, told: &Told, at: Timestamp) -> bool {
        let oldest = self.told_oldest(told);
        let age =
            oldest.and_then(|(oldest, _)| Age::between(Timestamp::from_secs_f64(oldest), at).duration());
        age.zip(self.usual_age()).is_some_and(|(age, usual)| age <= usual)
    }

    /// The time of the oldest sample, and whether all rows are of that time.
    fn told_oldest(&self, told: &Told) -> Option<(f64, bool)> {
        let oldest = self.oldest.as_ref()?;
        let rows = usable(told.oldest.as_ref()).ok()?;
        let row = |name: &str| {
            let mut rows = rows.rows().filter(|(labels, _)| labels.get(TOLD) == Some(name));
            let (_, value) = rows.next()?;
            (rows.next().is_none() && value.is_finite()).then_some(value)
        };
        let time = row(OLDEST)?;
        Some((time, oldest.is_of_samples && row(YOUNGEST) == Some(time)))
    }

    /// Remembers what an answer has told.
    fn note(&self, answer: &Answer, taken: Duration) {
        let Some(provenance) = answer.provenance() else {
            return;
        };
        let usual = self.usual_age();
        let rows = answer.series().len();
        let ages = || (0..rows).map(|row| provenance.age(row));
        let is_usual =
            |age: Age| !age.is_ended() && age.duration().zip(usual).is_some_and(|(age, usual)| age <= usual);
        *lock(&self.last) = Last {
            rows,
            taken,
            is_calm: ages().all(is_usual),
            is_of_one_time: ages().all(|age| age == provenance.age(0) && age.kind() != AgeKind::AtMost),
        };
    }

    /// What is asked beside the query at every refresh: `oldest` in the place of the ages of its rows, or those (`rows`),
    /// or where that was not enough, both.
    pub(super) fn texts<'a>(
        &'a self,
        companions: Companions,
        oldest: Option<&'a str>,
        rows: bool,
    ) -> impl Iterator<Item = &'a str> {
        let ages = match &self.ages {
            Ages::Exact(text) | Ages::Bound(text) => Some(text),
            Ages::Ageless | Ages::Unknown(_) => None,
        };
        let of_ages = [ages, self.live.as_ref()].map(|text| text.filter(|_| companions.ages && rows));
        let branches = self.branches.as_ref().filter(|_| companions.branches);
        let texts = of_ages.into_iter().chain([branches]).flatten();
        oldest.into_iter().chain(texts.map(String::as_str))
    }

    /// What counts samples, where it is time to ask for it; whoever is given it asks.
    pub(super) fn counts_due(&self, now: Moment) -> Option<&str> {
        let (text, _) = self.counts.as_ref()?;
        let mut interval = lock(&self.interval);
        let is_due = |asked: Moment| now.saturating_since(asked) >= COUNT_EVERY;
        if !interval.asked.is_none_or(is_due) {
            return None;
        }
        interval.asked = Some(now);
        Some(text)
    }

    /// Learns how far samples are apart. Where that is not told now, it is known no more.
    pub(super) fn learn(&self, counts: Option<&Answer>) {
        let (Some(query), Some((_, selectors))) = (&self.query, &self.counts) else {
            return;
        };
        let counts = counts.filter(|counts| counts.is_complete());
        let mut intervals = vec![None; selectors.len()];
        for row in counts.iter().flat_map(|counts| counts.values()) {
            let index = row
                .labels
                .get(SELECTOR)
                .and_then(|index| index.parse::<usize>().ok());
            let interval = index.and_then(|index| intervals.get_mut(index));
            if let (Some(interval), true) = (interval, row.value >= 1.0) {
                let millis = COUNTED_MILLIS as f64 / row.value;
                *interval = Some(Duration::from_millis(millis as u64));
            }
        }
        let of = |selector: &Selector| {
            let same = selectors.iter().position(|known| known.is_same(selector));
            same.and_then(|index| intervals[index])
        };
        let short = short_windows(query, of);
        let warnings: Arc<[String]> = short.iter().map(ToString::to_string).collect();
        let mut known = lock(&self.interval);
        if *warnings != *known.warnings {
            for warning in &*warnings {
                tracing::warn!(%warning, "a window is too short");
            }
        }
        known.warnings = warnings;
        known.longest = intervals.into_iter().flatten().max();
    }

    /// `answer` with all that was told of it. `is_recorded` says whether recorded samples may be among those it reads.
    pub(super) fn tell(
        &self,
        answer: Answer,
        told: &Told,
        asked: Asked,
        companions: Companions,
        is_recorded: bool,
    ) -> Answer {
        let mut answer = answer;
        if matches!(answer.kind(), AnswerKind::Vector | AnswerKind::Scalar) && !answer.is_no_data() {
            if companions.ages {
                answer = self.with_ages(answer, told, asked, is_recorded);
                self.note(&answer, asked.taken);
            }
            if companions.branches && self.branches.is_some() {
                answer = with_branches(answer, told);
            }
        }
        let (longest, warnings) = {
            let interval = lock(&self.interval);
            (interval.longest, Arc::clone(&interval.warnings))
        };
        for warning in &*warnings {
            answer = answer.with_warning(warning);
        }
        match longest {
            Some(longest) => answer.with_sample_interval(longest),
            None => answer,
        }
    }

    fn with_ages(&self, answer: Answer, told: &Told, asked: Asked, is_recorded: bool) -> Answer {
        let rows = answer.series().len();
        let had = asked.at.saturating_add(asked.since);
        let age = |seconds: f64, is_bound: bool| {
            if seconds == f64::INFINITY {
                return Age::AGELESS;
            }
            if !seconds.is_finite() {
                return Age::UNKNOWN;
            }
            let age = Age::between(Timestamp::from_secs_f64(seconds), had);
            match (age.duration(), is_bound, is_recorded) {
                (Some(age), true, true) => Age::around(age),
                (Some(age), true, false) => Age::at_most(age),
                (Some(age), false, true) => Age::at_least(age),
                _ => age,
            }
        };
        let unknown = |answer: Answer, why: &str| {
            answer
                .with_ages(Vec::new())
                .with_warning(&format!("how old the values are is not known: {why}"))
        };
        if let (None, Some((oldest, is_of_all))) = (&told.ages, self.told_oldest(told)) {
            return answer.with_ages(vec![age(oldest, !is_of_all); rows]);
        }
        let of_ages = match (&self.ages, &told.ages) {
            (Ages::Ageless, _) => return answer.with_ages(vec![Age::AGELESS; rows]),
            (Ages::Unknown(why), _) => return unknown(answer, why),
            (_, told) => match usable(told.as_ref()) {
                Ok(ages) => ages,
                Err(why) => return unknown(answer, why),
            },
        };
        if matches!(self.ages, Ages::Bound(_)) {
            let ended = self.live.as_ref().map(|_| usable(told.live.as_ref()));
            let has_ended = match ended.transpose() {
                Ok(ended) => ended.is_some_and(|ended| ended.rows().next().is_some()),
                Err(why) => return unknown(answer, why),
            };
            // Whose it is cannot be told, so it may be any of them.
            let age = match of_ages.rows().next() {
                Some((_, oldest)) => age(oldest, true),
                None => return unknown(answer, "the companion has no row"),
            };
            let age = if has_ended { age.with_ended() } else { age };
            return answer.with_ages(vec![age; rows]);
        }
        if self.reads.may_be_any && differ_by_name_alone(&answer) {
            return unknown(answer, "some of them differ by their metric names alone");
        }
        let of_ages = Rows::of(of_ages);
        let live = self.live.as_ref().map(|_| usable(told.live.as_ref()));
        let (live, why_not) = match live {
            None => (None, None),
            Some(Ok(live)) => (Some(Rows::of(live)), None),
            Some(Err(why)) => (None, Some(why)),
        };
        let ages = answer.series().map(|series| {
            let newest = of_ages.get(series.labels());
            let live = live.as_ref().map(|live| live.get(series.labels()));
            match (newest, live) {
                // Steps of a subquery tell when a series ended: it may have been later, by as much as a step.
                (Some(newest), Some(None)) => age(newest, true).with_ended(),
                // One that contributes is older than all that go on.
                (Some(newest), Some(Some(live))) if newest < live => age(newest, true).with_ended(),
                (Some(newest), Some(Some(_))) => age(newest, false),
                (Some(newest), None) => age(newest, false),
                (None, Some(None)) => Age::UNKNOWN.with_ended(),
                (None, _) => Age::UNKNOWN,
            }
        });
        let mut ages: Vec<Age> = ages.collect();
        let mut warnings = Vec::new();
        if let Some(why) = why_not {
            // A value whose series has ended would look as if it had not.
            ages.fill(Age::UNKNOWN);
            warnings.push(format!("how old the values are is not known: {why}"));
        } else {
            let missing = ages.iter().filter(|age| age.kind() == AgeKind::Unknown).count();
            if missing > 0 {
                warnings.push(format!(
                    "how old {missing} of the {rows} values are is not known: the companion has no such rows"
                ));
            }
        }
        drop((of_ages, live));
        let answer = answer.with_ages(ages);
        warnings
            .iter()
            .fold(answer, |answer, warning| answer.with_warning(warning))
    }
}

fn with_branches(answer: Answer, told: &Told) -> Answer {
    let branches = match usable(told.branches.as_ref()) {
        Ok(branches) => Rows::of(branches),
        Err(why) => {
            return answer.with_warning(&format!("which side of an `or` answered is not known: {why}"));
        }
    };
    let of = |labels: Labels<'_>| {
        let number = branches.get(labels)?;
        let is_whole = number >= 1.0 && number < f64::from(u16::MAX) && number.fract() == 0.0;
        is_whole.then(|| number as u16 - 1)
    };
    let numbers = answer.series().map(|series| of(series.labels())).collect();
    answer.with_branches(numbers)
}

/// What a companion answered, if it can be relied on.
///
/// *Errors*: why not.
fn usable(told: Option<&Result<Part, String>>) -> Result<&Part, &str> {
    let part = told
        .ok_or("the companion was not answered in time")?
        .as_ref()
        .map_err(String::as_str)?;
    let answer = part.answer();
    if !answer.is_complete() {
        let warning = answer.warnings().next();
        return Err(warning.unwrap_or("the companion's answer is partial"));
    }
    match answer.kind() {
        AnswerKind::Vector | AnswerKind::Scalar => Ok(part),
        _ => Err("the companion's answer is not a vector"),
    }
}

// === impl Rows ===

impl<'a> Rows<'a> {
    fn of(part: &'a Part) -> Self {
        Self {
            rows: part.rows().collect(),
            next: Cell::new(0),
            index: OnceCell::new(),
        }
    }

    /// The value of the row with these labels, the metric name aside.
    fn get(&self, labels: Labels<'_>) -> Option<f64> {
        // Mostly the companion's rows are in the order of the query's.
        let next = self.next.get();
        if let Some((known, value)) = self.rows.get(next)
            && nameless(*known).eq(nameless(labels))
        {
            self.next.set(next + 1);
            return Some(*value);
        }
        let index = self.index.get_or_init(|| {
            let mut index: HashMap<u64, Vec<usize>> = HashMap::with_capacity(self.rows.len());
            for (row, (labels, _)) in self.rows.iter().enumerate() {
                index.entry(hash(*labels)).or_default().push(row);
            }
            index
        });
        let mut candidates = index.get(&hash(labels))?.iter().copied();
        let row = candidates.find(|&row| nameless(self.rows[row].0).eq(nameless(labels)))?;
        self.next.set(row + 1);
        Some(self.rows[row].1)
    }
}

/// Without the metric name, which no companion keeps, and what is told by which question was asked.
fn nameless<'l>(labels: Labels<'l>) -> impl Iterator<Item = (&'l str, &'l str)> + Clone {
    labels
        .iter()
        .filter(|(name, _)| *name != METRIC_NAME && *name != ASKED)
}

fn hash(labels: Labels<'_>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    nameless(labels).for_each(|pair| pair.hash(&mut hasher));
    hasher.finish()
}

/// Whether some rows differ by their metric names alone, so that one row of a companion would stand for several.
fn differ_by_name_alone(answer: &Answer) -> bool {
    let mut seen = HashSet::with_capacity(answer.len());
    let mut names = answer.series().map(|series| series.labels());
    names.any(|labels| !seen.insert(nameless(labels).collect::<Vec<_>>()))
}
