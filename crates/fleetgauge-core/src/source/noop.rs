//! The source of those who have none.

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use std::sync::Arc;

use super::{MetricsSource, RefreshResults, RefreshSpec, SourceStats};
use crate::cache::{CachedRef, CachedValue, Lookup, PreparedQuery};
use crate::error::QueryError;
use crate::params::Params;
use crate::query::Shape;
use crate::query_list::QueryList;

/// A source without a backend: it takes registrations, and answers every query with
/// [`QueryError::NoSource`].
///
/// It does not answer "no data", which would be a statement about the fleet.
#[derive(Clone, Debug, Default)]
pub struct NoOpSource {
    queries: QueryList,
}

impl NoOpSource {
    /// A source without a backend.
    pub fn new() -> Self {
        Self::default()
    }
}

fn no_source(query: &str) -> QueryError {
    QueryError::NoSource {
        query: query.to_owned(),
    }
}

impl MetricsSource for NoOpSource {
    fn query_list(&self) -> &QueryList {
        &self.queries
    }

    fn refresh(&self, spec: RefreshSpec) -> BoxFuture<'_, RefreshResults> {
        let names = if spec.queries.is_empty() {
            self.queries.list()
        } else {
            spec.queries
        };
        let results = names
            .into_iter()
            .map(|name| (Arc::from(&*name), Err(no_source(&name))))
            .collect();
        future::ready(results).boxed()
    }

    fn get(&self, _query: &str, _params: &Params) -> Option<CachedRef> {
        None
    }

    fn lookup_shape(&self, query: &str, _params: &Params, _shape: Shape) -> Lookup {
        Lookup::Invalid(no_source(query))
    }

    fn get_or_refresh<'a>(
        &'a self,
        query: &'a str,
        _params: &'a Params,
    ) -> BoxFuture<'a, Result<CachedValue, QueryError>> {
        future::ready(Err(no_source(query))).boxed()
    }

    fn prepare(&self, query: &str, _params: &Params) -> Result<PreparedQuery, QueryError> {
        Err(no_source(query))
    }

    fn stats(&self) -> SourceStats {
        SourceStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::QueryTemplate;

    #[tokio::test]
    async fn every_query_says_that_there_is_no_source() {
        let source = NoOpSource::new();
        source
            .query_list()
            .must_register(QueryTemplate::promql("up", "up"));
        let results = source.refresh(RefreshSpec::all()).await;
        assert_eq!(results["up"].as_ref().unwrap_err().reason(), "no_source");
        assert!(source.get("up", &Params::new()).is_none());
    }
}
