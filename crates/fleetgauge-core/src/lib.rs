//! Vocabulary and pipeline of Fleetgauge: plain types and traits, without sockets, files, environment or
//! globals.
//!
//! In reading order:
//! - what a number is: [`label`], [`sample`], [`time`], [`histogram`], [`result`]; and what it stands on: [`age`], [`completeness`],
//!   [`interval`]
//! - what is asked: [`params`], [`template`], [`query`], [`query_list`], [`range`]
//! - how it is had and kept: [`backend`], [`cache`], [`source`], [`registry`]
//! - what is made of it: [`policy`], [`reading`]
//! - where it is scraped: [`target`]
//! - whose it is: [`variant`]
//! - what is done with it before it is kept: [`transform`]
//! - how messages name what others wrote: [`printable`], [`similar`]

pub mod age;
pub mod backend;
pub mod cache;
pub mod completeness;
mod counter;
mod error;
pub mod histogram;
pub mod interval;
pub mod label;
pub mod params;
pub mod pod;
pub mod policy;
pub mod query;
pub mod query_list;
pub mod range;
pub mod reading;
pub mod registry;
pub mod result;
pub mod sample;
mod setter;
pub mod source;
pub mod target;
pub mod template;
pub mod time;
pub mod transform;
pub mod variant;

pub use fleetgauge_syntax::{printable, similar};
