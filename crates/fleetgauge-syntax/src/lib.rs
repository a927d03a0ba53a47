//! PromQL as text: what is written, what it means, and how it is printed. Nothing is evaluated here.
//!
//! - how messages name what others wrote: [`printable`], [`similar`]
//! - numbers as they are printed, durations as they are read: [`number`], [`duration`]
//! - the pieces that a query is made of: [`lexer`], [`literal`], [`name`], [`regex`]
//! - a whole query: [`parse`], [`parse_with`] for what is experimental ([`Features`]), [`tree`], [`Function`], [`ParseError`]
//! - what `info` reads that no query names: [`info`]
//! - what is remarked on a query beside its answer: [`remark`]
//! - what is made of a query: [`rewrite`]

mod at_one_time;
mod check;
pub mod duration;
mod error;
mod features;
mod function;
mod grammar;
pub mod info;
mod invariant;
pub mod lexer;
mod limit;
pub mod literal;
pub mod name;
pub mod number;
mod parsed;
mod print;
pub mod printable;
mod query;
pub mod regex;
pub mod remark;
pub mod rewrite;
pub mod similar;
mod token;
pub mod tree;
mod value_type;

pub use at_one_time::zero_at_one_time;
pub use error::ParseError;
pub use features::{Features, UnknownFeature};
pub use function::Function;
pub use limit::{MAX_DEPTH, MAX_LENGTH, MAX_OPERATIONS};
pub use parsed::{Parsed, Times};
pub use query::{parse, parse_with};
