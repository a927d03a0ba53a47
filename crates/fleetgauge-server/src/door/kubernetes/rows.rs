//! Which rows of a metric are meant, and what they tell.

use std::sync::Arc;

use fleetgauge_core::policy::Fold;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::similar::similar;
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_core::transform::{SCOPE, VARIANT};
use fleetgauge_syntax::tree::Expr;

use super::quantity::{MAX, Quantity};
use super::selector::Selector;
use super::status::Failure;
use crate::store::{Entry, Row, Snapshot, Store};

pub(super) const NAMESPACE: &str = "namespace";

/// What is told of one row.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) row: Row<'a>,
    pub(super) value: Quantity,
    /// When its sample was taken, where that is known, as RFC 3339 writes it.
    pub(super) timestamp: Option<String>,
    /// How far back the query looks, where it looks at ranges.
    pub(super) window_seconds: Option<i64>,
}

/// The metric `name`, if it may be seen in `namespace`. Of one that may not, the same is said as of one that is not there.
pub(super) fn metric(store: &Store, name: &str, namespace: &str) -> Result<Arc<Entry>, Failure> {
    let is_visible = |entry: &Arc<Entry>| entry.spec().is_visible_in(namespace);
    store.get(name).filter(is_visible).ok_or_else(|| {
        let visible: Vec<_> = store.all().into_iter().filter(is_visible).collect();
        let names = visible.iter().map(|entry| entry.spec().name.as_str());
        let similar =
            similar(name, names).map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
        let (name, namespace) = (Excerpt(name), Excerpt(namespace));
        Failure::not_found(format!(
            "there is no metric {name} that the namespace {namespace} may see{similar}"
        ))
    })
}

/// The rows of `namespace` that `selector` fits, as items that their reader adds up.
///
/// *Errors*: there is none, one of them is withheld, or they are not to be added up.
pub(super) fn external<'a>(
    snapshot: &'a Snapshot,
    clock: &Clock,
    namespace: &str,
    selector: &Selector,
) -> Result<Vec<Told<'a>>, Failure> {
    let fitting = fitting(snapshot, namespace, selector)?;
    if fitting.is_empty() {
        return Err(no_row(snapshot, selector));
    }
    if let Some((row, (code, text))) = fitting.iter().find_map(|row| Some((row, row.refusal()?))) {
        let name = &snapshot.spec().name;
        let of = match fitting.len() {
            1 => String::new(),
            count => format!(" (of {}, one of {count} rows)", labels(row)),
        };
        let code = code.as_str();
        return Err(Failure::no_number(
            code,
            format!("metric {name}{of}: {code}: {text}"),
        ));
    }
    if fitting.len() > 1 {
        may_be_added(snapshot, &fitting)?;
    }
    let sum: f64 = fitting
        .iter()
        .filter_map(|row| row.reading().value())
        .map(f64::abs)
        .sum();
    if sum > MAX {
        return Err(out_of_range(snapshot, sum));
    }
    let wall = clock.wall();
    fitting.into_iter().map(|row| tell(snapshot, row, wall)).collect()
}

/// The rows of `namespace` that `selector` fits; withheld ones are among them.
///
/// *Errors*: it is not known which there are.
pub(super) fn fitting<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
    selector: &Selector,
) -> Result<Vec<Row<'a>>, Failure> {
    let is_seen = |row: &Row<'_>| row.label(NAMESPACE).is_none_or(|of_row| of_row == namespace);
    let rows: Vec<_> = snapshot.rows().filter(is_seen).collect();
    // What has no answer may have such rows, and what the others tell would be a part.
    let is_unknown = |row: &&Row<'_>| row.stands_for_all() && selector.may_match(|name| row.label(name));
    if let Some((code, text)) = rows.iter().find(is_unknown).and_then(Row::refusal) {
        let (name, code) = (&snapshot.spec().name, code.as_str());
        return Err(Failure::no_number(code, format!("metric {name}: {code}: {text}")));
    }
    let fits = |row: &Row<'_>| selector.matches(|name| row.label(name));
    Ok(rows.into_iter().filter(fits).collect())
}

