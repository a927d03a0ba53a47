//! What a query does with its answer, between the backend and the cache.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant as StdInstant;

use tokio::sync::SemaphorePermit;

use super::{Ask, CachedSource, Inner, known, one_a_series};
use crate::backend::Request;
use crate::error::FetchError;
use crate::params::Params;
use crate::query::Shape;
use crate::query_list::RegisteredQuery;
use crate::range::Steps;
use crate::result::{Answer, MetricResult};
use crate::source::delta::check_points;
use crate::source::{MetricsSource, RefreshSpec};
use crate::transform::{self, EvaluatedAt, TransformContext, TransformStep};

impl Inner {
    /// Asks the backend, and does with the answer what the query says. A range is asked for whole: what is held has been
    /// transformed, with the variants of then, and steps may look at each other.
    pub(super) async fn transformed(
        self: &Arc<Self>,
        permit: SemaphorePermit<'_>,
        query: &RegisteredQuery,
        ask: &Ask,
        request: &mut Request,
        steps: Option<Steps>,
        sent: &mut StdInstant,
    ) -> Result<Answer, FetchError> {
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
        let weights = self.weights(query, ask, request);
        let (answer, weights) = futures_util::future::join(self.ask(permit, request, sent), weights).await;
        let (answer, weights) = (answer?, weights?);
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

    /// The answers by which the values of `query` count, for the same times.
    ///
    /// *Errors*: [`FetchError::Weights`]
    fn weights(
        self: &Arc<Self>,
        query: &RegisteredQuery,
        ask: &Ask,
        request: &Request,
    ) -> impl Future<Output = Result<Vec<Arc<MetricResult>>, FetchError>> + Send + use<> {
        let names: Vec<String> = transform::weights(&query.template().transform)
            .map(str::to_owned)
            .collect();
        let is_weighted = |name: &&String| {
            let weights = self.queries.get(name);
            weights.is_some_and(|weights| transform::weights(&weights.template().transform).next().is_some())
        };
        let weighted = names.iter().find(is_weighted).cloned();
        // What the query does not declare, its answers must not depend on: the cache does not tell them apart.
        let mut params = Params::new();
        for spec in query.params() {
            let values = ask.params.values(spec.name());
            values.for_each(|value| params.push(spec.name(), value));
        }
        let mut spec = RefreshSpec::queries(names.clone())
            .params(params)
            .wait_at_most(request.timeout);
        (spec.shape, spec.at, spec.max_age) = (request.shape, request.at, request.max_age);
        let source = CachedSource(Arc::clone(self));
        async move {
            if names.is_empty() {
                return Ok(Vec::new());
            }
            if let Some(weighted) = weighted {
                return Err(FetchError::Unsupported {
                    what: format!("the weights {weighted:?} are themselves weighted by a query"),
                });
            }
            let results = source.refresh(spec).await;
            let outcomes = names.iter().map(|name| match results.get(name) {
                Some(outcome) => outcome.clone().map_err(|error| FetchError::Weights {
                    error: Box::new(error),
                }),
                None => Err(FetchError::Aborted),
            });
            outcomes.collect()
        }
    }
}
