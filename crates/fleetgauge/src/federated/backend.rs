//! Asks the members for the parts of a query, side by side, and evaluates the rest over their answers.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::completeness::{Completeness, Report};
use fleetgauge_core::label::Labels;
use fleetgauge_core::result::{Answer, Provenance, ShardMark};
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::answers::{Answers, ReadBy};
use fleetgauge_syntax::rewrite::Plan;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::config::{FederatedConfig, Require};
use super::member::{Ask, SourceMember};
use super::plan::{Split, rejected};
use super::union::union;
use crate::evaluation::{self, Evaluator};

/// A [`Backend`] whose answers are those of its members together.
pub(super) struct FederatedBackend {
    members: Vec<SourceMember>,
    /// The names of the labels that tell members apart.
    labels: Arc<[Box<str>]>,
    require: Require,
    max_series: usize,
    max_bytes: usize,
    gone_after: Duration,
    evaluator: Evaluator,
    clock: Clock,
}

/// What all members have answered to a part.
struct Had {
    part: String,
    answer: Answer,
    at: Timestamp,
    read_by: ReadBy,
}

/// The namespace and the name of a pod.
type Pod = (String, String);

/// A query whose last time is no farther away, or no farther than a step, asks for now.
const NOW_WITHIN: Duration = Duration::from_secs(60);

// === impl FederatedBackend ===

impl FederatedBackend {
    pub(super) fn new(members: Vec<SourceMember>, config: &FederatedConfig, clock: Clock) -> Self {
        let first = members.iter().take(1);
        let labels = first.flat_map(|member| member.labels.iter().map(|(name, _)| Box::from(&**name)));
        Self {
            labels: labels.collect(),
            members,
            require: config.require,
            max_series: config.max_series,
            max_bytes: config.max_bytes,
            gone_after: config.gone_after,
            evaluator: Evaluator::over_answers(config.query_timeout),
            clock,
        }
    }

