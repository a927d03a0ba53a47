//! What was typed. No meaning is given to it here: see [`config`](crate::config).

mod source;
mod time;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fleetgauge::scrape::ScrapeProtocol;
use fleetgauge_core::params::ParamKind;
use fleetgauge_core::time::Timestamp;

use value::{account, duration, key_value};

pub(crate) use source::{AccessArgs, SourceArgs};

use crate::log::{LogFormat, LogLevel};

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
    Demo(Demo),
    Serve(Serve),
    Scrape(Box<Scrape>),
    Render(Render),
    // By far the largest.
    Query(Box<Query>),
    Explain(Box<Explain>),
    Doctor(Box<Doctor>),
    Check(Check),
    Packs(Packs),
    Promql(Promql),
    Completions(Completions),
    Man(Man),
}

/// Show a simulated fleet, collected over real HTTP
#[derive(Debug, Args)]
#[command(after_help = "\
Pods that serve the metrics of vLLM, SGLang and an endpoint picker listen on free loopback ports. Of \
five or more one misbehaves, and where a number is missing the reason stands in its place. On a \
terminal the table is live until Ctrl-C. Elsewhere, with --once and with -o json it is printed once, \
when the pods have been scraped often enough for rates; the pod that misbehaves hangs then.

A variant's line is over its pods with fresh values: KV cache max; running and waiting sum; TTFT the \
mean of the last minute, weighted by requests. It says how many pods are in it where that is not all.

Examples:
  fleetgauge demo
  fleetgauge demo --pods 40
  fleetgauge demo --prometheus           a real Prometheus scrapes and answers
  fleetgauge demo -o json | jq '.pods[] | select(.reason)'
  fleetgauge demo --serve                a daemon over the pods, to be asked
  fleetgauge demo --serve-fleet-only     the pods, and what to type to ask them")]
pub(crate) struct Demo {
    /// How many pods, from 1 to 3000
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value::pods)]
    pub(crate) pods: u16,
    /// Print one snapshot, also on a terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// How to print it; json is one snapshot
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    /// Let a real Prometheus scrape the pods and answer; it must be on the PATH
    #[arg(long)]
    pub(crate) prometheus: bool,
    /// Keep metrics of the pods fresh and serve them until Ctrl-C, as `fleetgauge serve` does
    #[arg(long, conflicts_with_all = ["once", "prometheus"])]
    pub(crate) serve: bool,
    /// Serve the pods until Ctrl-C, and collect nothing
    #[arg(long, conflicts_with_all = ["once", "prometheus", "serve"])]
    pub(crate) serve_fleet_only: bool,
    /// How often the pods are scraped, from 100ms to 1m; also how long one scrape may take
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = value::scrape_interval)]
    pub(crate) interval: Duration,
    /// What the chance of the simulation depends on
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Keep the metrics of a configuration fresh, and serve them
#[derive(Debug, Args)]
#[command(after_help = "\
Each metric of the file is refreshed at its interval, and read from memory: as JSON under /api/fleetgauge/v1, as by a \
Prometheus under /api/v1 and /federate, and by KEDA where the section keda says so. /-/healthy and /-/ready tell whether the daemon lives and may be asked. The file and its packs are read again when they change, on \
SIGHUP and on POST /-/reload; a file that is wrong changes nothing. SIGTERM and Ctrl-C end what is under way first; a \
second one ends at once.

Examples:
  fleetgauge check fleetgauge.yaml && fleetgauge serve --config fleetgauge.yaml
  fleetgauge serve --config fleetgauge.yaml --listen 127.0.0.1:0
  curl http://127.0.0.1:9095/api/fleetgauge/v1/metrics")]
pub(crate) struct Serve {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Where it listens, whatever the file says; port 0 takes a free one. Anywhere but on loopback the file's section
    /// `server` has to have `tls` or `insecure: true`
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// From which severity on something is logged, whatever the file says
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// How a line of the log looks, whatever the file says
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// How long it is not ready at most while samples have only begun to come
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub(crate) ready_after: Duration,
}

