//! What was typed. No meaning is given to it here: see [`config`](crate::config).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fleetgauge::document::parse_duration;
use fleetgauge_core::params::ParamKind;

/// The metrics layer under autoscalers of LLM inference.
#[derive(Debug, Parser)]
#[command(name = "fleetgauge", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done; 1 an answer could not be had; 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Render(Render),
    // By far the largest.
    Query(Box<Query>),
    Check(Check),
    Packs(Packs),
    Completions(Completions),
    Man(Man),
}

/// Print a query template with its parameters filled in
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetgauge render --template 'up{namespace=\"{{.namespace}}\"}' -p namespace=llm
  fleetgauge render --template 'up{pod=~\"{{.podFilter}}\"}' --regex podFilter='llama-.*'
  fleetgauge render --template 'rate(x[{{.window}}])' -p window=5m --param-kind window=duration")]
pub(crate) struct Render {
    /// The template, in Go's text/template language
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) template: String,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// What a parameter is: text, regex, metric, label, duration or number
    #[arg(long = "param-kind", value_name = "NAME=KIND", value_parser = param_kind)]
    pub(crate) kinds: Vec<(String, ParamKind)>,
}

/// Ask a Prometheus, now
#[derive(Debug, Args)]
#[command(override_usage = "fleetgauge query [OPTIONS] <PACK/NAME | --promql <EXPR>>")]
#[command(after_help = "\
The server is the one of --prometheus, else of PROMETHEUS_BASE_URL, else of the configuration file.
An answer without values is \"no data\", which is not zero and not an error: the exit status is 0.

Environment: PROMETHEUS_BASE_URL, PROMETHEUS_BEARER_TOKEN, PROMETHEUS_TLS_INSECURE_SKIP_VERIFY,
PROMETHEUS_CA_CERT_PATH, PROMETHEUS_CLIENT_CERT_PATH, PROMETHEUS_CLIENT_KEY_PATH and
PROMETHEUS_SERVER_NAME stand for the flags. COLLECTOR_V2=false switches collecting off.

Examples:
  fleetgauge query inference/queue_length --prometheus http://localhost:9090 \\
      -p namespace=llm -p modelID=llama-8b
  fleetgauge query vllm/ttft_quantile -p q=0.99 -p namespace=llm -p modelID=llama-8b -o json
  fleetgauge query --promql 'sum by (pod) (rate(requests_total[1m]))' -o csv
  fleetgauge packs inference                            the queries there are")]
pub(crate) struct Query {
    /// A query of a pack, as inference/queue_length, or of the configuration file
    #[arg(
        value_name = "PACK/NAME",
        required_unless_present = "promql",
        conflicts_with = "promql"
    )]
    pub(crate) name: Option<String>,
    /// A PromQL expression; {{.name}} in it stands for a parameter
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) promql: Option<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = QueryFormat::Table)]
    pub(crate) output: QueryFormat,
    // Last: its help heading holds for all that follows.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Validate configuration files and query packs
#[derive(Debug, Args)]
#[command(after_help = "\
Each problem is one line, file:line:column: message. The exit status is 1 if there is any.

Examples:
  fleetgauge check fleetgauge.yaml packs/*.yaml")]
pub(crate) struct Check {
    /// Files to read; a file with a field `name` is a pack, any other a configuration
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Say nothing about files that are in order
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// List the built-in query packs, or the queries of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetgauge packs                        the packs
  fleetgauge packs vllm                   the queries of one
  fleetgauge packs vllm/ttft_quantile     one query, with its template
  fleetgauge packs vllm -o yaml           the pack's file, as a start for one's own")]
pub(crate) struct Packs {
    /// A pack, or a query as PACK/NAME
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How to print them
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = PacksFormat::Table)]
    pub(crate) output: PacksFormat,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(fleetgauge completions bash)
  fleetgauge completions zsh > ~/.zfunc/_fleetgauge")]
pub(crate) struct Completions {
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetgauge man | man -l -
  fleetgauge man query | man -l -")]
pub(crate) struct Man {
    /// The subcommand whose page is wanted; the program's own if absent
    #[arg(value_name = "SUBCOMMAND")]
    pub(crate) subcommand: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ParamArgs {
    /// Set a parameter
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) params: Vec<(String, String)>,
    /// Set a parameter that is a regular expression
    #[arg(long, value_name = "NAME=REGEX", value_parser = key_value)]
    pub(crate) regex: Vec<(String, String)>,
}

/// Where the metrics are, and how to be let in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct SourceArgs {
    /// Base URL of the Prometheus (or Thanos, Mimir, VictoriaMetrics), with its path prefix
    #[arg(long, value_name = "URL")]
    pub(crate) prometheus: Option<String>,
    /// Configuration file; environment and flags go before what it says
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How long the answer may take, retries included [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Send a header, as X-Scope-OrgID=tenant
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) headers: Vec<(String, String)>,
    /// Send a parameter in the URL, as dedup=false
    #[arg(long = "query-param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) query_params: Vec<(String, String)>,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// A header, and a line for each series
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PacksFormat {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// The pack's own file
    Yaml,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn param_kind(text: &str) -> Result<(String, ParamKind), String> {
    let (name, kind) = key_value(text).map_err(|_| "expected NAME=KIND".to_owned())?;
    let kind = kind.parse::<ParamKind>().map_err(|error| error.to_string())?;
    Ok((name, kind))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "expected a duration such as 30s or 1m30s, more than zero".to_owned())
}
