//! The page of a metric: its numbers over time, its rows, and how they come about.

use fleetgauge_core::printable::Printable;
use fleetgauge_core::query_list::RegisteredQuery;
use maud::{Markup, html};

use super::chart::{LINES, Line, Point, Span, chart, swatch};
use super::overview::labels;
use super::page::Part;
use super::reading::{Grade, History, number, why};
use super::words::{Lasting, TimeOfDay};
use crate::json::PolicyEntry;
use crate::metric::{ForEach, MetricFold};
use crate::store::{Row, Snapshot};

/// All that the page is made of.
pub(super) struct MetricPage<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) query: Option<&'a RegisteredQuery>,
    pub(super) numbers: &'a History,
    pub(super) held: &'a History,
    pub(super) span: Span,
}

/// So many rows are shown: those that are not well come first.
const MAX_ROWS: usize = 200;

impl MetricPage<'_> {
    pub(super) fn parts(&self) -> Vec<Part> {
        let mut rows: Vec<Row<'_>> = self.snapshot.rows().collect();
        if rows.len() > MAX_ROWS {
            rows.sort_by_key(|row| std::cmp::Reverse(Grade::of(*row)));
        }
        vec![
            Part {
                id: "chart",
                content: self.chart(&rows),
            },
            Part {
                id: "rows",
                content: self.rows(&rows),
            },
            Part {
                id: "explain",
                content: self.explain(&rows),
            },
        ]
    }

    fn chart(&self, rows: &[Row<'_>]) -> Markup {
        let name = self.snapshot.spec().name.as_str();
        let line = |row: &Row<'_>| {
            let points = self.numbers.of_row(name, *row).to_vec();
            let of: Vec<_> = row
                .labels()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let is_held = |at| {
                let held = self.held.of_row(name, *row);
                held.binary_search_by_key(&at, |point| point.0)
                    .is_ok_and(|found| held[found].1 == 1.0)
            };
            let (held, points): (Vec<Point>, Vec<Point>) =
                points.into_iter().partition(|point| is_held(point.0));
            Line {
                name: of.join(", "),
                points,
                held,
            }
        };
        let lines: Vec<_> = rows.iter().take(LINES).map(line).collect();
        let Span { start, end, .. } = self.span;
        let (start, end) = (TimeOfDay(start), TimeOfDay(end));
        let what = format!("{name} from {start} to {end}, UTC; its numbers of now are in the table below");
        let unit = &self.snapshot.spec().unit;
        html! {
            p .what { @if unit.is_empty() { "no unit is told" } @else { (unit) } ", UTC; dashed while held, no line while withheld" }
            @match chart(&lines, self.span, unit, &what) {
                Some(drawn) => (drawn),
                None => p .empty { "There was no number in this time." },
            }
            @if rows.len() > LINES { p .empty { "the first " (LINES) " of " (rows.len()) " rows" } }
        }
    }

    fn rows(&self, rows: &[Row<'_>]) -> Markup {
        html! {
            h2 { "Now" }
            table {
                thead { tr {
                    th scope="col" { "Row" }
                    th scope="col" .number { "Number" }
                    th scope="col" .age { "Age" }
                    th scope="col" { "State" }
                } }
                tbody {
                    @for (at, row) in rows.iter().take(MAX_ROWS).enumerate() {
                        @let grade = Grade::of(*row);
                        tr class=(grade.class()) {
                            th scope="row" { (swatch(at)) (labels(*row)) }
                            td .number { (number(*row)) }
                            td .age { @if let Some(age) = row.reading().age() { (Lasting(age)) } }
                            td { (why(*row).unwrap_or_else(|| html! { "whole" })) }
                        }
                    }
                }
            }
            @if rows.is_empty() { p .empty { "It is read for each variant, and none is known." } }
            @if rows.len() > MAX_ROWS { p .empty { "and " (rows.len() - MAX_ROWS) " more rows, none of them worse" } }
        }
    }

    /// How its numbers come about.
    fn explain(&self, rows: &[Row<'_>]) -> Markup {
        let spec = self.snapshot.spec();
        let template = self.query.map(RegisteredQuery::template);
        let declared = template.and_then(|template| template.fold);
        let fold = match (spec.fold, declared) {
            (MetricFold::Rows, _) => "none: rows as they are".to_owned(),
            (MetricFold::By(fold), _) => fold.as_str().to_owned(),
            (MetricFold::Declared, None) => "none: the query declares nothing".to_owned(),
            (MetricFold::Declared, Some(folds)) => {
                format!(
                    "pods by {}, variants by {}",
                    folds.pod.as_str(),
                    folds.variant.as_str()
                )
            }
        };
        let origins = rows.iter().filter_map(|row| row.reading().origin());
        let mut sent: Vec<&str> = origins.clone().map(|origin| &*origin.text).collect();
        sent.sort_unstable();
        sent.dedup();
        let mut warnings: Vec<&str> = origins
            .flat_map(|origin| origin.warnings.iter().map(|one| &**one))
            .collect();
        warnings.sort_unstable();
        warnings.dedup();
        let policy = serde_json::to_value(PolicyEntry::new(&spec.policy)).unwrap_or_default();
        let policy = policy.as_object().into_iter().flatten();
        html! {
            h2 { "How it comes about" }
            dl .facts {
                dt { "Query" } dd { code { (spec.query) } " of the source " b { (spec.source) } ", every " (Lasting(spec.every)) }
                @if let Some(template) = template {
                    @if !template.description.is_empty() { dt { "What it is" } dd { (template.description) } }
                    dt { "Template" } dd { pre { (lines(&template.template)) } }
                    @for step in &template.transform { dt { "Then" } dd { code { (step) } } }
                }
                @for (name, value) in spec.params.iter() { dt { (name) } dd { code { (Printable(value)) } } }
                dt { "Fold" } dd { (fold) }
                @if let Some(ForEach::Variant) = spec.for_each { dt { "For each" } dd { "variant" } }
                dt { "Policy" }
                dd { @for (name, value) in policy.filter(|(_, value)| !value.is_null()) { code { (name) ": " (value) } " " } }
            }
            @if !sent.is_empty() {
                h3 { "Sent" }
                @for text in sent.iter().take(20) { pre { (lines(text)) } }
                @if sent.len() > 20 { p .empty { "and " (sent.len() - 20) " more" } }
            }
            @if !warnings.is_empty() {
                h3 { "Warnings" }
                ul { @for warning in warnings.iter().take(20) { li { (Printable(warning)) } } }
                @if warnings.len() > 20 { p .empty { "and " (warnings.len() - 20) " more" } }
            }
        }
    }
}

/// A text of several lines, each as it may be shown.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| Printable(line).to_string()).collect();
    lines.join("\n")
}
