//! Reads what targets expose: the Prometheus text format 0.0.4, OpenMetrics 1.0 and 2.0, and Protocol Buffers, which have
//! native histograms as OpenMetrics 2.0 has them.
//!
//! A thousand pods of a hundred kilobytes, every second, is what this module is shaped by:
//! - Nothing is copied and nothing allocated for a sample. Names, labels and texts are borrowed from the
//!   page; only one with escapes is owned.
//! - The text of a series, `name{labels}` as exposed, is at hand before its labels are read. A scraper keys
//!   its series by that text, and reads the labels of a series once in its life.
//! - A reader who needs five families of eighty says so ([`Wanted`]), and other lines are passed over.
//!
//! It is tolerant by line, where Prometheus gives up the whole page: one bad line must not blind an
//! autoscaler to the others. But nothing is lost silently: bad lines are counted and described
//! ([`LineError`]), the metrics that may have lost samples are named ([`LostMetrics`]), a page that was not
//! read to its end is marked ([`Cut`]), and a value that cannot be held is an error, never another value.
//!
//! What Prometheus reads is read here, with the same result, save that a newline inside a label's value must
//! be escaped, and that the last line must end with a line feed, as the formats say: a page that ends within a
//! line may be cut within a number. Besides, these are read: CRLF, hexadecimal floats, negative timestamps,
//! exemplars in the text format (they are skipped, in both), and blanks and tabs wherever either format has a
//! blank.
//!
//! ```
//! use fleetgauge_promql::exposition::{Event, Format, Parser};
//!
//! let body = b"# TYPE vllm:num_requests_waiting gauge
//! vllm:num_requests_waiting{engine=\"0\"} 6
//! vllm:num_requests_waiting{engine=\"1\"} six
//! ";
//! let mut parser = Parser::new();
//! let mut page = parser.page(Format::Text, body);
//! while let Some(event) = page.next() {
//!     let Event::Sample(sample) = event else { continue };
//!     let Some(labels) = page.labels() else { continue };
//!     assert_eq!(sample.name(), "vllm:num_requests_waiting");
//!     assert_eq!(labels.get("engine").as_deref(), Some("0"));
//!     assert_eq!(sample.value, 6.0);
//! }
//! let report = page.finish();
//! assert_eq!((report.samples, report.errors), (1, 1));
//! assert_eq!(
//!     report.first_errors[0].to_string(),
//!     r#"line 3, column 39: value is not a number: "vllm:num_requests_waiting{engine=\"1\"} six""#
//! );
//! ```

mod comment;
mod composite;
mod encode;
mod event;
mod fault;
mod format;
mod label;
mod limits;
mod line;
mod lost;
mod messages;
mod metric_type;
mod name;
mod native;
mod number;
mod open_metrics_2;
mod page;
mod report;
#[cfg(test)]
mod tests;
mod wanted;
mod wire;

pub use encode::Encoder;
pub use event::{Event, HistogramSample, Sample};
pub use fault::Reason;
pub use format::{Format, UnsupportedContentType};
pub use label::Labels;
pub use limits::Limits;
pub use lost::LostMetrics;
pub use metric_type::MetricType;
pub use native::Histograms;
pub use page::{Page, Parser};
pub use report::{Cut, LineError, Place, Report};
pub use wanted::Wanted;

pub(crate) use number::parse_float;