/// What is told of a row that has a number.
pub(super) fn tell<'a>(snapshot: &Snapshot, row: Row<'a>, wall: Timestamp) -> Result<Told<'a>, Failure> {
    let reading = row.reading();
    let number = reading.value().unwrap_or(f64::NAN);
    Ok(Told {
        row,
        value: Quantity::new(number).ok_or_else(|| out_of_range(snapshot, number))?,
        timestamp: reading.age().and_then(|age| {
            let millis = i64::try_from(age.as_millis()).ok()?;
            let taken = jiff::Timestamp::from_millisecond(wall.as_millis().checked_sub(millis)?).ok()?;
            Some(taken.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        }),
        window_seconds: reading.origin().and_then(|origin| window_seconds(&origin.text)),
    })
}

/// That no row fits.
pub(super) fn no_row(snapshot: &Snapshot, selector: &Selector) -> Failure {
    let name = &snapshot.spec().name;
    let selector = selector.to_string();
    let which = match &*selector {
        "" => "in this namespace".to_owned(),
        selector => format!("of {} in this namespace", Excerpt(selector)),
    };
    Failure::no_number(
        "no_data",
        format!("metric {name}: no_data: it has no row {which}"),
    )
}

fn out_of_range(snapshot: &Snapshot, number: f64) -> Failure {
    let name = &snapshot.spec().name;
    let message = format!("metric {name}: it is {number}, and an HPA counts up to 9e15 alone");
    Failure::no_number("out_of_range", message)
}

/// Whether the sum of `rows` means something, since that is what the HPA makes of them.
fn may_be_added(snapshot: &Snapshot, rows: &[Row<'_>]) -> Result<(), Failure> {
    let spec = snapshot.spec();
    let (name, count) = (&spec.name, rows.len());
    let not_so = |why: String| {
        Err(Failure::bad_request(format!(
            "metric {name}: {count} of its rows are selected, {why}"
        )))
    };
    match spec.folds_by {
        Some(Fold::Sum) => {}
        Some(fold) => {
            let fold = fold.as_str();
            return not_so(format!(
                "which an HPA would add up, but they fold by {fold}: select one, or fold them, `fold: {fold}`"
            ));
        }
        None => {
            return not_so(
                "which an HPA would add up, and its query does not say that their sum means something: select one, or \
                 say how they become one, as `fold: sum`"
                    .to_owned(),
            );
        }
    }
    // What waits for a model is the same for each of its variants.
    let of_model = |row: &Row<'_>| -> Vec<(String, String)> {
        let labels = row.labels().filter(|(name, _)| *name != VARIANT);
        let mut labels: Vec<_> = labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        labels.sort();
        labels
    };
    let shared: Vec<_> = rows
        .iter()
        .filter(|row| row.label(SCOPE).is_some())
        .map(of_model)
        .collect();
    let is_twice = shared
        .iter()
        .enumerate()
        .any(|(at, row)| shared[..at].contains(row));
    if is_twice {
        return not_so(
            "of which some are the same for several variants, and an HPA would count them several times: select a \
             variant, or `!scope`"
                .to_owned(),
        );
    }
    Ok(())
}

fn labels(row: &Row<'_>) -> String {
    let labels = row
        .labels()
        .map(|(name, value)| format!("{name}={}", Excerpt(value)));
    labels.collect::<Vec<_>>().join(",")
}

/// The longest range that a query looks at; `None` where it looks at none, or is not PromQL.
fn window_seconds(promql: &str) -> Option<i64> {
    let expr = fleetgauge_syntax::parse(promql).ok()?;
    let ranges = expr.walk().into_iter().filter_map(|expr| match expr {
        Expr::Range(range) => Some(range.range),
        Expr::Subquery(subquery) => Some(subquery.range),
        _ => None,
    });
    let longest = ranges.max()?;
    Some(longest.saturating_add(999) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_longest_range_of_a_query() {
        for (promql, expected) in [
            ("up", None),
            ("sum(rate(a[1m])) / sum(rate(b[5m]))", Some(300)),
            ("max_over_time(rate(a[30s])[10m:])", Some(600)),
            ("rate(a[1500ms])", Some(2)),
            ("not promql", None),
            ("", None),
        ] {
            assert_eq!(window_seconds(promql), expected, "{promql}");
        }
    }
}
