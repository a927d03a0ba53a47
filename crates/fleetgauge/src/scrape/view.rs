//! What a query reads: the window, and what is wrong with the targets behind it.

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::label::METRIC_NAME;
use fleetgauge_core::target::TargetLabels;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::exposition::Wanted;
use fleetgauge_promql::matcher::{MatchOp, Matcher};
use fleetgauge_promql::missing::{Missing, Read};
use fleetgauge_promql::queryable::{Queryable, Selection};
use fleetgauge_promql::window::Window;

use super::active::{ActiveTarget, Lagging};
use super::gap::Gap;
use super::page::REPORTED;

/// The window as a query reads it, with what is known to be missing from it now.
pub(super) struct View {
    window: Window,
    /// The metrics that are kept, if not all.
    wanted: Option<Wanted>,
    gaps: Vec<Gap>,
    /// The targets, and whether each has been scraped in time.
    targets: Vec<(Arc<ActiveTarget>, bool)>,
    too_early: Option<TooEarly>,
}

/// A time that is asked for, and before what is kept.
#[derive(Clone, Copy)]
pub(super) struct TooEarly {
    pub(super) asked: Timestamp,
    pub(super) kept_since: Timestamp,
}

/// A target whose values are not those of now, in words.
pub(super) struct Late<'a> {
    pub(super) active: &'a ActiveTarget,
    pub(super) lagging: &'a Lagging,
}

impl fmt::Display for Late<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.active.target;
        write!(f, "target {target} ({}): ", target.url())?;
        if self.lagging.is_gone {
            return f.write_str("it went just now, and what comes in its place is not known yet");
        }
        match &self.lagging.error {
            Some(error) => write!(f, "{error}")?,
            None => f.write_str("not scraped in time")?,
        }
        match self.lagging.age {
            Some(age) => write!(f, "; its values are {:.1} s old", age.as_secs_f64()),
            None => f.write_str("; it was never scraped with success"),
        }
    }
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

// === impl View ===

impl View {
    pub(super) fn new(
        window: Window,
        wanted: Option<Wanted>,
        gaps: Vec<Gap>,
        targets: Vec<(Arc<ActiveTarget>, bool)>,
    ) -> Self {
        Self {
            window,
            wanted,
            gaps,
            targets,
            too_early: None,
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
}

impl Queryable for View {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Queryable::select(&self.window, matchers, from, to)
    }

    fn missing(&self, read: Read<'_>, into: &mut Missing) {
        self.window.missing(read, into);
        if let Some(too_early) = self.too_early {
            into.add(too_early);
        }
        let is_reported = read.metric().is_some_and(|metric| REPORTED.contains(&metric));
        // Where exposed labels win, series may have any others than their target's.
        let keeps_labels = !self.window.config().honor_labels;
        let may_select = |labels: &TargetLabels| {
            let labels = labels.iter().filter(|_| keeps_labels);
            read.may_select(None, labels.map(|(n, v)| (n.as_str(), v.as_str())))
        };
        for gap in self.gaps.iter().filter(|gap| may_select(&gap.labels)) {
            into.add(&gap.reason);
        }
        // As they are now, after all has been read: one may have gone meanwhile.
        for (active, in_time) in &self.targets {
            if let Some(lagging) = active.lagging(*in_time)
                && !(is_reported && lagging.is_reported)
                && may_select(active.target.labels())
            {
                let lagging = &lagging;
                into.add(Late { active, lagging });
            }
        }
        if let Some(wanted) = &self.wanted {
            missing_names(wanted, read.matchers, into);
        }
    }
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
