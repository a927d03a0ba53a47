//! Which row of a metric a ScaledObject is scaled by, and its number.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use fleetgauge_core::printable::Excerpt;
use fleetgauge_core::reading::ReasonCode;
use fleetgauge_core::similar::similar;
use tonic::{Code, Status};

use super::trigger::{MAX, Trigger};
use crate::store::{Entry, Row, Snapshot, Store};

/// How many labels are named that a row may be selected by.
const NAMED: usize = 10;
/// How many characters of a reason are told. They stand in a header, and clients bound those.
const TOLD: usize = 1_000;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct ScaledObject {
    pub(super) name: String,
    pub(super) namespace: String,
}

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// Of a metric that others may see the same is said: whether there is one is not for everybody.
    #[error(
        "there is no metric {} that the namespace {} may see{}",
        Excerpt(.metric), Excerpt(.namespace), DidYouMean(.similar)
    )]
    NoMetric {
        metric: String,
        namespace: String,
        similar: Option<String>,
    },
    #[error(
        "metric {metric}: it is read for each variant, and there is no variant {} in the namespace {}: give the \
         ScaledObject its variant's name, or select a row: `selector: variant=NAME,namespace=NAMESPACE`",
        Excerpt(.name), Excerpt(.namespace)
    )]
    NoVariant {
        metric: String,
        name: String,
        namespace: String,
    },
    #[error("metric {metric}: none of its rows has the label {}; they have {labels}", Excerpt(.label))]
    NoLabel {
        metric: String,
        label: String,
        labels: Names,
    },
    #[error("metric {metric}: no_data: it has no row of {wanted}")]
    NoRow { metric: String, wanted: Pairs },
    #[error(
        "metric {metric}: {count} of its rows are meant: select one by `selector: LABEL=VALUE` of {labels}"
    )]
    SeveralRows {
        metric: String,
        count: usize,
        labels: Names,
    },
    #[error("metric {metric}: {}: {text}", .code.as_str())]
    Withheld {
        metric: String,
        code: ReasonCode,
        text: String,
    },
    #[error("metric {metric}: it is {value}, and KEDA scales by numbers from 0 to 9e15 alone")]
    OutOfRange { metric: String, value: f64 },
}

/// Names of labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Names(Vec<String>);

/// Labels with their values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pairs(Vec<(String, String)>);

struct DidYouMean<'a>(&'a Option<String>);

// === impl Refusal ===

impl Refusal {
    /// Whether a number may come without anybody changing what is asked for; until then there is nothing to be said.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoMetric { .. } | Self::NoLabel { .. } | Self::SeveralRows { .. } => false,
            Self::NoVariant { .. } | Self::NoRow { .. } | Self::Withheld { .. } | Self::OutOfRange { .. } => {
                true
            }
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NoMetric { .. } => Code::NotFound,
            Self::NoVariant { .. } | Self::NoLabel { .. } => Code::FailedPrecondition,
            Self::SeveralRows { .. } => Code::InvalidArgument,
            Self::NoRow { .. } => Code::Unavailable,
            Self::OutOfRange { .. } => Code::OutOfRange,
            Self::Withheld { code, .. } => match code {
                ReasonCode::Invalid | ReasonCode::NotAVector | ReasonCode::Ambiguous => {
                    Code::FailedPrecondition
                }
                ReasonCode::NeverRefreshed
                | ReasonCode::Failed
                | ReasonCode::Expired
                | ReasonCode::Replaced
                | ReasonCode::TooOld
                | ReasonCode::AgeUnknown
                | ReasonCode::Ended
                | ReasonCode::Incomplete
                | ReasonCode::CompletenessUnknown
                | ReasonCode::Undefined
                | ReasonCode::NoData
                | ReasonCode::Unproven
                | ReasonCode::Proven
                | ReasonCode::NoReplicas
                | ReasonCode::Constant => Code::Unavailable,
            },
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut text = refusal.to_string();
        if let Some((end, _)) = text.char_indices().nth(TOLD) {
            text.truncate(end);
            text.push('…');
        }
        Status::new(refusal.code(), text)
    }
}

