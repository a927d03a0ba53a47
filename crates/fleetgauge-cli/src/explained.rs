//! What a query's numbers stand on, from its template to what may be acted on.

use std::sync::Arc;

use fleetgauge_core::policy::Policy;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::reading::ReadingSet;
use fleetgauge_core::result::{Answer, Origin};
use fleetgauge_core::time::Clock;

/// All that is told of a query.
pub(crate) struct Explained {
    pub(crate) query: QueryTemplate,
    /// Where its template is from, in words.
    pub(crate) from: String,
    /// As they were given, and those of the metric.
    pub(crate) params: Vec<(String, String)>,
    /// What tells the model of a variant of the cluster, in the order in which it counts; none where the metric that was
    /// named is not read for each variant of one.
    pub(crate) model_by: Vec<String>,
    pub(crate) rendered: String,
    pub(crate) source: String,
    /// The operands of the outermost `or` of what was rendered.
    pub(crate) operands: Vec<String>,
    /// The answer, or why there is none.
    pub(crate) outcome: Result<Answer, String>,
    /// Why the answer has no rows, if it has none.
    pub(crate) cause: Option<String>,
    pub(crate) policy: Policy,
    pub(crate) readings: Arc<ReadingSet>,
    pub(crate) clock: Clock,
}

// === impl Explained ===

impl Explained {
    fn origin(&self) -> Option<&Origin> {
        let answer = self.outcome.as_ref().ok()?;
        answer.provenance()?.origin().map(|origin| &**origin)
    }

    /// The query, and what was asked beside it or in its place.
    pub(crate) fn sent(&self) -> impl Iterator<Item = &str> {
        let beside = self.origin().map_or(&[][..], |origin| &origin.sent);
        [&*self.rendered]
            .into_iter()
            .chain(beside.iter().map(|text| &**text))
    }

    /// The operand of the `or` that gave all rows, where it was one and is known.
    pub(crate) fn branch(&self) -> Option<&str> {
        let answer = self.outcome.as_ref().ok()?;
        let provenance = answer.provenance()?;
        let mut branches = (0..answer.series().len()).map(|row| provenance.branch(row));
        let first = branches.next()??;
        let is_one = branches.all(|branch| branch == Some(first));
        let operand = self.operands.get(usize::from(first)).filter(|_| is_one)?;
        Some(operand)
    }
}