    /// The names of the labels that tell members apart.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|name| &**name)
    }

    fn split(&self, request: &Request, now: Timestamp) -> Result<Split, FetchError> {
        let labels: Vec<&str> = self.labels().collect();
        let at = (request.at.unwrap_or(now), request.at.is_none());
        Split::new(&request.promql(), &labels, at, request.steps(now)?)
    }

    /// How a query is split, as of now.
    pub(super) fn plan(&self, request: &Request) -> Result<Plan, FetchError> {
        Ok(self.split(request, self.now(request))?.plan)
    }

    fn now(&self, request: &Request) -> Timestamp {
        request.now.unwrap_or_else(|| self.clock.wall())
    }

    async fn answer(&self, request: &Request) -> Result<Answer, FetchError> {
        // What is asked here in turn begins on a stack of its own, however deep sources lie on sources.
        tokio::task::yield_now().await;
        // A member that is late is named by then, and what there is without it is evaluated.
        let margin = (request.timeout / 10).min(Duration::from_millis(200));
        let now = self.now(request);
        let steps = request.steps(now)?;
        let at = request.at.unwrap_or(now);
        let split = self.split(request, now)?;
        let near = steps.map_or(NOW_WITHIN, |steps| steps.step().max(NOW_WITHIN));
        let ask = Ask {
            query: &request.name,
            split: &split,
            asked_at: request.asked_at,
            max_age: request.max_age,
            // Nothing can be computed from histograms of which a member tells the bounds alone: buckets of powers of two
            // may be exponential ones or just so configured, and quantiles of both are different ones.
            histograms: request.histograms && split.is_whole(),
            deadline: Instant::now() + request.timeout.saturating_sub(margin),
            clock: &self.clock,
            gone_after: (now.saturating_since(at) <= near).then_some(self.gone_after),
        };
        let asked: Vec<_> = (self.members.iter())
            .map(|member| (member, split.concerning(&member.labels)))
            .filter(|(_, questions)| !questions.is_empty())
            .collect();
        let answers = asked
            .iter()
            .map(|(member, questions)| member.answers(questions, &ask));
        let answers = join_all(answers).await;
        let mut completeness = Completeness::known();
        let mut had: Vec<Vec<(&SourceMember, &Answer)>> =
            split.questions.iter().map(|_| Vec::new()).collect();
        for ((member, questions), answers) in asked.iter().zip(&answers) {
            match answers {
                Ok(answers) => {
                    completeness.add(&member.name, Report::Reported);
                    let answers = questions.iter().zip(answers);
                    answers.for_each(|(&question, answer)| had[question].push((*member, answer)));
                }
                Err(why) => completeness.add(&member.name, Report::Missing(why)),
            }
        }
        let completeness = Arc::new(completeness);
        let required = self.require.of(asked.len()).min(asked.len());
        if completeness.reported() < required as u64 {
            return Err(FetchError::Members {
                required,
                of: asked.len(),
                members: completeness,
            });
        }
        self.check_size(had.iter().flatten().map(|(_, answer)| *answer))?;
        let mut unions: Vec<Had> = Vec::with_capacity(had.len());
        for (question, of_members) in split.questions.iter().zip(&had) {
            unions.push(Had {
                part: split.plan.pushed[question.part].name.clone(),
                answer: union(question, of_members)?,
                at: question.at,
                read_by: question.read_by,
            });
        }
        let answer = match (split.is_whole(), unions.len()) {
            (true, 1) => unions.remove(0).answer,
            _ => {
                let times = steps.map_or(evaluation::Times::Once(at), evaluation::Times::Steps);
                let pods = self.pods(&unions);
                let answer = self.evaluated(split.plan.rest.to_string(), unions, times).await?;
                self.told_apart(answer, &pods)
            }
        };
        let answer = answer.with_cluster_labels(Arc::clone(&self.labels));
        let shards = had.iter().flatten().map(|(member, answer)| {
            let mark = answer.provenance().and_then(Provenance::shard);
            (&*member.name, mark)
        });
        // Of each member once: it may have answered several questions.
        let mut seen = BTreeSet::new();
        let shards: Vec<_> = shards
            .filter(|(who, mark)| seen.insert((*who, mark.map(|mark| mark.to_string()))))
            .collect();
        let answer = match ShardMark::disagreement(shards.iter().copied(), self.members.len()) {
            Some(why) => answer.with_loss(&why),
            None => answer,
        };
        // A query that no member is asked for has nobody to wait for.
        Ok(match split.questions.is_empty() {
            true => answer,
            false => answer.with_completeness(completeness),
        })
    }

    async fn evaluated(
        &self,
        rest: String,
        unions: Vec<Had>,
        times: evaluation::Times,
    ) -> Result<Answer, FetchError> {
        let gathered = move || {
            let mut answers = Answers::new();
            for Had {
                part,
                answer,
                at,
                read_by,
            } in &unions
            {
                answers.add_named(part, answer, *at, *read_by).map_err(rejected)?;
                answer.warnings().for_each(|warning| match answer.is_complete() {
                    true => answers.add_warning(part, warning),
                    false => answers.add_missing(part, warning),
                });
            }
            Ok(answers)
        };
        self.evaluator.evaluate(gathered, Cow::Owned(rest), times).await
    }

    /// The pods that the rows of the members name, each with the first two members that have it.
    fn pods(&self, unions: &[Had]) -> HashMap<Pod, BTreeSet<String>> {
        let mut pods: HashMap<_, BTreeSet<_>> = HashMap::new();
        for series in unions.iter().flat_map(|had| had.answer.series()) {
            let labels = series.labels();
            let Some(pod) = pod(labels) else { continue };
            let of_pod = pods.entry(pod).or_default();
            if of_pod.len() < 2 {
                let own = self.labels().map(|name| labels.get(name).unwrap_or_default());
                of_pod.insert(own.collect::<Vec<_>>().join("/"));
            }
        }
        pods
    }

    /// `answer`, which lacks something where a row without the labels of the members names a pod that two of them have: it
    /// is taken for a row of one pod by whoever reads it.
    fn told_apart(&self, answer: Answer, pods: &HashMap<Pod, BTreeSet<String>>) -> Answer {
        let mixed = answer.series().find_map(|series| {
            let labels = series.labels();
            let is_apart = self.labels().all(|name| labels.get(name).is_some());
            let pod = pod(labels).filter(|_| !is_apart)?;
            let members = pods.get(&pod).filter(|members| members.len() > 1)?;
            Some((pod, members.iter().cloned().collect::<Vec<_>>().join(" and ")))
        });
        let Some(((namespace, name), members)) = mixed else {
            return answer;
        };
        let labels = self.labels().collect::<Vec<_>>().join(", ");
        answer.with_loss(&format!(
            "the rows of different pods of one name, as {namespace}/{name} of {members}, are one: keep the label {labels} \
             where pods are grouped or matched, or call it cluster, as the query packs do"
        ))
    }

    fn check_size<'a>(&self, answers: impl Iterator<Item = &'a Answer>) -> Result<(), FetchError> {
        let (mut series, mut bytes) = (0, 0);
        for answer in answers {
            series += answer.series().len();
            bytes += answer.heap_bytes();
        }
        let within = |count: usize, limit: usize, unit| match count <= limit {
            true => Ok(()),
            false => Err(FetchError::TooLarge {
                limit: limit as u64,
                unit,
            }),
        };
        within(series, self.max_series, "series of the members (max_series)")?;
        within(bytes, self.max_bytes, "bytes of the members (max_bytes)")
    }
}

impl Backend for FederatedBackend {
    fn fetch<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        self.answer(request).boxed()
    }
}

/// The pod that a row names, which without its namespace is none.
fn pod(labels: Labels<'_>) -> Option<Pod> {
    Some((labels.get("namespace")?.to_owned(), labels.get("pod")?.to_owned()))
}