/// Read what targets expose, once
#[derive(Debug, Args)]
#[command(after_help = "\
A URL without a scheme is http, and one without a path is /metrics: 10.0.0.7:8000 is \
http://10.0.0.7:8000/metrics, :8000 the same on this machine, and http://pod:8000/stats is taken as it \
is. An IPv6 address stands in brackets, [::1]:8000. A token goes to all URLs that are given.

The targets are asked at once. What can be read is printed. A line that can't be read, such as one that \
the page was cut off in, is told on stderr with its number and column; it costs the exit status 1, as a \
target does that can't be read.

Examples:
  fleetgauge scrape http://127.0.0.1:8000/metrics
  fleetgauge scrape 10.0.0.7:8000 10.0.0.8:8000 \\
      --metric vllm:num_requests_waiting
  fleetgauge scrape pod:8000 --metric vllm:time_to_first_token_seconds -o json")]
pub(crate) struct Scrape {
    /// Where the metrics are
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<String>,
    /// Show this metric alone; of a histogram or summary, its whole family. May be repeated
    #[arg(long = "metric", value_name = "NAME", value_parser = value::metric_name)]
    pub(crate) metrics: Vec<String>,
    /// How to print the samples
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    /// How long each target may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Read a page whose content type names no exposition as PrometheusProto, PrometheusText0.0.4,
    /// PrometheusText1.0.0, OpenMetricsText0.0.1, OpenMetricsText1.0.0 or OpenMetricsText2.0.0
    #[arg(long, value_name = "FORMAT")]
    pub(crate) fallback_scrape_protocol: Option<ScrapeProtocol>,
    // Last: its help heading holds for all that follows.
    #[command(flatten, next_help_heading = "Access")]
    pub(crate) access: AccessArgs,
}

/// Print a query template with its parameters filled in
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetgauge render --template 'up{namespace=\"{{.ns}}\"}' -p ns=chat
  fleetgauge render --template 'up{pod=~\"{{.pod}}\"}' --regex pod='llama-.*'
  fleetgauge render --template 'rate(x[{{.window}}])' \\
      -p window=5m --param-kind window=duration
  fleetgauge render --template 'up{pod=~\"{{.pods}}\"}' \\
      -p pods=a-0 -p pods=b-0 --param-kind pods=texts")]
pub(crate) struct Render {
    /// The template, in Go's text/template language
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) template: String,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// What a parameter is: text, regex, metric, label, duration, number, quantile, texts or labels (lists)
    #[arg(long = "param-kind", value_name = "NAME=KIND", value_parser = value::param_kind)]
    pub(crate) kinds: Vec<(String, ParamKind)>,
}

/// Ask a Prometheus, now or over a range
#[derive(Debug, Args)]
#[command(override_usage = "fleetgauge query [OPTIONS] <PACK/NAME | --promql <EXPR>>")]
#[command(after_help = "\
The server is the one of --prometheus, else of PROMETHEUS_BASE_URL, else of the configuration file.
An answer without values is \"no data\", which is not zero and not an error: the exit status is 0.
The table of a range has a line of bars for each series, from its min to its max, a gap where a
step has no value, and ? for what is not a finite number.

Environment: PROMETHEUS_BASE_URL, PROMETHEUS_BEARER_TOKEN, PROMETHEUS_TLS_INSECURE_SKIP_VERIFY,
PROMETHEUS_CA_CERT_PATH, PROMETHEUS_CLIENT_CERT_PATH, PROMETHEUS_CLIENT_KEY_PATH and
PROMETHEUS_SERVER_NAME stand for the flags. COLLECTOR_V2=false switches collecting off.

