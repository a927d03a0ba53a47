//! What the configuration describes, as it is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetgauge::prometheus::remote_write::RemoteWrite;
use fleetgauge::scrape::ScrapeSource;
use fleetgauge_core::source::MetricsSource;
use fleetgauge_core::time::Timestamp;

use crate::variant::Variant;

/// A source, as it is shown.
#[derive(Clone)]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// What it is, in one word.
    pub kind: &'static str,
    /// The source.
    pub source: Arc<dyn MetricsSource>,
    /// Itself, if it scrapes.
    pub scraping: Option<ScrapeSource>,
}

/// A server that is written to, as it is shown.
#[derive(Clone)]
pub struct RemoteView {
    /// Its name.
    pub name: String,
    /// What writes to it.
    pub remote: Arc<RemoteWrite>,
}

/// The sources and variants.
#[derive(Default)]
pub(super) struct FleetView {
    pub(super) sources: Vec<SourceView>,
    pub(super) variants: Vec<Variant>,
}

/// How the configuration was read since the start.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    /// How often it was taken.
    pub taken: u64,
    /// How often it was not, since something was wrong with it.
    pub refused: u64,
    /// What is wrong with it as it is now.
    pub error: Option<String>,
    /// When it was read last.
    pub at: Option<Timestamp>,
    /// What it says otherwise than at the start, and is taken at a start alone.
    pub needs_restart: BTreeSet<&'static str>,
}
