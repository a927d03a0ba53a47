//! The examination of one query after the other.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::params::Params;
use fleetgauge_core::query::{Companions, QueryTemplate, QueryType};
use fleetgauge_core::source::{MetricsSource, QueryError};

use super::fill::{self, fill};
use super::finding::{Finding, Rank, Severity};
use super::probe::{Failure, Probe};
use super::rename::Renames;
use super::rows::{self, Seen};
use super::subject::Subject;
use super::words::count;
use super::{advice, dissect};

/// Examines the queries of one source.
#[derive(Clone)]
pub struct Doctor {
    source: Arc<dyn MetricsSource>,
    params: Params,
    max_age: Duration,
    max_requests: usize,
    deadline: Duration,
}

/// What is known for all queries.
pub(super) struct Examination<'d> {
    doctor: &'d Doctor,
    probe: Probe,
    renames: Renames,
    /// Why the source answers nothing at all.
    down: Mutex<Option<QueryError>>,
}

// === impl Doctor ===

impl Doctor {
    /// Asks `source`. It registers the queries that it examines there anew, and removes those of its own at the end: the
    /// source is best one that nobody else reads.
    pub fn new(source: Arc<dyn MetricsSource>) -> Self {
        Self {
            source,
            params: Params::new(),
            max_age: Duration::from_secs(120),
            max_requests: 1_000,
            deadline: Duration::from_secs(60),
        }
    }

    fleetgauge_core::setters! {
        /// The parameters that are known. For others, values are taken that the source has.
        params(params: impl Into<Params>) => params = params.into();
        /// Up to which age samples are in order, 2 minutes by default.
        max_age(max_age: Duration) => max_age = max_age;
        /// How often the source may be asked, 1,000 times by default.
        max_requests(max_requests: usize) => max_requests = max_requests;
        /// How long an examination may take, a minute by default. What is left by then is told as not examined.
        deadline(deadline: Duration) => deadline = deadline;
    }

    /// Examines `queries`, one after the other.
    ///
    /// *Shape*: a finding for each query, in their order.
    pub async fn examine(&self, queries: &[QueryTemplate]) -> Vec<Finding> {
        self.examine_with(queries, |_| {}).await
    }

    /// The same; `progress` is told each query's index before it is examined.
    pub async fn examine_with(
        &self,
        queries: &[QueryTemplate],
        mut progress: impl FnMut(usize),
    ) -> Vec<Finding> {
        let examination = Examination::new(self, queries);
        let mut findings = Vec::with_capacity(queries.len());
        for (i, query) in queries.iter().enumerate() {
            progress(i);
            findings.push(examination.finding(query).await);
        }
        findings
    }
}

impl fmt::Debug for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut doctor = f.debug_struct("Doctor");
        doctor.field("params", &self.params).finish_non_exhaustive()
    }
}

// === impl Examination ===

impl<'d> Examination<'d> {
    pub(super) fn new(doctor: &'d Doctor, queries: &[QueryTemplate]) -> Self {
        Self {
            doctor,
            probe: Probe::new(
                Arc::clone(&doctor.source),
                doctor.params.clone(),
                doctor.max_requests,
                doctor.deadline,
            ),
            renames: Renames::known(queries),
            down: Mutex::default(),
        }
    }

    pub(super) async fn finding(&self, query: &QueryTemplate) -> Finding {
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let outcome = match down {
            Some(error) => Err(Failure::Query(error)),
            None => self.examine(query).await,
        };
        match outcome {
            Ok(finding) => finding,
            Err(Failure::Bound(bound)) => Finding {
                query: query.name.clone(),
                severity: Severity::Warning,
                what: format!("not examined to the end: {bound}"),
                advice: advice::NOT_EXAMINED.to_owned(),
            },
            Err(Failure::Query(error)) => {
                self.note(&error);
                let what = match &error {
                    // The name is told beside it, and may be that of a question of the examination's own.
                    QueryError::Fetch { error, .. } => error.to_string(),
                    QueryError::Render(error) => error.to_string(),
                    other => other.to_string(),
                };
                Finding {
                    query: query.name.clone(),
                    severity: Severity::Error,
                    what,
                    advice: advice::of_failure(&error),
                }
            }
        }
    }

