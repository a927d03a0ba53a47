//! An answer does not depend on how many threads computed it: random queries of the whole grammar over some thousand
//! series, on one thread, two and eight. Nor does a refusal, also where a limit is met in the middle.
//!
//! The series are those of the differential with Prometheus, many times over.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::Duration;

use fleetgauge_core::age::Age;
use fleetgauge_core::histogram::Histogram;
use fleetgauge_core::sample::SampleValue;
use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::engine::{Engine, EngineConfig, EvalError, Evaluation};
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::matcher::Matcher;
use fleetgauge_promql::queryable::{Queryable, Selection};
use fleetgauge_promql::sample::{self, Sample, Samples};
use fleetgauge_promql::store::MemoryStore;

use crate::differential::data;
use crate::differential::generate::{self, Choices};
use crate::differential::random::Random;
use crate::differential::version::Version;

const THREADS: [usize; 3] = [1, 2, 8];
const COPIES: usize = 60;

/// Series, and which threads have read them.
struct Watched {
    store: MemoryStore,
    readers: Mutex<HashSet<ThreadId>>,
}

struct WatchedSelection<'a> {
    series: Box<dyn Selection + 'a>,
    readers: &'a Mutex<HashSet<ThreadId>>,
}

impl Queryable for Watched {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Box::new(WatchedSelection {
            series: self.store.select(matchers, from, to),
            readers: &self.readers,
        })
    }
}

impl WatchedSelection<'_> {
    fn note(&self) {
        self.readers.lock().unwrap().insert(thread::current().id());
    }
}

impl Selection for WatchedSelection<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.series.labels(index)
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        self.note();
        self.series.read(index, from, to, into);
    }

    fn newest(&self, of: Range<usize>, at: Timestamp, lookback: Duration, into: &mut Vec<Option<Sample>>) {
        self.note();
        self.series.newest(of, at, lookback, into);
    }

    fn age(&self, index: usize, sample: Timestamp, asked: Timestamp, lookback: Duration) -> Age {
        self.series.age(index, sample, asked, lookback)
    }
}

impl Watched {
    fn new(random: &mut Random) -> Self {
        Self {
            store: store(random, COPIES),
            readers: Mutex::default(),
        }
    }

    fn ask(&self, engine: &Engine, query: &str, when: (i64, i64)) -> Result<Evaluation, EvalError> {
        ask(engine, self, query, when)
    }

    /// How many threads have read since it was asked last.
    fn readers(&self) -> usize {
        std::mem::take(&mut *self.readers.lock().unwrap()).len()
    }
}

/// At a time, or over so many steps from it on. *Unit*: milliseconds after [`data::START`].
pub(crate) fn ask(
    engine: &Engine,
    data: &dyn Queryable,
    query: &str,
    (start, steps): (i64, i64),
) -> Result<Evaluation, EvalError> {
    let at = |millis: i64| Timestamp::from_millis(data::START + millis);
    match steps {
        0 => engine.instant(data, query, at(start)),
        _ => engine.range(
            data,
            query,
            at(start),
            at(start + steps * 20_000),
            Duration::from_secs(20),
        ),
    }
}

/// Series of all kinds, each so many times.
pub(crate) fn store(random: &mut Random, copies: usize) -> MemoryStore {
    let mut store = MemoryStore::new();
    for series in data::generate(random, Version::V3) {
        for copy in 0..copies {
            let labels = series
                .labels
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            let own = [("__name__", series.name.to_owned()), ("copy", copy.to_string())];
            let labels = LabelSet::from_pairs(labels.chain(own));
            for (at, value) in &series.samples {
                // So that the copies are not all the same.
                let value = match value {
                    sample::SampleValue::Float(value) if at % 7 == copy as i64 % 7 => {
                        sample::SampleValue::Float(value + 1.0)
                    }
                    value => value.clone(),
                };
                data::append(&mut store, &labels, *at, &value);
            }
        }
    }
    store
}

fn engine(config: &EngineConfig, threads: usize) -> Engine {
    Engine::new(config.clone().with_threads(threads).with_histograms(true))
}

/// All that there is to tell, with the bits of the numbers.
pub(crate) fn told(evaluation: &Result<Evaluation, EvalError>) -> String {
    let evaluation = match evaluation {
        Ok(evaluation) => evaluation,
        Err(error) => return format!("{error:?}"),
    };
    let mut told = format!("{evaluation:?}\n");
    for series in evaluation.answer.series() {
        write!(told, "{}:", series.labels()).unwrap();
        for (at, value) in series.samples() {
            match value {
                SampleValue::Number(number) => write!(told, " {:x}", number.to_bits()),
                SampleValue::Histogram(histogram) => write!(told, " {}", bits(histogram)),
                other => panic!("{other:?}"),
            }
            .unwrap();
            write!(told, "@{}", at.as_millis()).unwrap();
        }
        told.push('\n');
    }
    told
}

fn bits(histogram: &Histogram) -> String {
    let mut told = format!("{:x} {:x}", histogram.count.to_bits(), histogram.sum.to_bits());
    for bucket in &histogram.buckets {
        let numbers = [bucket.lower, bucket.upper, bucket.count].map(f64::to_bits);
        write!(told, " {:?}{numbers:x?}", bucket.bounds).unwrap();
    }
    told
}

