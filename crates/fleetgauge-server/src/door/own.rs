//! The daemon's own metrics: what it has refreshed, served and refused, and what its readings are.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fleetgauge::prometheus::remote_write::RemoteWriteStats;
use fleetgauge::scrape::ScrapeStats;
use fleetgauge_core::reading::Status;
use fleetgauge_core::source::SourceStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::access::Access;
use super::api::Api;
use super::listener::{ConnectionCounts, Cut};
use super::problem::Problem;

/// In which latencies of doors are counted. *Unit*: seconds.
const BUCKETS: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The daemon's own metrics.
///
/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct OwnMetrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Door, Histogram, fn() -> Histogram>,
    connections: Arc<Connections>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    door: &'static str,
    code: Code,
}

/// HTTP's status, as a number; or gRPC's, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Code {
    Http(u16),
    Grpc(tonic::Code),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Door {
    door: &'static str,
}

#[derive(Debug, Default)]
struct Connections(Mutex<Vec<(&'static str, ConnectionCounts)>>);

/// What is read of the daemon when it is asked.
struct Snapshot(Api);

/// One metric of a snapshot: its rows, each with labels and a value.
type Rows = Vec<(Vec<(&'static str, String)>, f64)>;

// === impl OwnMetrics ===

impl OwnMetrics {
    /// Those of the daemon that `api` shows.
    pub fn new(api: &Api) -> Self {
        let mut registry = Registry::with_prefix("fleetgauge");
        let requests = Family::<Answered, Counter>::default();
        let seconds: Family<Door, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register(
            "door_requests",
            "Requests that doors have answered",
            requests.clone(),
        );
        registry.register(
            "door_request_duration_seconds",
            "How long doors took to answer; of a stream, until it began",
            seconds.clone(),
        );
        let connections = Arc::new(Connections::default());
        registry.register_collector(Box::new(Arc::clone(&connections)));
        registry.register_collector(Box::new(Snapshot(api.clone())));
        Self(Arc::new(Inner {
            registry,
            requests,
            seconds,
            connections,
        }))
    }

    /// Counts the connections of a door.
    pub fn count_connections(&self, door: &'static str, counts: ConnectionCounts) {
        let mut known = self
            .0
            .connections
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.push((door, counts));
    }

    /// `router`, whose requests are counted under the name `door`.
    pub fn counted(&self, door: &'static str, router: Router) -> Router {
        let own = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let own = own.clone();
            async move {
                let began = Instant::now();
                let response = next.run(request).await;
                let code = Code::of(&response);
                own.0.requests.get_or_create(&Answered { door, code }).inc();
                let seconds = own.0.seconds.get_or_create(&Door { door });
                seconds.observe(began.elapsed().as_secs_f64());
                response
            }
        }))
    }

    /// `/metrics`, for whoever `access` lets in.
    pub fn routes(&self, access: Access) -> Router {
        let own = self.clone();
        let page = move |request: Request| {
            let (own, access) = (own.clone(), access.clone());
            async move {
                if let Err(error) = access.check(&request) {
                    return Problem::from(error).into_response();
                }
                let mut text = String::new();
                // Writing to a text does not fail.
                let _ = encode(&mut text, &own.0.registry);
                let page: Response = ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response();
                page
            }
        };
        Router::new().route("/metrics", get(page))
    }
}

// === impl Code ===

impl Code {
    /// A call of gRPC that failed says so in its headers, and every other one has a status of HTTP's that tells nothing.
    fn of(response: &Response) -> Self {
        let headers = response.headers();
        let is_grpc = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        match headers.get(tonic::Status::GRPC_STATUS) {
            Some(status) => Self::Grpc(tonic::Code::from_bytes(status.as_bytes())),
            None if is_grpc => Self::Grpc(tonic::Code::Ok),
            None => Self::Http(response.status().as_u16()),
        }
    }
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => EncodeLabelValue::encode(status, encoder),
            Self::Grpc(code) => write!(encoder, "{code:?}"),
        }
    }
}

impl fmt::Debug for OwnMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMetrics").finish_non_exhaustive()
    }
}

// === collectors ===

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    rows: &Rows,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let row: MetricEncoder<'_> = metric.encode_family(labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(*value).encode(row)?,
            _ => ConstGauge::new(*value).encode(row)?,
        }
    }
    Ok(())
}

/// A row a source.
fn by_source<S>(sources: &[(&str, S)], count: impl Fn(&S) -> f64) -> Rows {
    let row = |(name, stats): &(&str, S)| (vec![("source", (*name).to_owned())], count(stats));
    sources.iter().map(row).collect()
}

/// A row a server that is written to.
fn by_remote(remotes: &[(String, RemoteWriteStats)], count: impl Fn(&RemoteWriteStats) -> f64) -> Rows {
    let row = |(name, stats): &(String, RemoteWriteStats)| (vec![("remote", name.clone())], count(stats));
    remotes.iter().map(row).collect()
}

