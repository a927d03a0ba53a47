//! What a query reads: the window, and what is wrong with the targets behind it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::completeness::{Completeness, Report};
use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::pod::PodIdentity;
use fleetgauge_core::target::TargetLabels;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::exposition::Wanted;
use fleetgauge_promql::matcher::{MatchOp, Matcher};
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::{Queryable, Selection};
use fleetgauge_promql::window::Window;

use super::active::{ActiveTarget, Done};
use super::config::ScrapeConfig;
use super::gap::{Gap, GapReason};
use super::page::REPORTED;
use super::pool::Known;

/// The window as a query reads it, with what is known to be missing from it now.
pub(super) struct View {
    window: Window,
    config: Arc<ScrapeConfig>,
    gaps: Arc<[Gap]>,
    /// Why there are no targets, if there are none.
    none: Option<Arc<str>>,
    /// The targets that may have what is read.
    targets: Vec<Asked>,
    too_early: Option<TooEarly>,
    now: Timestamp,
}

/// A target that may have what is read.
struct Asked {
    active: Arc<ActiveTarget>,
    /// Whether it has been scraped in time.
    in_time: bool,
    /// When the newest page is dated that a query can read for sure.
    newest: Option<Timestamp>,
}

/// A time that is asked for, and before what is kept.
#[derive(Clone, Copy)]
pub(super) struct TooEarly {
    pub(super) asked: Timestamp,
    pub(super) kept_since: Timestamp,
}

impl fmt::Display for TooEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, kept_since } = self;
        write!(
            f,
            "times from {asked} on are asked for, and samples are kept only since {kept_since}"
        )
    }
}

/// By how much the clock that a query's time is from may be ahead.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5);

/// The label that tells targets apart.
const INSTANCE: &str = "instance";

/// The labels that all targets should have, and queries ask for. Others differ from metric to metric.
const OF_TARGETS: [&str; 2] = ["namespace", "pod"];

/// The instances that have had series of each read, by where its matchers are; looked for where that is asked.
#[derive(Default)]
struct Exposed(RefCell<HashMap<usize, HashSet<Option<Box<str>>>>>);

// === impl View ===

impl View {
    pub(super) fn new(
        window: Window,
        config: Arc<ScrapeConfig>,
        known: &Known,
        targets: Vec<(Arc<ActiveTarget>, bool)>,
        now: Timestamp,
    ) -> Self {
        let asked = |(active, in_time): (Arc<ActiveTarget>, bool)| Asked {
            newest: active.newest_at(),
            active,
            in_time,
        };
        let targets = targets.into_iter().map(asked).collect();
        Self {
            window,
            config,
            gaps: Arc::clone(&known.gaps),
            none: known.none.clone(),
            targets,
            too_early: None,
            now,
        }
    }

