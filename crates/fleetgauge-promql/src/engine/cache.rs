//! The queries that were parsed: an autoscaler asks the same ones again and again.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::config::Features;
use crate::parse::{Expression, ParseError};

/// Parsed queries by their text; those that are wrong are not kept.
#[derive(Debug)]
pub(super) struct ParsedQueries {
    capacity: usize,
    features: Features,
    queries: RwLock<HashMap<Arc<str>, Arc<Expression>, RandomState>>,
}

/// *Unit*: bytes. A longer query is parsed anew each time, which is little beside its evaluation.
const MAX_KEPT_LENGTH: usize = 16 * 1024;

// === impl ParsedQueries ===

impl ParsedQueries {
    pub(super) fn new(capacity: usize, features: Features) -> Self {
        Self {
            capacity,
            features,
            queries: RwLock::default(),
        }
    }

    pub(super) fn get_or_parse(&self, query: &str) -> Result<Arc<Expression>, ParseError> {
        let known = self.queries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(query) {
            return Ok(Arc::clone(known));
        }
        drop(known);
        let parsed = Arc::new(Expression::parse_with(query, self.features, None)?);
        if query.len() <= MAX_KEPT_LENGTH && self.capacity > 0 {
            let mut known = self.queries.write().unwrap_or_else(PoisonError::into_inner);
            // Whoever fills it has queries that differ each time, and of those none is better kept.
            if known.len() >= self.capacity {
                known.clear();
            }
            known.insert(Arc::from(query), Arc::clone(&parsed));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_parsed_once_and_few_are_kept() {
        let queries = ParsedQueries::new(2, Features::default());
        let parse = |query: &str| queries.get_or_parse(query).expect("a metric");
        assert!(Arc::ptr_eq(&parse("a"), &parse("a")));
        ["b", "c", "d"].into_iter().for_each(|query| drop(parse(query)));
        assert!(queries.queries.read().expect("not poisoned").len() <= 2);
        assert!(queries.get_or_parse("(").is_err());
    }
}
