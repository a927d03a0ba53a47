//! What a query does with its answer, between the backend and the cache.

use std::future::Future;
use std::time::Instant as StdInstant;

use fleetgauge_syntax::rewrite;
use tokio::sync::SemaphorePermit;

use super::expected::Expectation;
use super::inner::{Ask, Inner, known, one_a_series};
use crate::backend::Request;
use crate::error::FetchError;
use crate::params::Params;
use crate::query::{Companions, QueryName, QueryType, Shape};
use crate::query_list::RegisteredQuery;
use crate::range::Steps;
use crate::result::Answer;
use crate::source::delta::check_points;
use crate::source::{MetricsSource, Outcome, RefreshSpec};
use crate::transform::{self, EvaluatedAt, TransformContext, TransformStep};

/// What is asked of a query, and the source that others are asked of beside it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) source: &'a dyn MetricsSource,
    pub(super) query: &'a RegisteredQuery,
    pub(super) ask: &'a Ask,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// What became of the queries `names` of this source, which are asked beside `query` for the same times.
    ///
    /// *Errors*: [`FetchError::Unsupported`] where others are asked beside one of them: two might wait for each other.
    fn beside(
        self,
        names: Vec<String>,
        request: &Request,
    ) -> impl Future<Output = Result<Vec<Outcome>, FetchError>> + Send + use<'a> {
        let asks_others = |name: &&String| {
            let beside = self.source.query_list().get(name);
            beside.is_some_and(|beside| {
                let template = beside.template();
                template.expected.is_some() || transform::weights(&template.transform).next().is_some()
            })
        };
        let asking = names.iter().find(asks_others).cloned();
        // What the query does not declare, its answers must not depend on: the cache does not tell them apart.
        let mut params = Params::new();
        for spec in self.query.params() {
            let values = self.ask.params.values(spec.name());
            values.for_each(|value| params.push(spec.name(), value));
        }
        let mut spec = RefreshSpec::queries(names.clone())
            .params(params)
            .wait_at_most(request.timeout);
        (spec.shape, spec.at, spec.max_age) = (request.shape, request.at, request.max_age);
        async move {
            if names.is_empty() {
                return Ok(Vec::new());
            }
            if let Some(asking) = asking {
                return Err(FetchError::Unsupported {
                    what: format!(
                        "{asking:?}, which is asked beside the query, has a query of its own that is asked beside it \
                         (weighted_by or expected)"
                    ),
                });
            }
            let results = self.source.refresh(spec).await;
            let outcomes = names.iter().map(|name| {
                let outcome = results.get(name).cloned().ok_or(FetchError::Aborted)?;
                // A query that takes them may be asked beside one that does not.
                let found = outcome
                    .as_ref()
                    .ok()
                    .and_then(|result| result.answer().not_a_number());
                match found {
                    None => Ok(outcome),
                    Some(error) => Err(FetchError::Unsupported {
                        what: format!("{name:?}, which is asked beside the query, gives {error}"),
                    }),
                }
            });
            outcomes.collect()
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Asks the backend, and does with the answer what the query says. A range is asked for whole: what is held has been
    /// transformed, with the variants of then, and steps may look at each other.
    pub(super) async fn transformed(
        &self,
        asked: Asked<'_>,
        permit: SemaphorePermit<'_>,
        request: &mut Request,
        steps: Option<Steps>,
        sent: &mut StdInstant,
    ) -> Result<Answer, FetchError> {
        let query = asked.query;
        let transform = &query.template().transform;
        let wanted = steps.map(|steps| steps.reaching(transform::reach(transform)));
        if let Some(wanted) = wanted {
            self.config.range.check_steps(wanted)?;
            request.at = Some(wanted.end());
            request.shape = Shape::Range {
                window: wanted.window(),
                step: wanted.step(),
            };
        }
        // For a range, who should have reported differs from step to step.
        let expected = query.template().expected.as_ref().filter(|_| wanted.is_none());
        let beside = transform::weights(transform).chain(expected.map(QueryName::as_str));
        let beside = asked.beside(beside.map(str::to_owned).collect(), request);
        let reporting = self.reporting(request, expected.is_some());
        let answer = self.ask(permit, request, sent);
        let (answer, beside, reporting) = futures_util::future::join3(answer, beside, reporting).await;
        let (mut answer, mut beside) = (answer?, beside?);
        if let (Some(by), Some(expected)) = (expected, expected.and_then(|_| beside.pop())) {
            let expectation = Expectation {
                by,
                expected,
                reporting,
            };
            answer = expectation.tell(answer);
        }
        let weights = beside.into_iter().map(|outcome| {
            outcome.map_err(|error| FetchError::Weights {
                error: Box::new(error),
            })
        });
        let weights = weights.collect::<Result<Vec<_>, _>>()?;
        let at = match wanted {
            Some(wanted) => {
                check_points(&answer, wanted)?;
                EvaluatedAt::Steps(wanted)
            }
            None => EvaluatedAt::Once(request.at.or(answer.at()).unwrap_or_else(|| self.clock.wall())),
        };
        let variants = self.queries.variants();
        let pipeline = transform.clone();
        let applying = move || {
            let (variants, weights) = (&*variants, &*weights);
            let context = TransformContext {
                at,
                variants,
                weights,
            };
            transform::apply(&pipeline, answer, context)
        };
        let evaluates = |step: &TransformStep| matches!(step, TransformStep::Evaluate(_));
        let answer = match transform.iter().any(evaluates) {
            // It may be busy for a while.
            true => {
                let applied = tokio::task::spawn_blocking(applying).await;
                applied.map_err(|_| FetchError::Aborted)??
            }
            false => applying()?,
        };
        let answer = match steps {
            Some(steps) if wanted != Some(steps) => transform::since(answer, steps.start()),
            _ => answer,
        };
        if steps.is_some() {
            self.config.range.check_size(&answer)?;
        }
        let answer = known(answer, request.shape)?;
        match steps {
            Some(_) => Ok(answer),
            None => one_a_series(answer),
        }
    }

    /// Who reports for what is asked, where that `is_wanted`: the text that asks for it, and the answer. `None` where the
    /// query allows no such text.
    fn reporting(
        &self,
        request: &Request,
        is_wanted: bool,
    ) -> impl Future<Output = Option<(String, Result<Answer, FetchError>)>> + Send + use<'_> {
        let text = || rewrite::reporting(&fleetgauge_syntax::parse(&request.promql()).ok()?);
        let text = is_wanted.then(text).flatten().map(|expr| expr.to_string());
        let asking = text.map(|text| {
            let mut request = request.clone();
            request.query_type = QueryType::PromQl;
            request.text.clone_from(&text);
            request.companions = Some(Companions::none());
            (text, request)
        });
        async move {
            let (text, mut request) = asking?;
            let answer = match self.permit().await {
                Ok(permit) => self.ask(permit, &mut request, &mut StdInstant::now()).await,
                Err(error) => Err(error),
            };
            Some((text, answer))
        }
    }
}
