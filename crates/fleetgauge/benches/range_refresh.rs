//! What does a refresh of a range of 240 steps of 1,000 series cost when one step is new?
//!
//! `delta` asks for the new step alone, `delta_overlap` for those of the last minute as well (the default), and
//! `whole`, the alternative, for all 240, as a client does that holds nothing. Counted are request, decoding of the
//! body and caching; the server is not. The aim is a tenth of `whole`.
//!
//! `cargo bench -p fleetgauge --bench range_refresh`

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fleetgauge::prometheus::decode_range;
use fleetgauge_core::backend::{Backend, FetchError, Request};
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::range::Steps;
use fleetgauge_core::result::Answer;
use fleetgauge_core::source::{CachedSource, CachedSourceConfig, MetricsSource, RefreshSpec};
use fleetgauge_core::time::{Clock, Timestamp};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

const STEP: Duration = Duration::from_secs(15);
const STEPS: u32 = 240;
const SERIES: usize = 1_000;

fn main() {
    divan::main();
}

/// Decodes the body that was laid ready.
#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Vec<u8>>>);

impl Backend for Ready {
    fn fetch<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answer, FetchError>> {
        let body = self.0.lock().expect("no panic");
        std::future::ready(decode_range(&body)).boxed()
    }
}

fn body(steps: Steps) -> Vec<u8> {
    let mut json = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    for i in 0..SERIES {
        let comma = if i == 0 { "" } else { "," };
        write!(
            json,
            "{comma}{{\"metric\":{{\"namespace\":\"llm-inference-production\",\
             \"pod\":\"llama-8b-decode-7c9d8b6f5d-{i:05}\"}},\"values\":["
        )
        .expect("writing to a string");
        for (n, at) in steps.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let value = (i * 40503 + n * 7919) % 1_000_000;
            write!(json, "{comma}[{at},\"0.{value:06}\"]").expect("writing to a string");
        }
        json.push_str("]}");
    }
    json.push_str("]}}");
    json.into_bytes()
}

/// Refreshes of which each asks for the steps of the last `overlap`, and for one that is new.
fn refresh(bencher: Bencher<'_, '_>, overlap: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let (clock, hand) = Clock::manual(Timestamp::from_millis(1_763_930_010_000));
    let server = Ready::default();
    let mut config = CachedSourceConfig::default();
    config.range.overlap = overlap;
    let source = CachedSource::with_clock(Arc::new(server.clone()), config, clock.clone());
    source.query_list().must_register(QueryTemplate::promql("q", "q"));
    let window = STEP * (STEPS - 1);
    let steps = || Steps::until_now(clock.wall(), window, STEP).expect("a range");
    let ask = || {
        let results = runtime.block_on(source.refresh_range(RefreshSpec::all(), window, STEP));
        let result = results["q"].as_ref().expect("an answer");
        assert_eq!(result.len(), SERIES * STEPS as usize);
        results
    };
    *server.0.lock().expect("no panic") = body(steps());
    ask();
    let asked = (overlap.as_secs() / STEP.as_secs()) as usize + 1;
    let prepared = || {
        hand.advance(STEP);
        *server.0.lock().expect("no panic") = body(steps().skip(STEPS as usize - asked.min(STEPS as usize)));
    };
    prepared();
    let bytes = server.0.lock().expect("no panic").len();
    ask();
    bencher
        .counter(BytesCount::new(bytes))
        .with_inputs(prepared)
        .bench_local_values(|()| black_box(ask()));
}

#[divan::bench]
fn delta(bencher: Bencher<'_, '_>) {
    refresh(bencher, Duration::ZERO);
}

#[divan::bench]
fn delta_overlap(bencher: Bencher<'_, '_>) {
    refresh(bencher, Duration::from_secs(60));
}

#[divan::bench]
fn whole(bencher: Bencher<'_, '_>) {
    refresh(bencher, STEP * STEPS);
}
