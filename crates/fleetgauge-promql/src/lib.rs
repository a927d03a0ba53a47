//! A Prometheus in memory, without sockets or files: pages go in, numbers come out.
//!
//! - [`exposition`]: reads and prints what targets expose
//! - [`window`]: keeps the newest samples of every series
//! - [`engine`]: evaluates PromQL over them, or over any other [`queryable`]
//!   - [`missing`]: what an answer may lack, and why
//!   - [`parse`]: from text to an expression whose types are checked
//!   - [`histogram`]: samples that are distributions
//!   - [`label`], [`matcher`], [`sample`]: what identifies a series, what selects it, and its points
//! - [`answers`]: what was answered already, as series, so that answers can be joined and aggregated
//! - [`store`]: samples of any age, from a file or a script
//! - [`script`]: the language of Prometheus's engine tests: load these series, evaluate that, expect this

pub mod exposition;
pub mod window;

pub mod answers;
pub mod engine;
pub mod histogram;
pub mod label;
pub mod matcher;
pub mod missing;
pub mod parse;
pub mod pattern;
pub mod queryable;
pub mod sample;
#[cfg(feature = "script")]
pub mod script;
pub mod store;

mod aggregate;
mod annotation;
mod binary;
mod budget;
mod config;
mod error;
mod function;
mod parallel;
mod selector;
mod value;

/// So that the example of the page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/promql.md")]
mod page {}
