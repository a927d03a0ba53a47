//! The page of what is scraped.

use fleetgauge::scrape::TargetStatus;
use fleetgauge_core::printable::Printable;
use fleetgauge_core::time::Timestamp;
use maud::{Markup, html};

use super::overview::ago;
use super::page::{Part, filter_form};
use super::pods::{State, name, why};
use super::words::Quantity;

/// So many are shown: those that are not well come first.
const MAX_ROWS: usize = 200;

/// The form above the page.
pub(super) fn head(filter: &str, only_ill: bool) -> Markup {
    let ill = html! {
        label { input type="checkbox" name="state" value="ill" checked[only_ill]; " only what is not up" }
    };
    html! {
        h1 { "Targets" }
        (filter_form("/dashboard/targets", "Pod, label or address", filter, &ill))
    }
}

/// The page, of the targets of each source.
pub(super) fn parts(
    sources: &[(String, Vec<TargetStatus>)],
    filter: &str,
    only_ill: bool,
    now: Timestamp,
) -> Vec<Part> {
    let all = sources
        .iter()
        .flat_map(|(source, targets)| targets.iter().map(move |target| (&**source, target)));
    let is_asked = |target: &TargetStatus| {
        let has = |text: &str| text.contains(filter);
        let is_ill = State::of(target) != State::Up || target.problem.is_some();
        (is_ill || !only_ill) && (has(&target.url) || target.labels.values().any(|value| has(value)))
    };
    let count = all.clone().count();
    let mut asked: Vec<_> = all.filter(|(_, target)| is_asked(target)).collect();
    asked.sort_by_key(|(_, target)| State::of(target) == State::Up && target.problem.is_none());
    let content = html! {
        p { (asked.len()) " of " (count) }
        table {
            thead { tr {
                th scope="col" { "Target" }
                th scope="col" { "State" }
                th scope="col" .age { "Last answer" }
                th scope="col" .number { "Samples" }
                th scope="col" .number { "Page" }
                th scope="col" .number { "Took" }
            } }
            tbody { @for (source, target) in asked.iter().take(MAX_ROWS) { (row(source, target, now)) } }
        }
        @if asked.is_empty() { p .empty { "None is like that." } }
        @if asked.len() > MAX_ROWS {
            p .empty { "and " (asked.len() - MAX_ROWS) " more, none of them worse: the filter above finds them" }
        }
    };
    vec![Part {
        id: "targets",
        content,
    }]
}

fn row(source: &str, target: &TargetStatus, now: Timestamp) -> Markup {
    let state = State::of(target);
    let quantity = |value: f64, unit| Quantity { value, unit };
    html! {
        tr class=(state.class()) {
            th scope="row" {
                b { (Printable(name(target))) }
                " " small { (Printable(&target.url)) " " span .label { "source=" (source) } }
                @for (name, value) in &target.labels {
                    @if !matches!(&**name, "pod" | "instance") { " " span .label { (name) "=" bdi { (Printable(value)) } } }
                }
            }
            td { span class={ "badge " (state.class()) } { (state.as_str()) } }
            td .age { (ago(target.last_success, now)) }
            td .number { (target.samples) }
            td .number { (quantity(target.bytes as f64, "bytes")) }
            td .number { (quantity(target.duration.as_secs_f64(), "seconds")) }
        }
        @if let Some(why) = why(target, now) { tr .why { td colspan="6" { (why) } } }
    }
}