/// The metric that is asked for, if who asks may see it.
pub(super) fn metric(store: &Store, name: &str, asker: &ScaledObject) -> Result<Arc<Entry>, Refusal> {
    let is_visible = |entry: &Arc<Entry>| entry.spec().is_visible_in(&asker.namespace);
    store.get(name).filter(is_visible).ok_or_else(|| {
        let visible: Vec<_> = store.all().into_iter().filter(is_visible).collect();
        let names = visible.iter().map(|entry| entry.spec().name.as_str());
        Refusal::NoMetric {
            metric: name.to_owned(),
            namespace: asker.namespace.clone(),
            similar: similar(name, names).map(str::to_owned),
        }
    })
}

/// The number that `asker` is scaled by, from 0 to [`MAX`].
pub(super) fn number(store: &Store, trigger: &Trigger, asker: &ScaledObject) -> Result<f64, Refusal> {
    let entry = metric(store, &trigger.metric, asker)?;
    let snapshot = entry.read(store.clock());
    let row = match &trigger.selector {
        Some(selector) => selected(&snapshot, selector),
        None => of_asker(&snapshot, asker),
    }?;
    let metric = || trigger.metric.clone();
    if let Some((code, text)) = row.refusal() {
        return Err(withheld(metric(), code, text));
    }
    let value = row.reading().value().unwrap_or(f64::NAN);
    match (0.0..=MAX).contains(&value) {
        true => Ok(value),
        false => Err(Refusal::OutOfRange {
            metric: metric(),
            value,
        }),
    }
}

fn withheld(metric: String, code: ReasonCode, text: &str) -> Refusal {
    let text = text.to_owned();
    Refusal::Withheld { metric, code, text }
}

/// The row with all labels of `selector`.
fn selected<'a>(snapshot: &'a Snapshot, selector: &[(String, String)]) -> Result<Row<'a>, Refusal> {
    let has = |row: &Row<'_>, (name, value): &(String, String)| row.label(name).unwrap_or_default() == value;
    let fitting = snapshot
        .rows()
        .filter(|row| selector.iter().all(|pair| has(row, pair)));
    if let Some(row) = one(snapshot, fitting.collect())? {
        return Ok(row);
    }
    let metric = || snapshot.spec().name.to_string();
    // While there is no answer, nobody knows which labels its rows have.
    let may_be_meant = |row: &Row<'_>| {
        row.reading().labels().iter().next().is_none()
            && selector
                .iter()
                .all(|pair| has(row, pair) || row.label(&pair.0).is_none())
    };
    let unanswered = snapshot.rows().filter(may_be_meant).find_map(|row| row.refusal());
    if let Some((code, text)) = unanswered {
        return Err(withheld(metric(), code, text));
    }
    let labels: BTreeSet<&str> = snapshot
        .rows()
        .flat_map(|row| row.labels().map(|(name, _)| name))
        .collect();
    let unknown = selector
        .iter()
        .find(|(name, value)| !value.is_empty() && !labels.contains(name.as_str()));
    Err(match unknown {
        Some((label, _)) if snapshot.rows().next().is_some() => Refusal::NoLabel {
            metric: metric(),
            label: label.clone(),
            labels: Names::of(labels),
        },
        _ => Refusal::NoRow {
            metric: metric(),
            wanted: Pairs(selector.to_vec()),
        },
    })
}