    /// Remembers a failure that every query would meet.
    fn note(&self, error: &QueryError) {
        let is_down = |error: &FetchError| match error {
            FetchError::Unreachable { .. } | FetchError::Tls { .. } | FetchError::Discovery { .. } => true,
            FetchError::AllTargets(error) => {
                matches!(**error, FetchError::Unreachable { .. } | FetchError::Tls { .. })
            }
            _ => false,
        };
        if error.fetch_error().is_some_and(is_down) {
            *self.down.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    }

    async fn examine(&self, query: &QueryTemplate) -> Result<Finding, Failure> {
        let finding = |severity, what: String, advice: String| Finding {
            query: query.name.clone(),
            severity,
            what,
            advice,
        };
        let list = self.probe.source().query_list();
        let mut asked = query.clone();
        asked.companions = Some(Companions::all());
        if let Err(error) = list.replace(asked) {
            let advice = "correct the query; `fleetgauge check` shows the place";
            return Ok(finding(Severity::Error, error.to_string(), advice.to_owned()));
        }
        let Some(registered) = list.get(&query.name) else {
            let what = "somebody else has removed the query meanwhile".to_owned();
            return Ok(finding(Severity::Warning, what, String::new()));
        };
        let declared = registered.params();
        let stand_ins = fill::stand_ins(declared, self.probe.given());
        let rendered = registered
            .render(&stand_ins.0)
            .map_err(|error| Failure::Query(error.into()))?;
        let tree = match query.query_type {
            QueryType::PromQl => fleetgauge_syntax::parse(&rendered),
            QueryType::MetricName => {
                let escaped = rendered.trim().replace('\\', r"\\").replace('"', "\\\"");
                fleetgauge_syntax::parse(&format!("{{__name__=\"{escaped}\"}}"))
            }
        };
        let tree = match tree {
            Ok(tree) => tree,
            Err(error) => return self.unparsed(query, &stand_ins, error.to_string()).await,
        };
        if let Some(param) = fill::without_label(&tree, &stand_ins.1) {
            let what = format!("needs the parameter {param}, for which nothing can be looked up");
            let advice = format!("give it with -p {param}=VALUE");
            return Ok(finding(Severity::Warning, what, advice));
        }
        let filled = fill(&self.probe, &tree, declared, stand_ins).await?;
        let rendered = registered
            .render(&filled.params)
            .map_err(|error| Failure::Query(error.into()))?;
        // The shape of the tree is the same; only texts have changed.
        let tree = match query.query_type {
            QueryType::PromQl => fleetgauge_syntax::parse(&rendered).unwrap_or(tree),
            QueryType::MetricName => tree,
        };
        let subject = Subject {
            probe: &self.probe,
            renames: &self.renames,
            filled,
        };
        let result = match self.probe.run(&query.name, &subject.filled.params).await {
            Ok(result) => result,
            Err(failure) => {
                // That samples are missing may hide that none of them would fit.
                let reason = match &failure {
                    Failure::Query(error) if is_incomplete(error) => {
                        Some(dissect::why(&subject, &tree).await?)
                    }
                    _ => None,
                };
                let reason = reason.filter(|reason| matches!(reason.rank, Rank::Label | Rank::Value));
                let mut finding = reason.ok_or(failure)?.into_finding(&query.name);
                finding.what.push_str(&subject.asked_with());
                return Ok(finding);
            }
        };
        if result.is_no_data() {
            let reason = dissect::why(&subject, &tree).await?;
            let mut finding = reason.into_finding(&query.name);
            finding.what.push_str(&subject.asked_with());
            return Ok(finding);
        }
        let seen = Seen {
            tree: &tree,
            text: &rendered,
            result: &result,
            max_age: self.doctor.max_age,
        };
        let (severity, what, advice) = rows::judge(&subject, &seen).await?;
        Ok(finding(severity, what + &subject.asked_with(), advice))
    }

    /// Of a query that Fleetgauge cannot take apart, as one in MetricsQL.
    async fn unparsed(
        &self,
        query: &QueryTemplate,
        (params, unknown): &(Params, Vec<fill::Unknown>),
        why: String,
    ) -> Result<Finding, Failure> {
        let (severity, what, advice) = if let Some(one) = unknown.first() {
            let what = format!(
                "needs the parameter {}, and cannot be taken apart: {why}",
                one.param
            );
            (
                Severity::Warning,
                what,
                format!("give it with -p {}=VALUE", one.param),
            )
        } else {
            let result = self.probe.run(&query.name, params).await?;
            match result.is_no_data() {
                true => {
                    let what = format!("no rows, and it cannot be taken apart: {why}");
                    let advice = "ask for its parts with fleetgauge query --promql";
                    (Severity::Error, what, advice.to_owned())
                }
                false => (Severity::Ok, count(result.len()), String::new()),
            }
        };
        Ok(Finding {
            query: query.name.clone(),
            severity,
            what,
            advice,
        })
    }
}

fn is_incomplete(error: &QueryError) -> bool {
    matches!(error.fetch_error(), Some(FetchError::Incomplete { .. }))
}
