//! Targets whose numbers nobody could join with a pod.

use fleetgauge::doctor::{Finding, Severity};
use fleetgauge::scrape::ScrapeSource;
use fleetgauge_core::printable::Excerpt;

/// What names a pod.
const NEEDED: [&str; 2] = ["namespace", "pod"];

/// Says of a source whether targets of it lack what names their pods, after relabeling.
pub(super) fn examine(source: &ScrapeSource) -> Vec<Finding> {
    let targets = source.targets();
    let findings = NEEDED.into_iter().filter_map(|label| {
        let lacks = |labels: &fleetgauge_core::target::TargetLabels| labels.get(label).is_none_or(String::is_empty);
        let lacking: Vec<_> = targets.iter().filter(|target| lacks(&target.labels)).collect();
        let first = lacking.first()?;
        let what = format!(
            "{} of {} targets have no label {label} after relabeling, {} among them: unless their pages have it, whose pods they \
             are cannot be told, and numbers by variant are without them",
            lacking.len(),
            targets.len(),
            Excerpt(&first.url)
        );
        let advice = format!(
            "pods that `discovery: [{{kubernetes: …}}]` finds have it, unless relabel_configs drop it; others get it by `labels` of \
             static or file targets, or by a rule:\n  - {{source_labels: [SOME_LABEL], target_label: {label}}}"
        );
        Some(Finding::new("targets", Severity::Warning, what).advice(advice))
    });
    findings.collect()
}
