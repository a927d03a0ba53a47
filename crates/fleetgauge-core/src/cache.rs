//! Answers kept until they expire, read without waiting for anyone.
//!
//! A read hashes the key, loads one pointer and compares one clock: it takes no lock, allocates nothing and
//! never waits for a refresh. Writers take turns; there are few of them. A failed refresh never replaces a
//! good value: it is recorded beside it.

mod key;
mod lookup;
mod prepared;
mod slot;
mod store;
mod value;

pub(crate) use key::{BuildKeyHasher, CacheKey, KeyRef};
pub use lookup::{CachedRef, Lookup};
pub use prepared::PreparedQuery;
pub use store::{Cache, CacheConfig, CacheStats};
pub use value::{CachedValue, Failure};