Examples:
  fleetgauge query inference/queue_length --prometheus http://localhost:9090 \\
      -p namespace=chat -p modelID=meta-llama/Llama-3.1-8B-Instruct
  fleetgauge query vllm/ttft_quantile -p q=0.99 -p namespace=chat \\
      -p modelID=meta-llama/Llama-3.1-8B-Instruct -o json
  fleetgauge query -o csv \\
      --promql 'sum by (pod) (rate(vllm:request_success_total[1m]))'
  fleetgauge query --range 30m --step 15s \\
      --promql 'sum by (pod) (vllm:num_requests_waiting)'
  fleetgauge packs inference                            the queries there are")]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// Evaluate over this long until now, rather than once
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) range: Option<Duration>,
    /// How far the times of --range are apart; they are multiples of it [default: a 60th of the range]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "range")]
    pub(crate) step: Option<Duration>,
    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = QueryFormat::Table)]
    pub(crate) output: QueryFormat,
    // Last: its help heading holds for all that follows.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Which query, and its parameters.
#[derive(Debug, Args)]
pub(crate) struct QuestionArgs {
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
    /// What a parameter of --promql is: text, regex, metric, label, duration, number, quantile, texts or labels (lists)
    #[arg(long = "param-kind", value_name = "NAME=KIND", value_parser = value::param_kind, conflicts_with = "name")]
    pub(crate) kinds: Vec<(String, ParamKind)>,
}

impl QuestionArgs {
    /// The name that was given, or the expression.
    pub(crate) fn text(&self) -> &str {
        let text = self.name.as_deref().or(self.promql.as_deref());
        // clap has seen to it that one of them is there.
        text.unwrap_or_default()
    }
}

/// Show what a query's numbers stand on, and what may be acted on
#[derive(Debug, Args)]
#[command(override_usage = "fleetgauge explain [OPTIONS] <PACK/NAME | NAME | --promql <EXPR>>")]
#[command(after_help = "\
Asks as `query` does, and prints the chain from the template to the readings: where the template is from, its parameters,
the text that was rendered, the source, all that was sent, the answer with the age of each value and the branch of an `or`
that gave it, who has reported, the policy, and what the policy makes of it.

Examples:
  fleetgauge explain inference/queue_length --prometheus http://localhost:9090 \\
      -p namespace=chat -p modelID=meta-llama/Llama-3.1-8B-Instruct
  fleetgauge explain total --config fleetgauge.yaml
  fleetgauge explain --scrape 10.0.0.7:8000 \\
      --promql 'sum(vllm:num_requests_waiting)'")]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    // Last: its help heading holds for all that follows.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Say which queries answer, and why others do not
#[derive(Debug, Args)]
#[command(
    override_usage = "fleetgauge doctor [OPTIONS] [PACK]... (--prometheus <URL> | --scrape <URL>... | --config <FILE>)"
)]
#[command(after_help = "\
Asks each query of a pack, or of the configuration, and takes those apart that have no answer: the first reason is told, and
what to change. Reasons are, in this order: the server is not reached, or does not let in; there is no such metric; its
series lack a label; the label never has the value; samples are too old; a window is too short; ranks are not folded.
A parameter that is not given with -p is taken from the labels that the server has. Nothing is changed.

Of a configuration with the section kubernetes the cluster is examined, too: rights, who has the API groups of metrics, what
autoscalers ask for, and whether what they scale is there.

The exit status is 1 if one of the findings is an error.

Examples:
  fleetgauge doctor --prometheus http://localhost:9090
  fleetgauge doctor vllm epp -p namespace=chat \\
      --prometheus http://localhost:9090
  fleetgauge doctor vllm --scrape 10.0.0.7:8000 10.0.0.8:8000
  fleetgauge doctor --config fleetgauge.yaml -o json | jq '.findings[].what'
  fleetgauge doctor --config fleetgauge.yaml \\
      --service-account monitoring/fleetgauge")]
