//! What a server exposes beside its engine: the interpreter, the process and the HTTP front.
//!
//! Source: `prometheus_client`'s platform, process and GC collectors; `prometheus_fastapi_instrumentator`.

use crate::page::{Kind, Label, Sink};
use crate::scheduler::{Engine, seconds};
use crate::tally::Tally;

/// A server process at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// *Unit*: seconds since the Unix epoch.
    pub(crate) started: f64,
    pub(crate) uptime_ns: u64,
    /// Time spent computing. *Unit*: nanoseconds.
    pub(crate) busy_ns: u64,
    /// Tokens generated and requests served, which is what makes garbage and needs memory.
    pub(crate) tokens: u64,
    pub(crate) requests_inside: usize,
}

const HANDLERS: [&str; 2] = ["/v1/chat/completions", "/v1/completions"];
/// Bytes of a request and of an answer beside its text, and per token.
const ENVELOPE_BYTES: f64 = 310.0;
const BYTES_PER_TOKEN: f64 = 4.0;

/// Interpreter and process.
pub(crate) fn describe(sink: &mut impl Sink, process: &Process) {
    let collections = process.tokens / 700;
    let generations = [
        ("0", collections),
        ("1", collections / 10),
        ("2", collections / 1_000),
    ];
    let per_generation: [(&str, &str, u64); 3] = [
        ("python_gc_objects_collected", "Objects collected during gc", 8),
        (
            "python_gc_objects_uncollectable",
            "Uncollectable objects found during GC",
            0,
        ),
        (
            "python_gc_collections",
            "Number of times this generation was collected",
            1,
        ),
    ];
    for (name, help, factor) in per_generation {
        sink.family(name, Kind::Counter, help);
        for (generation, count) in generations {
            sink.counter(&[("generation", generation)], count * factor, None);
        }
    }
    let platform = [
        ("implementation", "CPython"),
        ("major", "3"),
        ("minor", "12"),
        ("patchlevel", "11"),
        ("version", "3.12.11"),
    ];
    sink.family("python_info", Kind::Info, "Python platform information");
    sink.sample("", &platform, 1.0);
    let memory = 1_583_788_032 + 65_536 * process.requests_inside as u64;
    sink.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        &[],
        29_781_549_056.0,
    );
    sink.gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        &[],
        memory as f64,
    );
    let help = "Start time of the process since unix epoch in seconds.";
    sink.gauge("process_start_time_seconds", help, &[], process.started);
    sink.family(
        "process_cpu_seconds",
        Kind::Counter,
        "Total user and system CPU time spent in seconds.",
    );
    // The clock of the kernel ticks a hundred times a second.
    let cpu = 21.0 + seconds(process.busy_ns) * 1.1 + seconds(process.uptime_ns) * 0.03;
    sink.sample("_total", &[], (cpu * 100.0).floor() / 100.0);
    let files = 143.0 + process.requests_inside as f64;
    sink.gauge("process_open_fds", "Number of open file descriptors.", &[], files);
    sink.gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        &[],
        1_048_576.0,
    );
}

/// The HTTP front of `engines`, the ranks of one server.
pub(crate) fn describe_http(sink: &mut impl Sink, engines: &[Engine], created: f64) {
    let created = Some(created);
    let method: Label<'_> = ("method", "POST");
    let total = |read: &dyn Fn(&Tally) -> f64| engines.iter().map(|engine| read(&engine.tally)).sum::<f64>();
    let served = |handler: usize| total(&|tally| tally.http_seconds[handler].count() as f64);

    sink.family(
        "http_requests",
        Kind::Counter,
        "Total number of requests by method, status and handler.",
    );
    for (index, handler) in HANDLERS.into_iter().enumerate() {
        let ok = [("handler", handler), method, ("status", "2xx")];
        sink.counter(&ok, served(index) as u64, created);
        sink.counter(&[ok[0], method, ("status", "4xx")], 0, created);
    }
    let everything = total(&|tally| tally.finished() as f64).max(1.0);
    let sizes: [(&str, &str, f64); 2] = [
        (
            "http_request_size_bytes",
            "Content length of incoming requests by handler. Only value of header is respected. Otherwise ignored. No percentile calculated. ",
            total(&|tally| tally.request_prompt_tokens.sum()),
        ),
        (
            "http_response_size_bytes",
            "Content length of outgoing responses by handler. Only value of header is respected. Otherwise ignored. No percentile calculated. ",
            total(&|tally| tally.request_output_tokens.sum()),
        ),
    ];
    for (name, help, tokens) in sizes {
        sink.family(name, Kind::Summary, help);
        for (index, handler) in HANDLERS.into_iter().enumerate() {
            let share = served(index) / everything;
            let bytes = (ENVELOPE_BYTES * served(index) + BYTES_PER_TOKEN * tokens * share).round();
            sink.sum_and_count(&[("handler", handler)], bytes, served(index) as u64, created);
        }
    }
    let name = "http_request_duration_highr_seconds";
    let help = "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations. ";
    sink.family(name, Kind::Histogram, help);
    sink.merged(
        &[],
        engines.iter().map(|engine| &engine.tally.http_fine_seconds),
        created,
    );
    let help = "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important. ";
    sink.family("http_request_duration_seconds", Kind::Histogram, help);
    for (index, handler) in HANDLERS.into_iter().enumerate() {
        let labels = [("handler", handler), method];
        sink.merged(
            &labels,
            engines.iter().map(|engine| &engine.tally.http_seconds[index]),
            created,
        );
    }
}