/// A row a source and reason.
fn failures_by_source<S>(
    sources: &[(&str, S)],
    failures: impl Fn(&S) -> &BTreeMap<&'static str, u64>,
) -> Rows {
    let rows = sources.iter().flat_map(|(name, stats)| {
        let labels = |reason: &str| vec![("source", (*name).to_owned()), ("reason", reason.to_owned())];
        let failures = failures(stats).iter();
        failures.map(move |(reason, count)| (labels(reason), *count as f64))
    });
    rows.collect()
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = |count: fn(&ConnectionCounts) -> u64| -> Rows {
            let rows = known.iter();
            rows.map(|(door, counts)| (vec![("door", (*door).to_owned())], count(counts) as f64))
                .collect()
        };
        let (accepted, failed) = (rows(ConnectionCounts::accepted), rows(ConnectionCounts::failed));
        let open = rows(ConnectionCounts::open);
        let cuts = known.iter().flat_map(|(door, counts)| {
            Cut::ALL.map(|why| {
                let labels = vec![("door", (*door).to_owned()), ("reason", why.as_str().to_owned())];
                (labels, counts.cut(why) as f64)
            })
        });
        let cuts: Rows = cuts.collect();
        write(
            &mut encoder,
            "door_connection_cuts",
            "Connections that doors have cut, by reason",
            MetricType::Counter,
            &cuts,
        )?;
        write(
            &mut encoder,
            "door_connections",
            "Connections that were accepted",
            MetricType::Counter,
            &accepted,
        )?;
        write(
            &mut encoder,
            "door_connection_failures",
            "Connections that ended in an error of TLS or HTTP",
            MetricType::Counter,
            &failed,
        )?;
        write(
            &mut encoder,
            "door_connections_open",
            "Connections that are open",
            MetricType::Gauge,
            &open,
        )
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").finish_non_exhaustive()
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut counter =
            |name: &str, help: &str, rows: Rows| write(&mut encoder, name, help, MetricType::Counter, &rows);
        let counts = self.0.scheduler().counts();
        let outcomes = [
            ("answered", counts.answered()),
            ("failed", counts.failed()),
            ("late", counts.late()),
            ("panicked", counts.panicked()),
        ];
        let outcomes = outcomes.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count as f64));
        counter(
            "metric_refreshes",
            "Refreshes of metrics, by what became of them",
            outcomes.into(),
        )?;
        let reloads = self.0.reloads();
        let taken = [("taken", reloads.taken), ("refused", reloads.refused)];
        let taken = taken.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count as f64));
        counter(
            "configuration_reloads",
            "How often the configuration was read again",
            taken.into(),
        )?;

        let sources = self.0.sources();
        let stats: Vec<_> = sources
            .iter()
            .map(|source| (&*source.name, source.source.stats()))
            .collect();
        let of_stats = |count: &dyn Fn(&SourceStats) -> f64| by_source(&stats, count);
        counter(
            "source_queries",
            "Queries asked of a source",
            of_stats(&|stats| stats.queries as f64),
        )?;
        counter(
            "source_flights",
            "Queries that were sent on",
            of_stats(&|stats| stats.flights as f64),
        )?;
        counter(
            "source_flights_shared",
            "Queries that shared the flight of another",
            of_stats(&|stats| stats.flights_shared as f64),
        )?;
        counter(
            "source_retries",
            "Tries after the first",
            of_stats(&|stats| stats.retries as f64),
        )?;
        counter(
            "source_failures",
            "Queries and flights that failed",
            failures_by_source(&stats, |stats| &stats.failures),
        )?;

        let scraping: Vec<_> = sources
            .iter()
            .filter_map(|source| Some((&*source.name, source.scraping.as_ref()?.scrape_stats())))
            .collect();
        let of_scraping = |count: &dyn Fn(&ScrapeStats) -> f64| by_source(&scraping, count);
        counter(
            "scrapes",
            "Scrapes that ended",
            of_scraping(&|stats| stats.scrapes as f64),
        )?;
        counter(
            "scrape_failures",
            "Scrapes that failed",
            failures_by_source(&scraping, |stats| &stats.failures),
        )?;
        counter(
            "scrape_samples",
            "Samples on the pages",
            of_scraping(&|stats| stats.samples as f64),
        )?;
        counter(
            "scrape_samples_refused",
            "Samples that were refused, since a limit was reached",
            of_scraping(&|stats| stats.samples_refused as f64),
        )?;

        let remotes = self.0.remotes().into_iter();
        let remotes: Vec<_> = remotes.map(|view| (view.name, view.remote.stats())).collect();
        let of_remotes = |count: &dyn Fn(&RemoteWriteStats) -> f64| by_remote(&remotes, count);
        counter(
            "remote_write_samples_sent",
            "Samples that a server has taken by remote write",
            of_remotes(&|stats| stats.sent as f64),
        )?;
        let failed = remotes.iter().flat_map(|(name, stats)| {
            let reasons = [
                ("refused", stats.refused),
                ("unconfirmed", stats.unconfirmed),
                ("not_written", stats.not_written),
                // As a Prometheus calls it.
                ("nhcb_in_rw1_not_supported", stats.left_out),
            ];
            reasons.map(|(reason, count)| {
                let labels = vec![("remote", name.clone()), ("reason", reason.to_owned())];
                (labels, count as f64)
            })
        });
        counter(
            "remote_write_samples_failed",
            "Samples that a server does not have: refused, or unconfirmed where nobody knows whether it has them, or \
             not_written as it says itself, or histograms with custom buckets, which remote write 1.0 has no form for",
            failed.collect(),
        )?;
        counter(
            "remote_write_samples_lost",
            "Samples that went from the window before they could be sent",
            of_remotes(&|stats| stats.lost as f64),
        )?;
        counter(
            "remote_write_retries",
            "Requests that failed and were sent again",
            of_remotes(&|stats| stats.retries as f64),
        )?;

        let mut gauge =
            |name: &str, help: &str, rows: Rows| write(&mut encoder, name, help, MetricType::Gauge, &rows);
        gauge(
            "configuration_ok",
            "1 while the configuration is in force that was read last",
            vec![(Vec::new(), f64::from(u8::from(reloads.error.is_none())))],
        )?;
        gauge(
            "configuration_needs_restart",
            "How many settings have changed that are taken at a start alone",
            vec![(Vec::new(), reloads.needs_restart.len() as f64)],
        )?;
        gauge(
            "streams_open",
            "Streams of events that are open",
            vec![(Vec::new(), self.0.streams() as f64)],
        )?;
        gauge(
            "source_in_flight",
            "Queries that are under way",
            of_stats(&|stats| stats.in_flight as f64),
        )?;
        gauge(
            "scrape_targets",
            "Targets",
            of_scraping(&|stats| stats.targets as f64),
        )?;
        gauge(
            "scrape_targets_up",
            "Targets whose last scrape succeeded",
            of_scraping(&|stats| stats.targets_up as f64),
        )?;
        gauge(
            "window_series",
            "Series in the window",
            of_scraping(&|stats| stats.window.series as f64),
        )?;
        gauge(
            "window_bytes",
            "What the window takes",
            of_scraping(&|stats| stats.window.bytes as f64),
        )?;

        gauge(
            "remote_write_lag_seconds",
            "How long ago all that there was had been sent",
            of_remotes(&|stats| stats.lag.as_secs_f64()),
        )?;
        gauge(
            "remote_write_samples_pending",
            "Samples of the request that is under way",
            of_remotes(&|stats| stats.pending as f64),
        )?;

        let mut readings: BTreeMap<(String, &'static str), f64> = BTreeMap::new();
        let mut withheld: BTreeMap<(String, &'static str), f64> = BTreeMap::new();
        let (mut oldest, mut completeness) = (Rows::new(), Rows::new());
        for entry in self.0.store().all() {
            let snapshot = entry.read(self.0.store().clock());
            let name = entry.spec().name.as_str();
            for status in [Status::Value, Status::Held, Status::Withheld] {
                readings.insert((name.to_owned(), status.as_str()), 0.0);
            }
            let (mut age, mut ratio): (Option<f64>, Option<f64>) = (None, None);
            for row in snapshot.rows() {
                let reading = row.reading();
                *readings
                    .entry((name.to_owned(), reading.status().as_str()))
                    .or_default() += 1.0;
                if let Some((code, _)) = row.refusal() {
                    *withheld.entry((name.to_owned(), code.as_str())).or_default() += 1.0;
                }
                let of_row = reading.value().and(reading.age()).map(|age| age.as_secs_f64());
                age = age.into_iter().chain(of_row).reduce(f64::max);
                let of_row = reading
                    .completeness()
                    .and_then(|completeness| completeness.ratio());
                ratio = ratio.into_iter().chain(of_row).reduce(f64::min);
            }
            let labels = || vec![("metric", name.to_owned())];
            oldest.extend(age.map(|age| (labels(), age)));
            completeness.extend(ratio.map(|ratio| (labels(), ratio)));
        }
        let rows = |counts: BTreeMap<(String, &'static str), f64>, label: &'static str| -> Rows {
            let rows = counts.into_iter();
            rows.map(|((metric, value), count)| (vec![("metric", metric), (label, value.to_owned())], count))
                .collect()
        };
        gauge(
            "metric_readings",
            "Rows of a metric, by what is read of them",
            rows(readings, "status"),
        )?;
        gauge(
            "metric_withheld",
            "Rows of a metric without a number, by reason",
            rows(withheld, "reason"),
        )?;
        gauge(
            "metric_age_seconds",
            "How old the oldest number is that is served",
            oldest,
        )?;
        gauge(
            "metric_completeness_ratio",
            "Which part of those expected has reported, of the row that has the least",
            completeness,
        )
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn calls_of_grpc_are_told_by_its_own_status() {
        let code = |response: Response| Code::of(&response);
        assert_eq!(
            code(tonic::Status::unavailable("").into_http()),
            Code::Grpc(tonic::Code::Unavailable)
        );
        let good = Response::builder()
            .header(CONTENT_TYPE, "application/grpc")
            .body(Body::empty());
        assert_eq!(code(good.unwrap()), Code::Grpc(tonic::Code::Ok));
        let missing = Response::builder().status(404).body(Body::empty());
        assert_eq!(code(missing.unwrap()), Code::Http(404));
    }
}
