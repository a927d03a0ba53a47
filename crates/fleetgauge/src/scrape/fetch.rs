//! One page, once: for those who look at a target instead of watching it.

use std::fmt;
use std::sync::Arc;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::target::Target;
use fleetgauge_core::time::Clock;
use fleetgauge_promql::exposition::Format;

use super::config::ScrapeConfig;
use super::scraper::{Common, Scraper};
use crate::client::ConfigError;

/// Fetches pages as a [`ScrapeSource`](super::ScrapeSource) does, and keeps nothing of them.
///
/// Of its configuration only what concerns a single scrape has a meaning here: timeout, credentials, TLS, proxy,
/// fallback format,
/// compression and the size of a page.
///
/// ```no_run
/// use fleetgauge::promql::exposition::Parser;
/// use fleetgauge::scrape::{PageFetcher, ScrapeConfig};
/// use fleetgauge::target::{Target, TargetDefaults};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let labels = [("__address__".to_owned(), "10.0.0.7:8000".to_owned())].into();
/// let target = Target::from_labels(&labels, &TargetDefaults::default())?;
/// let page = PageFetcher::new(ScrapeConfig::default())?.fetch(&target).await?;
/// let mut parser = Parser::new();
/// let mut page = parser.page(page.format, &page.body);
/// while let Some(event) = page.next() {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PageFetcher(Arc<Common>);

/// A page as it came, decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedPage {
    /// What it is written in, by its content type.
    pub format: Format,
    /// Its bytes, not examined.
    pub body: Vec<u8>,
}

// === impl PageFetcher ===

impl PageFetcher {
    /// *Errors*: [`ConfigError`], also if a file that the configuration names cannot be read.
    pub fn new(config: ScrapeConfig) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(Common::new(config, Clock::system())?)))
    }

    /// The page of `target`, over a connection of its own.
    ///
    /// *Errors*: [`FetchError`]; what is not an exposition by its content type is [`FetchError::Malformed`], with
    /// what it is instead.
    pub async fn fetch(&self, target: &Target) -> Result<FetchedPage, FetchError> {
        let scraper = Scraper::new(Arc::clone(&self.0), target);
        let mut scraper = scraper.map_err(|message| FetchError::Rejected {
            kind: "url".into(),
            message,
        })?;
        let (format, body) = scraper.fetch(Vec::new()).await?;
        Ok(FetchedPage { format, body })
    }
}

impl fmt::Debug for PageFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFetcher").finish_non_exhaustive()
    }
}