/// The row of the variant that `asker` scales; of a metric whose rows are no variants', the one that it has.
///
/// A row of another variant is none of the asker's, even if it is the only one.
fn of_asker<'a>(snapshot: &'a Snapshot, asker: &ScaledObject) -> Result<Row<'a>, Refusal> {
    let spec = snapshot.spec();
    let is_of_variants = spec.for_each.is_some() || snapshot.rows().any(|row| row.label("variant").is_some());
    if !is_of_variants {
        // Without any label to go by, there is one row at least: that which says why there is none.
        return one(snapshot, snapshot.rows().collect())?.ok_or_else(|| Refusal::NoRow {
            metric: spec.name.to_string(),
            wanted: Pairs(Vec::new()),
        });
    }
    let is_askers = |row: &Row<'_>| {
        let namespace = row.label("namespace").or_else(|| spec.params.get("namespace"));
        row.label("variant") == Some(&asker.name) && namespace == Some(&asker.namespace)
    };
    let own = snapshot.rows().filter(is_askers);
    one(snapshot, own.collect())?.ok_or_else(|| {
        let metric = spec.name.to_string();
        let (name, namespace) = (asker.name.clone(), asker.namespace.clone());
        match spec.for_each {
            Some(_) => Refusal::NoVariant {
                metric,
                name,
                namespace,
            },
            None => Refusal::NoRow {
                metric,
                wanted: Pairs(vec![
                    ("variant".to_owned(), name),
                    ("namespace".to_owned(), namespace),
                ]),
            },
        }
    })
}

/// The only one of `rows`, if there is any.
fn one<'a>(snapshot: &Snapshot, rows: Vec<Row<'a>>) -> Result<Option<Row<'a>>, Refusal> {
    let [first, .., _] = rows[..] else {
        return Ok(rows.first().copied());
    };
    let names: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.labels().map(|(name, _)| name))
        .collect();
    let differ = names
        .into_iter()
        .filter(|name| rows.iter().any(|row| row.label(name) != first.label(name)));
    Err(Refusal::SeveralRows {
        metric: snapshot.spec().name.to_string(),
        count: rows.len(),
        labels: Names::of(differ),
    })
}

// === impl Names ===

impl Names {
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no labels");
        }
        for (at, name) in self.0.iter().take(NAMED).enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{name}={}", Excerpt(value))?;
        }
        Ok(())
    }
}

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean {}?", Excerpt(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::cache::Lookup;
    use fleetgauge_core::completeness::Completeness;
    use fleetgauge_core::query::QueryTemplate;
    use fleetgauge_core::reading::{ReadingSpec, Readings};
    use fleetgauge_core::source::{FixedBackend, MetricsSource as _, RefreshSpec};
    use fleetgauge_core::time::Clock;

    use super::*;
    use crate::metric::MetricSpec;
    use crate::store::Part;

    /// Zero replicas of a query over pods alone: that is zero, and the door adds nothing to it.
    #[tokio::test]
    async fn no_replicas_are_zero() {
        let nobody = [([("pod", "a")], 0.0); 0];
        let backend = FixedBackend::new().values("queue", nobody);
        let source = backend.completeness("queue", Completeness::known()).into_source();
        source
            .query_list()
            .must_register(QueryTemplate::promql("queue", "up"));
        source.refresh(RefreshSpec::all()).await;
        let found: Lookup = source.lookup("queue", &fleetgauge_core::params::Params::new());

        let spec = ReadingSpec::new("queue", "queue".parse().unwrap());
        let store = Store::new(Clock::system());
        for (spec, expected) in [
            (spec.clone().over_pods_alone(), Ok(0.0)),
            (spec, Err(ReasonCode::NoData)),
        ] {
            let readings = Readings::new(spec, store.clock().clone()).unwrap();
            readings.update(&found, None);
            let metric = MetricSpec::new("queue".parse().unwrap(), "pods", "queue").unwrap();
            let entry = Entry::new(Arc::new(metric));
            entry.set_parts(vec![Arc::new(Part::new(Vec::new(), readings))]);
            store.replace([Arc::new(entry)]);
            let trigger = Trigger {
                metric: "queue".to_owned(),
                target: 1.0,
                activation: 0.0,
                selector: None,
            };
            let asker = ScaledObject {
                name: "a".to_owned(),
                namespace: "chat".to_owned(),
            };
            let given = number(&store, &trigger, &asker).map_err(|refusal| match refusal {
                Refusal::Withheld { code, .. } => code,
                other => panic!("{other}"),
            });
            assert_eq!(given, expected);
        }
    }
}
