//! `fleetgauge scrape`: what targets expose, read once.

use anyhow::anyhow;
use fleetgauge::scrape::{Auth, PageFetcher, ProxyConfig, ScrapeConfig};
use fleetgauge_core::backend::FetchError;
use fleetgauge_promql::exposition::Format;
use futures_util::future::join_all;

use crate::cli::{OutputFormat, Scrape};
use crate::config::{self, Environment};
use crate::failure::{Reported, Usage};
use crate::output::{self, json, table};
use crate::place::{Place, without_user};
use crate::scraped::Scraped;

pub(super) fn run(args: &Scrape) -> anyhow::Result<()> {
    let places: Vec<_> = args
        .urls
        .iter()
        .map(|url| Place::parse(url).map_err(|error| Usage(format!("{}: {error}", without_user(url)))))
        .collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let proxy = config::proxy(args.access.proxy.as_deref(), None, &Environment::of_process())?;
    let scraped = runtime.block_on(join_all(places.iter().map(|place| scrape(place, args, &proxy))));
    for target in &scraped {
        for warning in &target.warnings {
            output::note(&format!("warning: {}", target.tell(warning)));
        }
    }
    match args.output {
        OutputFormat::Json => output::print(&json::to_line(&json::scrape::Targets::new(&scraped))?)?,
        OutputFormat::Table => output::print_line(&table::scraped(&scraped))?,
    }
    let errors: Vec<_> = scraped
        .iter()
        .filter_map(|target| Some(target.tell(target.error.as_ref()?)))
        .collect();
    match &*errors {
        [] => Ok(()),
        [error] => Err(anyhow!("{error}")),
        several => {
            for error in several {
                output::note(&format!("error: {error}"));
            }
            Err(Reported.into())
        }
    }
}

async fn scrape(place: &Place, args: &Scrape, proxy: &ProxyConfig) -> Scraped {
    let mut scraped = Scraped {
        url: place.to_string(),
        error: None,
        samples: Vec::new(),
        warnings: Vec::new(),
    };
    let config = settings(place, args).with_proxy(proxy.clone());
    match fetch(place, config, args).await {
        Ok((format, body)) => scraped.read(format, &body, &args.metrics),
        Err(error) => scraped.error = Some(error),
    }
    scraped
}

async fn fetch(place: &Place, config: ScrapeConfig, args: &Scrape) -> Result<(Format, Vec<u8>), String> {
    let fetcher = PageFetcher::new(config)
        .map_err(|error| format!("{:#}", config::name_flag(error, &args.access, None)))?;
    let page = fetcher.fetch(&place.target).await;
    page.map(|page| (page.format, page.body))
        .map_err(|error| match error {
            // There is no backend between us and the target.
            FetchError::Rejected { message, .. } => message,
            FetchError::Malformed { detail, .. } => detail,
            error => error.to_string(),
        })
}

fn settings(place: &Place, args: &Scrape) -> ScrapeConfig {
    let access = &args.access;
    let auth = match &access.bearer_token_file {
        Some(file) => Auth::BearerFile {
            token_file: file.clone(),
        },
        None => place.auth.clone(),
    };
    let config = ScrapeConfig::default()
        .with_interval(args.timeout)
        .with_timeout(args.timeout)
        .with_scheme(place.target.scheme())
        .with_gzip(true)
        .with_auth(auth)
        .with_tls(access.tls());
    match args.fallback_scrape_protocol {
        Some(protocol) => config.with_fallback_scrape_protocol(protocol),
        None => config,
    }
}
