//! The flags that say who is asked, and how to be let in.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fleetgauge::scrape::TlsConfig;

use super::value::{duration, key_value};

/// Where the metrics are, and how to be let in.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct SourceArgs {
    /// Base URL of the Prometheus (or Thanos, Mimir, VictoriaMetrics), with its path prefix; http where it says no scheme
    #[arg(long, value_name = "URL")]
    pub(crate) prometheus: Option<String>,
    /// Scrape these pods, and ask them: host:port or URLs
    #[arg(long, value_name = "URL", num_args = 1.., conflicts_with_all = ["prometheus", "source"])]
    pub(crate) scrape: Vec<String>,
    /// Configuration file; environment and flags go before what it says of the source prometheus
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The source of the configuration file that is asked [default: the one that has the query, else prometheus]
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// How long the answer may take, retries included [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Send a header, as X-Scope-OrgID=tenant
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) headers: Vec<(String, String)>,
    /// Send a parameter in the URL, as dedup=false
    #[arg(long = "query-param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) query_params: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

impl SourceArgs {
    /// Whether they say who is asked.
    pub(crate) fn names_one(&self) -> bool {
        self.prometheus.is_some() || !self.scrape.is_empty() || self.source.is_some()
    }

    /// A flag that says something of the server of `--prometheus`, if one was given.
    pub(crate) fn server_flag(&self) -> Option<&'static str> {
        let access = &self.access;
        let flags = [
            (self.prometheus.is_some(), "--prometheus"),
            (!self.headers.is_empty(), "--header"),
            (!self.query_params.is_empty(), "--query-param"),
            (access.bearer_token_file.is_some(), "--bearer-token-file"),
            (access.ca_file.is_some(), "--ca-file"),
            (access.cert_file.is_some(), "--cert-file"),
            (access.server_name.is_some(), "--server-name"),
            (access.insecure_skip_verify, "--insecure-skip-verify"),
            (access.proxy.is_some(), "--proxy"),
        ];
        flags
            .into_iter()
            .find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}

/// Who asks, and whom to trust.
#[derive(Debug, Default, Args)]
pub(crate) struct AccessArgs {
    /// Authenticate with the bearer token in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// Trust the authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Present the client certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// Expect this name in the server's certificate
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Accept any certificate: whoever is on the way can read and forge
    #[arg(long)]
    pub(crate) insecure_skip_verify: bool,
    /// Go through this HTTP proxy, or through none [default: by HTTP_PROXY, HTTPS_PROXY and NO_PROXY]
    #[arg(long, value_name = "URL|none")]
    pub(crate) proxy: Option<String>,
}

impl AccessArgs {
    /// Whom to trust, and what to show.
    pub(crate) fn tls(&self) -> TlsConfig {
        let mut tls = TlsConfig::default();
        tls.ca_file.clone_from(&self.ca_file);
        tls.client_cert_file.clone_from(&self.cert_file);
        tls.client_key_file.clone_from(&self.key_file);
        tls.server_name.clone_from(&self.server_name);
        tls.insecure_skip_verify = self.insecure_skip_verify;
        tls
    }
}
