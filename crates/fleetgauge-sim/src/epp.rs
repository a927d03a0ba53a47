//! The page of an endpoint picker.
//!
//! Source: llm-d's router 0.9, `pkg/epp/metrics`: it shows its queue, its dispatches and its pools under their new
//! names (`llm_d_epp_`) and under those of the Gateway API inference extension (`inference_extension_`,
//! `inference_pool_`). The process' part is from Go's own collectors.

use crate::gateway::{Endpoint, Gateway};
use crate::page::{Kind, Sink};
use crate::scheduler::seconds;

/// The page's part that is not Go's own. Which samples there are depends on the pods' names, so this
/// page has no skeleton to keep.
pub(crate) fn describe(sink: &mut impl Sink, gateway: &Gateway) {
    let model = [
        ("model_name", gateway.model.as_str()),
        ("target_model_name", gateway.model.as_str()),
    ];
    sink.family(
        "inference_objective_request",
        Kind::Counter,
        "Counter of inference objective requests broken out for each model and target model.",
    );
    sink.counter(&model, gateway.requests, None);
    sink.family(
        "inference_objective_request_error",
        Kind::Counter,
        "Counter of inference objective requests errors broken out for each model and target model.",
    );
    sink.counter(
        &[("error_code", "ServiceUnavailable"), model[0], model[1]],
        gateway.failed,
        None,
    );
    sink.family(
        "inference_objective_input_tokens",
        Kind::Histogram,
        "Inference objective input token count distribution for requests in each model.",
    );
    sink.histogram(&model, &gateway.input_tokens, None);

    let ready: Vec<&Endpoint> = gateway.endpoints.iter().filter(|e| e.ready).collect();
    let mean = |value: &dyn Fn(&Endpoint) -> f64| {
        ready.iter().map(|e| value(e)).sum::<f64>() / (ready.len() as f64).max(1.0)
    };
    let name = [("name", gateway.pool.as_str())];
    let pools = [
        (
            [
                "llm_d_epp_average_kv_cache_utilization",
                "inference_pool_average_kv_cache_utilization",
            ],
            "The average kv cache utilization for an inference server pool.",
            mean(&|e| e.kv_cache_ratio),
        ),
        (
            [
                "llm_d_epp_average_queue_size",
                "inference_pool_average_queue_size",
            ],
            "The average number of requests pending in the model server queue.",
            mean(&|e| e.waiting as f64),
        ),
        (
            ["llm_d_epp_ready_endpoints", "inference_pool_ready_pods"],
            "The number of ready pods in the inference server pool.",
            ready.len() as f64,
        ),
    ];
    for (names, help, value) in pools {
        for metric in names {
            sink.gauge(metric, help, &name, value);
        }
    }
    sink.family(
        "inference_pool_per_pod_queue_size",
        Kind::Gauge,
        "The total number of requests pending in the model server queue for each underlying pod.",
    );
    for endpoint in &ready {
        sink.sample(
            "",
            &[("model_server_pod", &endpoint.name), name[0]],
            endpoint.waiting as f64,
        );
    }

    for (attempts, endpoint_label) in [
        ("llm_d_epp_scheduler_attempts", "endpoint_name"),
        ("inference_extension_scheduler_attempts", "pod_name"),
    ] {
        sink.family(attempts, Kind::Counter, "Total number of scheduling attempts.");
        for endpoint in &gateway.endpoints {
            let mut port = itoa::Buffer::new();
            let labels = [
                (endpoint_label, endpoint.name.as_str()),
                ("namespace", gateway.namespace.as_str()),
                ("port", port.format(endpoint.port)),
                ("status", "success"),
                model[1],
            ];
            sink.counter(&labels, endpoint.dispatched, None);
        }
        let failure = [
            (endpoint_label, ""),
            ("namespace", ""),
            ("port", ""),
            ("status", "failure"),
            model[1],
        ];
        sink.counter(&failure, gateway.failed, None);
    }

    let queue = [
        ("fairness_id", "default-flow"),
        ("inference_pool", gateway.pool.as_str()),
        model[0],
        ("priority", "0"),
        model[1],
    ];
    let bytes: u64 = gateway
        .held
        .iter()
        .map(|request| 310 + 4 * u64::from(request.prompt))
        .sum();
    let queues = [
        (
            [
                "llm_d_epp_flow_control_queue_size",
                "inference_extension_flow_control_queue_size",
            ],
            "The number of requests currently being managed by the EPP flow control layer.",
            gateway.held.len() as f64,
        ),
        (
            [
                "llm_d_epp_flow_control_queue_bytes",
                "inference_extension_flow_control_queue_bytes",
            ],
            "The size of requests currently being managed by the EPP flow control layer, in bytes.",
            bytes as f64,
        ),
    ];
    for (names, help, value) in queues {
        for metric in names {
            sink.gauge(metric, help, &queue, value);
        }
    }
    sink.family(
        "inference_extension_flow_control_request_queue_duration_seconds",
        Kind::Histogram,
        "Distribution of the total time requests spend in the EPP flow control layer.",
    );
    sink.histogram(
        &[queue[0], queue[1], ("outcome", "Dispatched"), queue[3]],
        &gateway.waited_seconds,
        None,
    );
    sink.family(
        "inference_extension_flow_control_requests_expired",
        Kind::Counter,
        "Requests that left the EPP flow control layer without an answer.",
    );
    sink.counter(&queue, gateway.expired, None);
    sink.family(
        "inference_extension_info",
        Kind::Info,
        "General information of the current build of Inference Extension.",
    );
    sink.sample(
        "",
        &[("build_ref", "v1.1.0"), ("commit", "2d4e6f8a0c1b3d5f")],
        1.0,
    );
}

/// Go's own part of the page; `uptime_ns` since the process started, which was at `started` seconds
/// since the Unix epoch.
pub(crate) fn describe_process(sink: &mut impl Sink, gateway: &Gateway, started: f64, uptime_ns: u64) {
    let files = 24.0 + gateway.endpoints.len() as f64;
    sink.family("go_info", Kind::Info, "Information about the Go environment.");
    sink.sample("", &[("version", "go1.24.6")], 1.0);
    sink.gauge(
        "go_goroutines",
        "Number of goroutines that currently exist.",
        &[],
        60.0 + 4.0 * files + gateway.held.len() as f64,
    );
    sink.gauge("go_threads", "Number of OS threads created.", &[], 14.0);
    sink.gauge(
        "go_memstats_heap_alloc_bytes",
        "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes.",
        &[],
        18_874_368.0 + 16_384.0 * files,
    );
    sink.family(
        "process_cpu_seconds",
        Kind::Counter,
        "Total user and system CPU time spent in seconds.",
    );
    sink.sample(
        "_total",
        &[],
        (100.0 * (seconds(uptime_ns) * 0.02 + gateway.requests as f64 * 0.000_4)).floor() / 100.0,
    );
    sink.gauge("process_open_fds", "Number of open file descriptors.", &[], files);
    sink.gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        &[],
        67_108_864.0 + 65_536.0 * files,
    );
    sink.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        &[],
        started,
    );
}
