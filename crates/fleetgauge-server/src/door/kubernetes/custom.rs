//! Metrics of pods, each with its own number, as an HPA of the type `Pods` asks for them.

use std::collections::BTreeMap;

use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::time::Clock;

use super::pods::{Pod, PodLabels};
use super::rows::{NAMESPACE, Told, fitting, no_row, tell};
use super::selector::Selector;
use super::status::Failure;
use crate::store::{Row, Snapshot};

const POD: &str = "pod";

/// How many pods without a number are named.
const NAMED: usize = 3;

/// Which pods are meant.
#[derive(Clone, Debug)]
pub(super) enum Which {
    /// The one by this name.
    Named(String),
    /// Those with such labels.
    Labelled(Selector),
}

/// What is told of the pods of `namespace` that are meant, by the rows that `selector` fits. A pod without a number is left
/// out: the HPA has a rule for those.
///
/// *Errors*: no pod has a number, or fewer than the metric's policy asks for.
pub(super) fn custom<'a>(
    snapshot: &'a Snapshot,
    clock: &Clock,
    namespace: &str,
    which: &Which,
    selector: &Selector,
    pods: &dyn PodLabels,
) -> Result<Vec<(String, Told<'a>)>, Failure> {
    let spec = snapshot.spec();
    let name = &spec.name;
    let rows = fitting(snapshot, namespace, selector)?;
    if rows.is_empty() {
        return Err(no_row(snapshot, selector));
    }
    // A row that does not say where its pod is may be of a pod of the same name elsewhere.
    let is_here = |row: &Row<'_>| {
        let of_metric = || {
            spec.params.get(NAMESPACE).or(match &spec.namespaces[..] {
                [only] => Some(&**only),
                _ => None,
            })
        };
        row.label(NAMESPACE).or_else(of_metric) == Some(namespace)
    };
    let mut by_pod: BTreeMap<&str, Vec<Row<'a>>> = BTreeMap::new();
    for row in rows.into_iter().filter(is_here) {
        if let Some(pod) = row.label(POD) {
            by_pod.entry(pod).or_default().push(row);
        }
    }
    if by_pod.is_empty() {
        let message = format!(
            "metric {name}: none of its rows has the labels namespace and pod of a pod here: it has a number for each pod \
             with `fold: none` alone"
        );
        return Err(Failure::bad_request(message));
    }
    let named = |name: &str| Pod {
        name: name.to_owned(),
        is_expected: true,
    };
    let meant = match which {
        Which::Named(name) => vec![named(name)],
        Which::Labelled(selector) => {
            let is_selected = |labels: &BTreeMap<String, String>| {
                selector.matches(|name| labels.get(name).map(String::as_str))
            };
            match pods.select(namespace, &is_selected) {
                Ok(pods) => pods,
                Err(_) if selector.is_empty() => by_pod.keys().map(|name| named(name)).collect(),
                Err(error) => {
                    return Err(Failure::no_number(
                        "pods_unknown",
                        format!("metric {name}: {error}"),
                    ));
                }
            }
        }
    };
    let wall = clock.wall();
    let (mut told, mut missing) = (Vec::new(), Vec::new());
    for pod in &meant {
        let row = match by_pod.get(&*pod.name).map(Vec::as_slice) {
            None | Some([]) => Err("it has no row".to_owned()),
            Some([row]) => match row.refusal() {
                Some((code, text)) => Err(format!("{}: {text}", code.as_str())),
                None => Ok(*row),
            },
            // The HPA would take the last of them.
            Some(several) => {
                let (count, pod) = (several.len(), Excerpt(&pod.name));
                return Err(Failure::bad_request(format!(
                    "metric {name}: the pod {pod} has {count} rows: select one by `metricLabelSelector`"
                )));
            }
        };
        match row {
            Ok(row) => told.push((pod.name.clone(), tell(snapshot, row, wall)?)),
            Err(why) if pod.is_expected => missing.push(format!("{}: {why}", Excerpt(&pod.name))),
            Err(_) => {}
        }
    }
    let expected = told.len() + missing.len();
    let why = || {
        let more = missing.len().saturating_sub(NAMED);
        let named = missing
            .iter()
            .take(NAMED)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ");
        match more {
            0 => named,
            more => format!("{named}; and {more} more"),
        }
    };
    if told.is_empty() {
        let message = match missing.is_empty() {
            true => format!("metric {name}: no_data: no pod is selected that should report"),
            false => format!(
                "metric {name}: no_data: no pod that is selected has a number: {}",
                why()
            ),
        };
        return Err(Failure::no_number("no_data", message));
    }
    let ratio = told.len() as f64 / expected as f64;
    match spec.policy.min_completeness {
        Some(min) if ratio < min => {
            let count = told.len();
            let message = format!(
                "metric {name}: incomplete: {count} of {expected} pods have a number, and {min} is asked for: {}",
                why()
            );
            Err(Failure::no_number("incomplete", message))
        }
        _ => Ok(told),
    }
}
