//! PromQL as text: what is written, what it means, and how it is printed. Nothing is evaluated here.
//!
//! - how messages name what others wrote: [`printable`], [`similar`]
//! - numbers as they are printed, durations as they are read: [`number`], [`duration`]

pub mod duration;
pub mod number;
pub mod printable;
pub mod similar;
