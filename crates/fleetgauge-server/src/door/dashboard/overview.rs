//! The first page: what is wrong, the variants with their readings, all other metrics, and the pods.

use std::collections::HashMap;

use fleetgauge::scrape::TargetStatus;
use fleetgauge_core::printable::Printable;
use fleetgauge_core::time::Timestamp;
use fleetgauge_core::variant::PodIndex;
use maud::{Markup, html};

use super::chart::Span;
use super::page::Part;
use super::pods::{self, State};
use super::reading::{Grade, History, metric_link, table_head, table_row};
use super::words::Lasting;
use crate::door::api::{Reloads, SourceView};
use crate::store::{Row, Snapshot};
use crate::variant::Variant;

/// All that the page is made of.
pub(super) struct Overview<'a> {
    pub(super) now: Timestamp,
    pub(super) filter: &'a str,
    pub(super) snapshots: &'a [Snapshot],
    pub(super) variants: &'a [Variant],
    pub(super) sources: &'a [SourceView],
    pub(super) targets: &'a [TargetStatus],
    pub(super) index: &'a dyn PodIndex,
    pub(super) fills: &'a HashMap<String, f64>,
    pub(super) history: &'a History,
    pub(super) span: Span,
    /// Why the daemon is not ready, if so.
    pub(super) not_ready: Option<String>,
    pub(super) reloads: Reloads,
}

/// A variant with the rows that are its own, each of its metric.
struct Card<'a> {
    variant: &'a Variant,
    rows: Vec<(&'a str, Row<'a>)>,
    worst: Option<Grade>,
}

/// So many variants are shown at once, and so many rows of other metrics: those that are not well come first.
const MAX_CARDS: usize = 60;
const MAX_ROWS: usize = 100;