pub(crate) struct Doctor {
    /// A pack, or a query as PACK/NAME [default: those of the configuration, else the pack inference]
    #[arg(value_name = "PACK")]
    pub(crate) packs: Vec<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// How long the examination of a source may take [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,
    /// Whose rights in the cluster are examined [default: those of whoever runs this]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = account, requires = "config")]
    pub(crate) service_account: Option<(String, String)>,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    // Last: its help heading holds for all that follows.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Validate configuration files and query packs
#[derive(Debug, Args)]
#[command(after_help = "\
Each problem is one line, file:line:column: message. The exit status is 1 if there is any. A line with \
`warning:` before its message is about what may be meant, such as MetricsQL or a file that is not here.

Examples:
  fleetgauge check fleetgauge.yaml packs/*.yaml
  fleetgauge check --schema > fleetgauge.schema.json
  fleetgauge check --from prometheus-adapter config.yaml > fleetgauge.yaml")]
pub(crate) struct Check {
    /// Files to read, - for standard input; one with a field `name` is a pack, any other a configuration
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub(crate) files: Vec<PathBuf>,
    /// Say nothing about files that are in order; warnings are told
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print the JSON Schema of configuration and packs, for editors
    #[arg(long, conflicts_with_all = ["files", "quiet"])]
    pub(crate) schema: bool,
    /// Print the configuration that one of another program amounts to; what it cannot be is told on stderr, and makes the exit
    /// status 1
    #[arg(long, value_enum, value_name = "PROGRAM", conflicts_with = "schema")]
    pub(crate) from: Option<Foreign>,
}

/// Whose configuration is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Foreign {
    PrometheusAdapter,
}

/// List the query packs, or the queries of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetgauge packs                        the packs
  fleetgauge packs vllm                   the queries of one
  fleetgauge packs vllm/ttft_quantile     one query, with its template
  fleetgauge packs vllm -o yaml           its file, as a start for one's own
  fleetgauge packs --config FILE          those of a configuration file, too")]
pub(crate) struct Packs {
    /// A pack, or a query as PACK/NAME
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Configuration file whose packs are listed behind the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How to print them
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = PacksFormat::Table)]
    pub(crate) output: PacksFormat,
}

/// Evaluate PromQL without a server
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  fleetgauge promql eval --file page.prom 'sum(vllm:num_requests_waiting)'
  fleetgauge promql test rules/*.test
  fleetgauge promql test --enable-feature type-and-unit-labels units.test
  fleetgauge help promql eval                           all about one of them")]
pub(crate) struct Promql {
    #[command(subcommand)]
    pub(crate) command: PromqlCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PromqlCommand {
    Eval(PromqlEval),
    Test(PromqlTest),
}

/// Evaluate an expression over the samples of a file
#[derive(Debug, Args)]
#[command(override_usage = "\
fleetgauge promql eval --file <FILE> [--time <TIME>] [OPTIONS] <EXPR>
       fleetgauge promql eval --file <FILE> --start <TIME> --end <TIME> --step <DURATION> [OPTIONS] <EXPR>")]
#[command(after_help = "\
The file is an exposition: OpenMetrics if it ends in # EOF (timestamps in seconds), else the
Prometheus text format (timestamps in milliseconds). It may have several samples of a series, at
different timestamps, in any order. A sample without timestamp is taken at --time; if that is not
given, at --start, so that a range begins with it and sees it for the lookback of 5 minutes; else
when the expression is evaluated.

A TIME is Unix seconds (1763930000.5) or RFC 3339 (2025-11-23T20:33:20.5Z). An answer without
series is \"no data\", which is not zero and not an error: the exit status is 0. The JSON is the
data object of Prometheus's HTTP API, with warnings and infos in it where there are any.

Examples:
  fleetgauge promql eval --file page.prom 'sum(vllm:num_requests_waiting)'
  fleetgauge promql eval --file backfill.om --time 2025-11-23T20:33:20Z \\
      'rate(requests_total[5m])'
  fleetgauge promql eval --file backfill.om -o json \\
      --start 1763930000 --end 1763933600 --step 1m 'rate(requests_total[5m])'")]
pub(crate) struct PromqlEval {
    /// The PromQL expression
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expr: String,
    /// The exposition to evaluate over; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What the file is [default: OpenMetrics if it ends with # EOF, else the text format]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ExpositionFormat>,
    /// When to evaluate [default: the file's newest timestamp; now if it has none]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    pub(crate) time: Option<Timestamp>,
    /// The first step of a range
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    #[arg(requires_all = ["end", "step"])]
    pub(crate) start: Option<Timestamp>,
    /// The end of a range
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    #[arg(requires_all = ["start", "step"])]
    pub(crate) end: Option<Timestamp>,
    /// Between two steps: a duration, or a number of seconds
    #[arg(long, value_name = "DURATION", value_parser = value::step, requires_all = ["start", "end"])]
    pub(crate) step: Option<Duration>,
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
}

/// Run test scripts: load these series, evaluate that, expect this
#[derive(Debug, Args)]
#[command(after_help = "\
A script is in the language of Prometheus's own engine tests:

  load 1m
    requests_total{pod=\"a\"} 0+60x10

  eval instant at 10m rate(requests_total[5m])
    {pod=\"a\"} 1

Each script is one line, followed by its failures with what was expected and what came. Of several
scripts the last line counts the eval commands of all. The exit status is 1 if any failed, or if a
script cannot be read or has none.

What Prometheus's own tests are run with is switched on, as fill modifiers and delayed name removal;
a server needs to be asked for them, and so does promql eval.

Examples:
  fleetgauge promql test rules/*.test
  fleetgauge promql test --server-defaults rules/*.test
  fleetgauge promql test --tolerance 0 exact.test")]
pub(crate) struct PromqlTest {
    /// The scripts to run; - for standard input
    #[arg(value_name = "SCRIPT", required = true)]
    pub(crate) scripts: Vec<PathBuf>,
    /// How far a number may be from the expected one, relative to both [default: 1e-6, as in Prometheus]
    #[arg(long, value_name = "RATIO", value_parser = value::tolerance)]
    pub(crate) tolerance: Option<f64>,
    /// Run them as a Prometheus server evaluates, which has nothing experimental until it is asked for
    #[arg(long)]
    pub(crate) server_defaults: bool,
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
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
  fleetgauge man query | man -l -
  fleetgauge man promql eval | man -l -")]
pub(crate) struct Man {
    /// The subcommand whose page is wanted, as query or promql eval; the program's own if absent
    #[arg(value_name = "SUBCOMMAND")]
    pub(crate) subcommand: Vec<String>,
}

/// What of PromQL is experimental, by Prometheus's names.
#[derive(Debug, Args)]
pub(crate) struct FeatureArgs {
    /// Evaluate what is experimental: promql-binop-fill-modifiers, promql-delayed-name-removal,
    /// promql-unquoted-utf8-names, type-and-unit-labels, use-start-timestamps
    #[arg(long = "enable-feature", value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ParamArgs {
    /// Set a parameter; once for each value of a list
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) params: Vec<(String, String)>,
    /// Set a parameter that is a regular expression
    #[arg(long, value_name = "NAME=REGEX", value_parser = key_value)]
    pub(crate) regex: Vec<(String, String)>,
}

impl ParamArgs {
    /// The names that were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.params
            .iter()
            .chain(&self.regex)
            .map(|(name, _)| name.as_str())
    }
}

/// How most commands print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// One JSON object
    Json,
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
pub(crate) enum ExpositionFormat {
    /// Prometheus's text format: times in milliseconds
    Text,
    /// OpenMetrics: times in seconds, and # EOF at the end
    Openmetrics,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// What is wrapped cannot be pasted.
    #[test]
    fn examples_fit_on_a_terminal() {
        let mut commands = vec![Cli::command()];
        let mut seen = 0;
        while let Some(command) = commands.pop() {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
            for line in examples.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                seen += 1;
            }
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(seen > 30, "{seen}");
    }
}
