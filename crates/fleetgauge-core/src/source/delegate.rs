//! Sources that are a [`CachedSource`] and something beside it.

use futures_util::future::BoxFuture;

use super::{CachedSource, MetricsSource, RefreshResults, RefreshSpec, SourceStats};
use crate::backend::Request;
use crate::cache::{CachedRef, CachedValue, Lookup, PreparedQuery};
use crate::error::{FetchError, QueryError};
use crate::params::Params;
use crate::query::Shape;
use crate::query_list::QueryList;
use crate::result::Answer;

/// A source with a [`CachedSource`] behind it, which does all that a [`MetricsSource`] does.
///
/// ```
/// use fleetgauge_core::source::{CachedSource, FixedBackend, HasCachedSource, MetricsSource};
///
/// struct Fleet(CachedSource);
///
/// impl HasCachedSource for Fleet {
///     fn cached_source(&self) -> &CachedSource {
///         &self.0
///     }
/// }
/// fn is_a_source(_: &dyn MetricsSource) {}
/// # fn main() { let _ = |fleet: Fleet| is_a_source(&fleet); }
/// ```
pub trait HasCachedSource: Send + Sync {
    /// The source that is behind it.
    fn cached_source(&self) -> &CachedSource;
}

impl<S: HasCachedSource> MetricsSource for S {
    fn query_list(&self) -> &QueryList {
        self.cached_source().query_list()
    }

    fn refresh(&self, spec: RefreshSpec) -> BoxFuture<'_, RefreshResults> {
        self.cached_source().refresh(spec)
    }

    fn get(&self, query: &str, params: &Params) -> Option<CachedRef> {
        self.cached_source().get(query, params)
    }

    fn lookup_shape(&self, query: &str, params: &Params, shape: Shape) -> Lookup {
        self.cached_source().lookup_shape(query, params, shape)
    }

    fn get_or_refresh<'a>(
        &'a self,
        query: &'a str,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<CachedValue, QueryError>> {
        self.cached_source().get_or_refresh(query, params)
    }

    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, FetchError>> {
        self.cached_source().ask(request)
    }

    fn prepare(&self, query: &str, params: &Params) -> Result<PreparedQuery, QueryError> {
        self.cached_source().prepare(query, params)
    }

    fn stats(&self) -> SourceStats {
        self.cached_source().stats()
    }
}
