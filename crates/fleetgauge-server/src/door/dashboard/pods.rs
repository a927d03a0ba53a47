//! The fleet at a glance: a cell a pod, coloured by how full it is.

use std::collections::{BTreeMap, HashMap};

use fleetgauge::scrape::{TargetHealth, TargetStatus};
use fleetgauge_core::label::Labels;
use fleetgauge_core::pod::VARIANT_LABEL;
use fleetgauge_core::printable::Printable;
use fleetgauge_core::result::Answer;
use fleetgauge_core::time::Timestamp;
use fleetgauge_core::variant::{PodIndex, PodRef, VariantRef};
use maud::{Markup, html};

use super::page::targets_address;
use super::words::{Lasting, Quantity};

/// How full each pod is, by the KV cache of its engine: the fullest of its ranks.
pub(super) const FILL: &str = r#"max by (instance) ({__name__=~"vllm:kv_cache_usage_perc|vllm:gpu_cache_usage_perc|sglang:token_usage|trtllm_kv_cache_utilization|ray_vllm_kv_cache_usage_perc|ray_vllm:kv_cache_usage_perc|llamacpp:kv_cache_usage_ratio"})"#;

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// It was never asked, or is now for the first time.
    Unknown,
    /// Its last scrape failed.
    Failing,
    /// It fails for so long that its values are gone.
    Stale,
}

/// So many pods are shown; more would be no glance.
const MAX_CELLS: usize = 2_000;

// === impl State ===

impl State {
    pub(super) fn of(target: &TargetStatus) -> Self {
        match target.health {
            _ if target.is_stale => Self::Stale,
            TargetHealth::Up => Self::Up,
            TargetHealth::Down => Self::Failing,
            TargetHealth::Unknown => Self::Unknown,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unknown => "unknown",
            Self::Failing => "failing",
            Self::Stale => "stale",
        }
    }

    /// In words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unknown => "not asked yet",
            Self::Failing => "failing",
            Self::Stale => "failing, values gone",
        }
    }
}

/// How full pods are, by their instance.
pub(super) fn fills(answer: &Answer) -> HashMap<String, f64> {
    let instance = |labels: Labels<'_>| labels.get("instance").map(str::to_owned);
    answer
        .values()
        .filter_map(|row| Some((instance(row.labels)?, row.value)))
        .collect()
}

/// Why a target is not up, if so.
pub(super) fn why(target: &TargetStatus, now: Timestamp) -> Option<String> {
    match (&target.last_error, &target.problem) {
        (Some(failure), _) => {
            let lasting = Lasting(now.saturating_since(failure.since));
            Some(format!("{} (for {lasting})", Printable(&failure.to_string())))
        }
        (None, Some(problem)) => Some(Printable(problem).to_string()),
        (None, None) => None,
    }
}

/// What a target is called.
pub(super) fn name(target: &TargetStatus) -> &str {
    let label = |name: &str| target.labels.get(name).map(String::as_str);
    label("pod").or_else(|| label("instance")).unwrap_or(&target.url)
}

/// The cells of these targets, by variant.
pub(super) fn grid(
    targets: &[TargetStatus],
    index: &dyn PodIndex,
    fills: &HashMap<String, f64>,
    now: Timestamp,
) -> Markup {
    let mut groups: BTreeMap<String, Vec<&TargetStatus>> = BTreeMap::new();
    for target in targets.iter().take(MAX_CELLS) {
        groups.entry(group(target, index)).or_default().push(target);
    }
    html! {
        h2 { "Pods" }
        @if targets.is_empty() {
            p .empty { "Nothing is scraped here: there are no targets." }
        } @else {
            ul .legend {
                li { i .f1 {} i .f4 {} i .f7 {} i .f10 {} " KV cache, empty to full" }
                li { i .nofill {} " does not tell it" }
                li { i .unknown {} " not asked yet" }
                li { i .failing {} " failing" }
                li { i .stale {} " failing, values gone" }
            }
        }
        div .groups {
            @for (group, targets) in groups {
                @let well = targets.iter().filter(|target| State::of(target) == State::Up).count();
                div {
                    h3 { (group) " " small { (well) " of " (targets.len()) " up" } }
                    div .grid { @for target in targets { (cell(target, fills, now)) } }
                }
            }
        }
        @if targets.len() > MAX_CELLS {
            p .empty { "and " (targets.len() - MAX_CELLS) " more, which the page of targets shows" }
        }
    }
}

fn cell(target: &TargetStatus, fills: &HashMap<String, f64>, now: Timestamp) -> Markup {
    let (state, name) = (State::of(target), name(target));
    let fill = target
        .labels
        .get("instance")
        .and_then(|instance| fills.get(instance))
        .filter(|fill| state == State::Up && fill.is_finite());
    let class = match (state, fill) {
        // The last step is kept for what is full.
        (State::Up, Some(fill)) => format!("f{}", (fill.clamp(0.0, 1.0) * 10.0).floor()),
        (State::Up, None) => "nofill".to_owned(),
        (state, _) => state.class().to_owned(),
    };
    let fill = fill.map(|&value| {
        let unit = "ratio";
        format!("{}", Quantity { value, unit })
    });
    let told = match (fill, why(target, now)) {
        (Some(fill), None) => fill,
        (Some(fill), Some(why)) => format!("{fill}; {why}"),
        (None, Some(why)) => format!("{}: {why}", state.as_str()),
        (None, None) => state.as_str().to_owned(),
    };
    html! {
        a class=(class) href=(targets_address(name)) title={ (Printable(name)) ": " (told) } {}
    }
}

/// Whose pod it is.
fn group(target: &TargetStatus, index: &dyn PodIndex) -> String {
    let label = |name: &str| target.labels.get(name).map(String::as_str);
    let Some(pod) = label("pod") else {
        return "no pods".to_owned();
    };
    let namespace = label("namespace").unwrap_or_default();
    let labelled = label(VARIANT_LABEL).and_then(|variant| VariantRef::new(namespace, variant).ok());
    let pod = PodRef::new(pod).in_namespace(namespace);
    match index.variant_of(pod, labelled.as_ref()).variant() {
        Some(variant) => format!("{}/{}", variant.namespace(), variant.name()),
        None if namespace.is_empty() => "of no variant".to_owned(),
        None => format!("{}, of no variant", Printable(namespace)),
    }
}