    /// Over times of which the first is `asked`, while samples are kept since `kept_since`.
    pub(super) fn from(mut self, asked: Timestamp, kept_since: Timestamp) -> Self {
        self.too_early = (asked < kept_since).then_some(TooEarly { asked, kept_since });
        self
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Whether `read` may select series of a target with `labels`.
    fn may_select(&self, read: &Read<'_>, labels: &TargetLabels) -> bool {
        // Where exposed labels win, series may have any others than their target's.
        let keeps_labels = !self.window.config().honor_labels;
        let labels = labels.iter().filter(|_| keeps_labels);
        read.may_select(None, labels.map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

impl View {
    /// Warns of a read that has no series, since all that it could have lack a label that it asks for.
    fn lost_label(&self, read: &Read<'_>, into: &mut Missing) {
        let Some(metric) = read.metric() else { return };
        let of_name = |matcher: &&Matcher| matcher.name() == METRIC_NAME;
        let is_of_target = |matcher: &&Matcher| OF_TARGETS.contains(&matcher.name());
        let asked = read
            .matchers
            .iter()
            .filter(is_of_target)
            .filter(|matcher| !matcher.matches_value(""));
        let mut asked = asked.peekable();
        if asked.peek().is_none() || !self.window.select(read.matchers, read.from, read.to).is_empty() {
            return;
        }
        let by_name: Vec<_> = read.matchers.iter().filter(of_name).cloned().collect();
        let series = self.window.select(&by_name, read.from, read.to);
        let has = |label: &str| series.iter().any(|series| series.labels().get(label).is_some());
        if let (false, Some(lost)) = (series.is_empty(), asked.find(|matcher| !has(matcher.name()))) {
            let label = lost.name();
            into.warn(format_args!(
                "no series of {metric} has the label {label}, which the query asks for: is it lost in relabeling, or not set by \
                 discovery?"
            ));
        }
    }
}

impl Queryable for View {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Queryable::select(&self.window, matchers, from, to)
    }

    fn missing(&self, reads: &[Read<'_>], into: &mut Missing) {
        Queryable::missing(&self.window, reads, into);
        if let (Some(too_early), false) = (self.too_early, reads.is_empty()) {
            into.add(too_early);
        }
        // What has no samples there has none yet, which is no zero.
        let latest = self.now.saturating_add(CLOCKS_DIFFER_BY);
        for read in reads.iter().filter(|read| read.since > latest) {
            let metric = read.metric().unwrap_or("what is selected");
            let ahead = read.since.saturating_since(self.now).as_secs();
            into.add(format_args!(
                "{metric} is asked for at a time {ahead} s ahead: what there will be then is not known"
            ));
        }
        if let Some(wanted) = &self.config.wanted {
            reads
                .iter()
                .for_each(|read| missing_names(wanted, read.matchers, into));
        }
        reads.iter().for_each(|read| self.lost_label(read, into));
        let mut completeness = Completeness::known();
        for gap in self.gaps.iter() {
            if reads.iter().any(|read| self.may_select(read, &gap.labels)) {
                let is_none_ready = matches!(gap.reason, GapReason::NoneReady { .. });
                let label = |name: &str| gap.labels.get(name).map(String::as_str);
                let pod = PodIdentity::of(label).filter(|_| !self.window.config().honor_labels);
                let why = gap.reason.to_string();
                let report = match gap.reason.is_of_starting() {
                    true => Report::Starting(&why),
                    false => Report::Missing(&why),
                };
                match (&gap.who, pod) {
                    (Some(who), Some(pod)) => completeness.add_pod(&Arc::new(pod), who, report),
                    (Some(who), None) => completeness.add(who, report),
                    // Nothing is missing that is ready.
                    (None, _) if is_none_ready => {}
                    (None, _) => into.add(&gap.reason),
                }
                if gap.reason.is_of_discovery() || is_none_ready {
                    completeness.merge(&Completeness::unknown());
                }
            }
        }
        let alike = alike(reads);
        let mut of_it: Vec<Read<'_>> = Vec::new();
        let exposed = Exposed::default();
        // As they are now, after all has been read: one may have gone meanwhile.
        for Asked {
            active,
            in_time,
            newest,
        } in &self.targets
        {
            let labels = active.target.labels();
            of_it.clear();
            for reads in &alike {
                if self.may_select(&reads[0], labels) {
                    of_it.extend(reads);
                }
            }
            if of_it.is_empty() {
                continue;
            }
            let has_exposed = |read: &Read<'_>| exposed.has(&self.window, read, labels);
            let done = active.done(*in_time, *newest, &of_it, &self.config, has_exposed);
            let why = done.why().map(ToString::to_string).unwrap_or_default();
            let report = match done {
                Done::Nothing => continue,
                Done::Reported => Report::Reported,
                Done::Missing(_) => Report::Missing(&why),
                Done::Short(_) => Report::Short(&why),
                Done::Starting(_) => Report::Starting(&why),
            };
            let who = match report {
                Report::Reported => String::new(),
                _ => active.target.to_string(),
            };
            // Where exposed labels win, its rows may be of other pods.
            match &active.pod {
                Some(pod) if !self.window.config().honor_labels => completeness.add_pod(pod, &who, report),
                _ => completeness.add(&who, report),
            }
        }
        if !reads.is_empty() {
            if let Some(none) = &self.none {
                into.warn(none);
            }
            // Nobody is expected, but that is not the same as nobody being there.
            if completeness.expected() == Some(0) && completeness.starting().count() > 0 {
                into.warn(format_args!("no target has reported yet: {completeness}"));
            }
            into.count(&completeness);
        }
    }
}

// === impl Exposed ===

impl Exposed {
    /// Whether a target with `labels` has ever had a series that `read` selects, as far as its instance tells it from others.
    fn has(&self, window: &Window, read: &Read<'_>, labels: &TargetLabels) -> bool {
        let (false, Some(instance)) = (window.config().honor_labels, labels.get(INSTANCE)) else {
            return true;
        };
        let mut instances = self.0.borrow_mut();
        let of_read = instances
            .entry(read.matchers.as_ptr() as usize)
            .or_insert_with(|| {
                let all = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
                let series = window.select(read.matchers, all.0, all.1);
                let instances = series
                    .iter()
                    .map(|series| series.labels().get(INSTANCE).map(Box::from));
                instances.collect()
            });
        of_read.contains(&Some(Box::from(&**instance)))
    }
}

/// The reads, those together that select the same targets: the selectors of a query mostly differ in the metric alone.
fn alike<'a>(reads: &[Read<'a>]) -> Vec<Vec<Read<'a>>> {
    let others = |read: &Read<'a>| {
        let others = read
            .matchers
            .iter()
            .filter(|matcher| matcher.name() != METRIC_NAME);
        others.map(|matcher| (matcher.name(), matcher.op(), matcher.value()))
    };
    let mut alike: Vec<Vec<Read<'a>>> = Vec::new();
    for read in reads {
        match alike.iter_mut().find(|known| others(&known[0]).eq(others(read))) {
            Some(known) => known.push(*read),
            None => alike.push(vec![*read]),
        }
    }
    alike
}

/// Adds the metrics that a selector may mean and that are not kept.
fn missing_names(wanted: &Wanted, matchers: &[Matcher], into: &mut Missing) {
    // No selector of PromQL is without a condition: that is the query for all that is kept.
    if matchers.is_empty() {
        return;
    }
    let of_name = || matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME);
    let Some(names) = of_name().find_map(listed) else {
        let selector: Vec<_> = matchers.iter().map(ToString::to_string).collect();
        let selector = selector.join(",");
        into.add(format_args!(
            "only some metrics are kept (wanted), and {{{selector}}} may mean others"
        ));
        return;
    };
    for metric in names {
        let is_kept = REPORTED.contains(&metric) || wanted.selects(metric);
        if !is_kept && of_name().all(|matcher| matcher.matches_value(metric)) {
            into.add(format_args!(
                "{metric:?} is not among the metrics that are kept (wanted)"
            ));
        }
    }
}

/// The values that fit, where the condition lists them: `="a"`, or `=~"a|b"` of plain names.
fn listed(matcher: &Matcher) -> Option<Vec<&str>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '|');
    let value = matcher.value();
    match matcher.op() {
        MatchOp::Equal => Some(vec![value]),
        MatchOp::Regex if value.chars().all(is_plain) => Some(value.split('|').collect()),
        _ => None,
    }
}