pub(crate) fn query(random: &mut Random) -> (String, (i64, i64)) {
    let query = generate::expression(&mut Choices::new(random, Version::V3)).print(data::START);
    let start = random.below(data::LENGTH as usize) as i64;
    let steps = if random.chance(50) {
        0
    } else {
        1 + random.below(20) as i64
    };
    (query, (start, steps))
}

#[test]
fn an_answer_does_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(31);
    let (mut answered, mut refused, mut shared, mut histograms) = (0, 0, 0, 0);
    let data = Watched::new(&mut random);
    // On a busy machine a query is often over before another thread comes to help: then more are asked.
    for round in 0..20 {
        if round >= 2 && shared > 50 {
            break;
        }
        let config = EngineConfig::default()
            .with_ages(round % 2 == 1)
            .with_timeout(Duration::from_secs(600));
        let engines = THREADS.map(|threads| engine(&config, threads));
        // Of more series that have ended than are remembered, the first ones are.
        let ended = "last_over_time({__name__=~\"few|rough\"}[20m])".to_owned();
        let ended = [(ended, (data::LENGTH + 500_000, 0))];
        for (query, when) in ended.into_iter().chain((0..100).map(|_| query(&mut random))) {
            let alone = data.ask(&engines[0], &query, when);
            match &alone {
                Ok(alone) => {
                    answered += 1;
                    histograms += usize::from(alone.answer.has_histograms());
                }
                Err(_) => refused += 1,
            }
            assert!(data.readers() <= 1, "{query}");
            let alone = told(&alone);
            for (engine, threads) in engines.iter().zip(THREADS).skip(1) {
                let together = told(&data.ask(engine, &query, when));
                assert_eq!(alone, together, "{query} on {threads} threads at {when:?}");
                shared += usize::from(data.readers() > 1);
            }
        }
    }
    // None of this is for nothing.
    assert!(
        answered > 100 && refused > 20 && shared > 50 && histograms > 10,
        "{answered}, {refused}, {shared}, {histograms}"
    );
}

/// What is refused is refused by the same limit, however the threads met it.
#[test]
fn a_limit_met_in_the_middle_is_the_same_on_any_number_of_threads() {
    const QUERIES: [&str; 9] = [
        "rate(near_total[5m])",
        "sum by (copy) (sum_over_time(rough[10m])) / on (copy) sum by (copy) (rough)",
        "rough + few",
        "quantile_over_time(0.3, few[3m])",
        "max_over_time(rate(near_total[2m])[10m:30s])",
        "double_exponential_smoothing(rough[5m], 0.5, 3)",
        "histogram_quantile(0.9, sum by (job) (rate(sizes[5m])))",
        "avg_over_time(bounded[3m]) + on (copy, job, inst) bounded",
        "{__name__=~\"levels|mingled|strange\"}",
    ];
    let mut random = Random::new(32);
    let (mut bounds, mut answers, mut timeouts) = (0, 0, 0);
    let data = Watched::new(&mut random);
    let config = EngineConfig::default()
        .with_timeout(Duration::from_secs(600))
        .with_histograms(true);
    for query in QUERIES {
        let when = (1_200_000, 10);
        let whole = data
            .ask(&engine(&config, 1), query, when)
            .map_or(100_000, |all| all.samples);
        for _ in 0..20 {
            let config = match random.chance(50) {
                true => config.clone().with_max_samples(random.below(whole + whole / 8)),
                false => config.clone().with_max_bytes(random.below(1 << 20)),
            };
            let [alone, others @ ..] =
                THREADS.map(|threads| told(&data.ask(&engine(&config, threads), query, when)));
            for (together, threads) in others.iter().zip(&THREADS[1..]) {
                assert_eq!(&alone, together, "{query} on {threads} threads with {config:?}");
            }
            match alone.starts_with("Bound") {
                true => bounds += 1,
                false => answers += 1,
            }
        }
        // When it is too late differs; an answer that is in time does not.
        let whole = told(&data.ask(&engine(&config, 1), query, when));
        for micros in (0..20).map(|i| i * 200) {
            let config = config.clone().with_timeout(Duration::from_micros(micros));
            for threads in THREADS {
                let engine = engine(&config, threads);
                let answer = data.ask(&engine, query, when);
                match answer.as_ref().map_err(EvalError::reason) {
                    Err("timeout") => timeouts += 1,
                    _ => assert_eq!(whole, told(&answer), "{query} on {threads} threads"),
                }
                // Its threads are there for the next one.
                let again = engine.with_config(
                    EngineConfig::default()
                        .with_threads(threads)
                        .with_histograms(true),
                );
                data.readers();
                assert_eq!(
                    whole,
                    told(&data.ask(&again, query, when)),
                    "{query} on {threads} threads"
                );
            }
        }
    }
    assert!(
        bounds > 20 && answers > 20 && timeouts > 20,
        "{bounds}, {answers}, {timeouts}"
    );
}