impl Overview<'_> {
    pub(super) fn parts(&self) -> Vec<Part> {
        let cards = self.cards();
        vec![
            Part {
                id: "health",
                content: self.health(),
            },
            Part {
                id: "variants",
                content: self.variants(cards),
            },
            Part {
                id: "metrics",
                content: self.metrics(),
            },
            Part {
                id: "pods",
                content: pods::grid(self.targets, self.index, self.fills, self.now),
            },
        ]
    }

    fn rows(&self) -> impl Iterator<Item = (&str, Row<'_>)> {
        self.snapshots
            .iter()
            .flat_map(|snapshot| snapshot.rows().map(|row| (snapshot.spec().name.as_str(), row)))
    }

    // --- what is wrong ---

    fn health(&self) -> Markup {
        let mut counts = [0_usize; 4];
        self.rows()
            .for_each(|(_, row)| counts[Grade::of(row) as usize] += 1);
        let [whole, partial, held, withheld] = counts;
        let up = self
            .targets
            .iter()
            .filter(|target| State::of(target) == State::Up);
        let (up, targets) = (up.count(), self.targets.len());
        let discoveries = self.sources.iter().filter_map(|source| {
            let errors = source.scraping.as_ref()?.discovery_errors();
            Some(
                errors
                    .into_iter()
                    .map(move |(_, error)| format!("{}: {error}", source.name)),
            )
        });
        let discoveries: Vec<String> = discoveries.flatten().collect();
        let mut lacking = Vec::new();
        if counts.iter().sum::<usize>() == 0 {
            lacking.push("There is no reading".to_owned());
        }
        for source in self.sources {
            let stats = source.scraping.as_ref().map(|scraping| scraping.scrape_stats());
            if stats.is_some_and(|stats| stats.targets + stats.targets_of_other_shards == 0) {
                lacking.push(format!("The source {} has no targets", source.name));
            }
        }
        let is_well = partial + held + withheld + discoveries.len() + lacking.len() == 0
            && up == targets
            && self.not_ready.is_none()
            && self.reloads.error.is_none();
        html! {
            h1 .well[is_well] { @if is_well { "All is well" } @else { "Not all is well" } }
            dl .tiles {
                (tile("readings", whole + partial, counts.iter().sum(), "with a number of now"))
                (tile("held", held, 0, "the last good number"))
                (tile("withheld", withheld, 0, "no number"))
                (tile("targets", up, targets, "up"))
            }
            ul .problems {
                @if let Some(why) = &self.not_ready { li { "Not ready: " (Printable(why)) } }
                @if let Some(error) = &self.reloads.error {
                    li { "The configuration was changed, and is not taken: " (Printable(error)) }
                }
                @if !self.reloads.needs_restart.is_empty() {
                    li {
                        "Changed, and taken at a start alone: "
                        (self.reloads.needs_restart.iter().copied().collect::<Vec<_>>().join(", "))
                    }
                }
                @for what in &lacking { li { (what) } }
                @for error in &discoveries { li { (Printable(error)) } }
            }
        }
    }

    // --- variants ---

    /// The variants that are asked for, those that are not well first where not all can be shown.
    fn cards(&self) -> Vec<Card<'_>> {
        let mut of_variant: HashMap<(&str, &str), Vec<(&str, Row<'_>)>> = HashMap::new();
        for (metric, row) in self.rows() {
            if let (Some(namespace), Some(variant)) = (row.label("namespace"), row.label("variant")) {
                of_variant
                    .entry((namespace, variant))
                    .or_default()
                    .push((metric, row));
            }
        }
        let is_asked = |variant: &Variant, rows: &[(&str, Row<'_>)]| {
            let name = &variant.variant;
            let has = |text: &str| text.contains(self.filter);
            let has_label = |row: &Row<'_>| row.labels().any(|(_, value)| has(value));
            has(&format!("{}/{}", name.namespace(), name.name()))
                || rows.iter().any(|(metric, row)| has(metric) || has_label(row))
        };
        let cards = self.variants.iter().filter_map(|variant| {
            let key = (variant.variant.namespace(), variant.variant.name());
            let rows = of_variant.remove(&key).unwrap_or_default();
            let worst = rows.iter().map(|(_, row)| Grade::of(*row)).max();
            is_asked(variant, &rows).then_some(Card { variant, rows, worst })
        });
        let mut cards: Vec<_> = cards.collect();
        if cards.len() > MAX_CARDS {
            cards.sort_by_key(|card| std::cmp::Reverse(card.worst));
        }
        cards
    }

    fn variants(&self, cards: Vec<Card<'_>>) -> Markup {
        let count = cards.len();
        html! {
            @if !self.variants.is_empty() {
                h2 { "Variants " small { (count) @if count < self.variants.len() { " of " (self.variants.len()) } } }
            }
            div .cards { @for card in cards.iter().take(MAX_CARDS) { (self.card(card)) } }
            @if count > MAX_CARDS {
                p .empty { "and " (count - MAX_CARDS) " more, none of them worse: the filter above finds them" }
            }
        }
    }

    fn card(&self, card: &Card<'_>) -> Markup {
        let Card { variant, rows, worst } = card;
        let workload = &variant.workload;
        html! {
            article class={ "card " (worst.map_or("", Grade::class)) } {
                h3 { (variant.variant.name()) " " small { (variant.variant.namespace()) } }
                p .what {
                    (workload.kind().as_str()) " " (workload.name())
                    @if let Some(model) = variant.params.get(crate::variant::MODEL_PARAM) { " · " (Printable(model)) }
                }
                @if rows.is_empty() {
                    p .empty { "No metric is read for it: set " code { "for_each: variant" } " at a metric." }
                } @else {
                    table {
                        (table_head("Metric"))
                        tbody { @for (metric, row) in rows {
                            (table_row(metric, &self.of_card(metric, *row), *row, self.history, self.span))
                        } }
                    }
                }
            }
        }
    }

    /// What a row is called within its variant's card: one that all variants of a model have in common says so.
    fn of_card(&self, metric: &str, row: Row<'_>) -> Markup {
        html! {
            (metric_link(metric))
            @if let Some(scope) = row.label("scope") { " " small { "of the " (Printable(scope)) } }
        }
    }

    // --- other metrics ---

    fn metrics(&self) -> Markup {
        let is_known = |row: Row<'_>| {
            let (namespace, variant) = (row.label("namespace"), row.label("variant"));
            self.variants.iter().any(|known| {
                Some(known.variant.name()) == variant && Some(known.variant.namespace()) == namespace
            })
        };
        let is_asked = |metric: &str, row: Row<'_>| {
            let has = |text: &str| text.contains(self.filter);
            has(metric) || row.labels().any(|(_, value)| has(value))
        };
        let mut rows: Vec<_> = self.rows().filter(|(_, row)| !is_known(*row)).collect();
        rows.retain(|(metric, row)| is_asked(metric, *row));
        if rows.len() > MAX_ROWS {
            rows.sort_by_key(|(_, row)| std::cmp::Reverse(Grade::of(*row)));
        }
        let without = self.snapshots.iter().filter(|one| one.rows().next().is_none());
        html! {
            @if !rows.is_empty() {
                h2 { "Metrics" }
                table {
                    (table_head("Metric"))
                    tbody { @for (metric, row) in rows.iter().take(MAX_ROWS) {
                        (table_row(metric, &called(metric, *row), *row, self.history, self.span))
                    } }
                }
                @if rows.len() > MAX_ROWS { p .empty { "and " (rows.len() - MAX_ROWS) " more rows, none of them worse" } }
            }
            @if !self.filter.is_empty() && rows.is_empty() {
                p .empty { "No metric beside those of variants has " bdi { (Printable(self.filter)) } " in its name or labels." }
            }
            @if self.snapshots.is_empty() {
                p .empty { "No metrics are kept fresh: name some under " code { "metrics:" } " in the configuration." }
            }
            @for snapshot in without {
                p .empty { (metric_link(snapshot.spec().name.as_str())) " is read for each variant, and none is known." }
            }
        }
    }
}

/// What a row is called: its metric and its labels.
pub(super) fn called(metric: &str, row: Row<'_>) -> Markup {
    html! { (metric_link(metric)) (labels(row)) }
}

/// The labels of a row.
pub(super) fn labels(row: Row<'_>) -> Markup {
    html! {
        @for (name, value) in row.labels() { " " span .label { (name) "=" bdi { (Printable(value)) } } }
    }
}

/// A count with what it is of.
fn tile(name: &str, count: usize, of: usize, what: &str) -> Markup {
    html! {
        div .tile.zero[count == 0] data-tile=(name) {
            dt { (name) }
            dd { b { (count) @if of > 0 { "/" (of) } } " " small { (what) } }
        }
    }
}

/// How long ago something was.
pub(super) fn ago(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! { @if let Some(at) = at { (Lasting(now.saturating_since(at))) } @else { "never" } }
}
