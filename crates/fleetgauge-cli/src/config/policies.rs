//! Whether the policies of a configuration can be followed, by what the file tells.

use fleetgauge::document::{Node, Reader};
use fleetgauge::pack::{QueryContext, check_queries};

use super::Config;
use super::sources::{SourceKind, SourceSection};

/// What the file tells of those queries that every source has which has none of its own.
pub(super) fn context(config: &Config) -> QueryContext<'_> {
    let mut context = QueryContext::new(&config.defaults.policy, config.all_queries());
    let with_all = || config.sources.iter().filter(|source| !source.has_own_queries());
    let is_prometheus = |source: &SourceSection| matches!(source.kind, SourceKind::Prometheus(_));
    // Where no source is named, flags and environment name it.
    let is_named = config.prometheus.url.is_some() || with_all().next().is_some();
    context.knows_completeness = !is_named || !with_all().all(is_prometheus);
    // The source that is scraped most often: what not even that one can do cannot be done.
    let intervals: Option<Vec<_>> = with_all().map(SourceSection::sample_interval).collect();
    let intervals = intervals.filter(|_| config.prometheus.url.is_none());
    context.sample_interval = intervals.and_then(|intervals| intervals.into_iter().min());
    context
}

/// Notes what is wrong with the policies of the queries that composed sources have of their own.
pub(super) fn check_composed(config: &Config, node: &Node, reader: &mut Reader) {
    for source in &config.sources {
        let SourceKind::Composed(composed) = &source.kind else {
            continue;
        };
        let queries = &composed.config.queries;
        let place = node.field(&source.name).and_then(|node| node.field("composed"));
        if let Some(node) = place.and_then(|node| node.field("queries")) {
            let context = QueryContext::new(&config.defaults.policy, queries);
            check_queries(node, None, queries, &context, reader);
        }
    }
}
