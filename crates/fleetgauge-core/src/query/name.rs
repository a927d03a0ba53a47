//! What a query is called.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a query, unique within its source.
///
/// *Shape*: 1 to 200 of the characters `A–Z a–z 0–9 _ - . : /`; a pack's queries are named `pack/query`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryName(Arc<str>);

/// Why a text is no query name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no query name: it takes 1 to 200 of A-Z a-z 0-9 _ - . : /")]
pub struct QueryNameError {
    name: String,
}

// === impl QueryName ===

impl QueryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for QueryName {
    type Err = QueryNameError;

    fn from_str(name: &str) -> Result<Self, QueryNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b);
        if (1..=200).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            let name = name.chars().take(200).collect();
            Err(QueryNameError { name })
        }
    }
}

impl Borrow<str> for QueryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QueryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names() {
        for good in ["kv_cache_usage", "vllm/queue_length", "a-b.c:d", "9"] {
            assert_eq!(good.parse::<QueryName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\n", "ä", "{{.x}}", &"x".repeat(201)] {
            let error = bad.parse::<QueryName>().unwrap_err().to_string();
            assert!(error.contains("is no query name"), "{error}");
        }
    }
}
