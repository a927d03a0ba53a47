//! What is asked beside a query, or in its place: other queries, made of its tree.
//!
//! - [`age`], [`reporting`], [`ended()`], [`branch`]: companions, which tell of each row what it stands on
//! - [`oldest`]: the companion that tells how old all of them are at most
//! - [`sample_counts`]: the companion from which follows how far samples are apart
//! - [`is_mixed`], [`keeps`], [`is_both`]: whether a row stands on the series of others, and whether rows name their own
//! - [`distribute`]: parts for the members of a federation, and how their answers are joined; [`present`] and
//!   [`newest`]: what a member is asked beside them
//! - [`restricted`], [`reach`]: the query over the series of one writer of an engine, and how far back it reads
//!
//! What a function does with rows and series is said once, in `series`; where a tree does not allow an exact rewriting,
//! these say so instead of guessing.

mod age;
mod asked;
mod branch;
mod build;
mod distribute;
mod history;
mod kind;
mod member;
mod mixed;
mod oldest;
mod samples;
mod series;

pub use age::{Age, Newest, age, ended, looks_back, reporting};
pub use branch::{branch, operands};
pub use distribute::{DistributeError, Part, Plan, distribute};
pub use history::{reach, restricted};
pub use member::{newest, present};
pub use mixed::{has_row_for_each, is_both, is_mixed, keeps, may_be_constant};
pub use oldest::{OLDEST, Oldest, TOLD, YOUNGEST, oldest};
pub use samples::{COUNTED_MILLIS, SELECTOR, SampleCounts, sample_counts};
