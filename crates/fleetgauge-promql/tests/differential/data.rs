//! The series that both evaluate over.
//!
//! For Prometheus 3 samples lie on the borders of ranges, counters begin at zero, buckets are broken, and names
//! and values have any characters. Three things keep Prometheus 2.42 and 3 from differing where both are right:
//! - Samples are taken a quarter of a second after a whole second, queries ask at half a second, and
//!   ranges, offsets and steps are whole seconds: no sample is ever on the border of an interval, which 2.x
//!   includes and 3.x does not.
//! - Numbers are small multiples of 1/64, so that sums are exact in whatever order and with whatever care
//!   they are taken.
//! - Counters are far above zero. Where a counter would be extrapolated below zero, 2.42 and 3 give up at
//!   different distances.
//!
//! Series go stale by gaps that are longer than the lookback. Text, as which 2.42 gets its data, has no staleness
//! marker: a NaN is written without its bits. Prometheus 3 is sent markers, and histograms.

use std::fmt::Write as _;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::label::LabelSet;
use fleetgauge_promql::sample::{STALE_MARKER, Sample, SampleValue};
use fleetgauge_promql::store::MemoryStore;
use fleetgauge_testkit::OpenMetrics;

use super::native;
use super::random::Random;
use super::series::{INSTANCES, JOBS, few, series, times};
pub(crate) use super::series::{LENGTH, START, Series};
use super::version::Version;

pub(crate) fn generate(random: &mut Random, version: Version) -> Vec<Series> {
    let mut all = generate_for_both(random);
    if version == Version::V3 {
        generate_for_3(random, &mut all);
        native::generate(random, &mut all);
        for series in &mut all {
            if random.chance(20) {
                let marker = SampleValue::Float(f64::from_bits(STALE_MARKER));
                let marked = series.samples.iter_mut().filter(|_| random.chance(3));
                marked.for_each(|(_, value)| *value = marker.clone());
            }
            // Mostly on whole seconds, where ranges begin and end, or a millisecond beside them.
            let shift = random.pick(&[250, 250, 250, 0, 249, 251]);
            series.samples.iter_mut().for_each(|(at, _)| *at -= shift);
            series.samples.retain(|(at, _)| *at >= 0);
        }
    }
    all
}

/// What 2.42 would answer otherwise.
fn generate_for_3(random: &mut Random, all: &mut Vec<Series>) {
    const WORDS: [&str; 9] = ["7", "x\ny", "é", "٣", "K", "k", "ab", "10", "x\"\\"];
    // But NaN, which in 3.5 is equal to all.
    const ODD_BOUNDS: [&str; 7] = ["0.1", "5e-1", "1.0", "2.5", "2.5", "+Inf", "Inf"];
    for job in JOBS {
        for instance in INSTANCES {
            let labels = [("job", job), ("inst", instance)];
            all.push(series("near_total", &labels, near_zero(random)));
            all.push(series("rough", &labels, rough(random)));
            all.push(series("few", &labels, few(random)));
            let dotted = [
                ("job", job),
                ("inst", instance),
                ("a.b", if instance == "0" { "x" } else { "y" }),
            ];
            all.push(series("dot.ted", &dotted, gauge(random, 0.0)));
        }
        for (index, bound) in ODD_BOUNDS.into_iter().enumerate() {
            // The one that is written twice is told apart by another label.
            let labels = [
                ("job", job),
                ("le", bound),
                ("twin", if index == 4 { "2" } else { "" }),
            ];
            if !random.chance(15) {
                all.push(series("odd_bucket", &labels, few(random)));
            }
        }
    }
    generate_infos(random, all);
    all.push(series("odd_bucket", &[("job", "a"), ("le", "big")], few(random)));
    all.push(series("odd_bucket", &[("job", "a")], few(random)));
    for word in WORDS {
        all.push(series("words", &[("word", word), ("job", "a")], few(random)));
    }
}

/// Series that say more about others, some of them replaced now and then.
fn generate_infos(random: &mut Random, all: &mut Vec<Series>) {
    for job in JOBS {
        for instance in INSTANCES {
            let zone = if instance == "0" { "" } else { "z" };
            let labels = [("job", job), ("instance", instance), ("zone", zone)];
            all.push(series("served", &labels, few(random)));
            let host = [
                ("job", job),
                ("instance", instance),
                ("host", "h"),
                ("version", "1"),
            ];
            if !random.chance(30) {
                all.push(series("host_info", &host, ones(random)));
            }
            // The first version until the second is there, or beside it.
            let change = random.below(LENGTH as usize) as i64;
            let overlap = random.pick(&[0, 0, 1, 60_000]);
            for version in ["1", "2"] {
                let labels = [
                    ("job", job),
                    ("instance", instance),
                    ("zone", "y"),
                    ("version", version),
                ];
                let mut samples = ones(random);
                samples.retain(|(at, _)| match version {
                    "1" => *at < change + overlap,
                    _ => *at >= change,
                });
                all.push(series("target_info", &labels, samples));
            }
        }
    }
}

fn ones(random: &mut Random) -> Vec<(i64, f64)> {
    times(random).map(|at| (at, 1.0)).collect()
}

fn generate_for_both(random: &mut Random) -> Vec<Series> {
    let mut all = Vec::new();
    let mut index = 0.0;
    for job in JOBS {
        for instance in INSTANCES {
            let labels = vec![("job", job), ("inst", instance)];
            index += 1.0;
            // Never two alike at one time, so that topk has no ties.
            let own = index / 64.0;
            all.push(series("requests_total", &labels, counter(random)));
            all.push(series("gauge", &labels, gauge(random, own)));
            // Some label sets are in one metric alone.
            if !(job == "b" && instance == "0") {
                let zone = if instance == "2" { "" } else { "z" };
                let labels = [&labels[..], &[("zone", zone)]].concat();
                all.push(series("other", &labels, gauge(random, own + 0.25)));
            }
            if instance != "1" {
                all.push(series("wild", &labels, wild(random)));
                all.push(series("sparse", &labels, sparse(random, own)));
                histogram(random, &labels, &mut all);
            }
        }
        let info = [("job", job), ("version", if job == "a" { "1.0" } else { "2.0" })];
        all.push(series("build_info", &info, ones(random)));
    }
    let dates = times(random).map(|at| {
        // Any second from 1970 to 2100.
        let seconds = (at * 7919 + 13) * 1_234_567 % 4_102_444_800;
        (at, seconds.abs() as f64)
    });
    all.push(series("dates", &[("job", "a")], dates.collect()));
    all
}

fn counter(random: &mut Random) -> Vec<(i64, f64)> {
    let mut value = 200.0 + random.below(100) as f64;
    let mut was_reset = true;
    let times: Vec<_> = times(random).collect();
    let step = |at: i64| {
        // See the head of the file: what a window begins with is more than it grows by in a step.
        was_reset = !was_reset && value > 150.0 && random.chance(4);
        value = match was_reset {
            true => 100.0 + random.below(16) as f64 / 4.0,
            false if random.chance(20) => value,
            false => value + random.below(80) as f64 / 4.0,
        };
        (at, value)
    };
    times.into_iter().map(step).collect()
}

fn gauge(random: &mut Random, own: f64) -> Vec<(i64, f64)> {
    let times: Vec<_> = times(random).collect();
    times
        .into_iter()
        .map(|at| (at, random.below(33) as f64 - 16.0 + own))
        .collect()
}

/// From zero on, and again and again.
fn near_zero(random: &mut Random) -> Vec<(i64, f64)> {
    let mut value = 0.0;
    let times: Vec<_> = times(random).collect();
    let step = |at: i64| {
        value = match random.below(10) {
            0 => 0.0,
            1 => random.below(8) as f64 / 4.0,
            2..=4 => value,
            _ => value + random.below(40) as f64 / 4.0,
        };
        (at, value)
    };
    times.into_iter().map(step).collect()
}

/// Numbers that are not exact in binary, far apart, and beyond what sums can hold.
fn rough(random: &mut Random) -> Vec<(i64, f64)> {
    const VALUES: [f64; 12] = [
        0.1, 0.2, 0.3, -0.1, 1e100, -1e100, 1e16, -0.0, 1.7e308, 1e-300, 3.0, 1e-9,
    ];
    let is_tame = random.chance(60);
    let times: Vec<_> = times(random).collect();
    let step = |at: i64| match is_tame {
        true => (at, random.below(1000) as f64 / 10.0),
        false => (at, random.pick(&VALUES)),
    };
    times.into_iter().map(step).collect()
}

/// Few values, so that they often repeat, and those that are no numbers.
fn wild(random: &mut Random) -> Vec<(i64, f64)> {
    const VALUES: [f64; 10] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        1.0,
        -1.0,
        2.0,
        0.5,
        -3.0,
        1.0,
    ];
    let times: Vec<_> = times(random).collect();
    times.into_iter().map(|at| (at, random.pick(&VALUES))).collect()
}

/// With gaps that are longer than the lookback.
fn sparse(random: &mut Random, own: f64) -> Vec<(i64, f64)> {
    let mut samples = gauge(random, own);
    let mut from = 0;
    while from < LENGTH {
        let present = 100_000 + random.below(400_000) as i64;
        let gap = 100_000 + random.below(600_000) as i64;
        samples.retain(|(at, _)| !(from + present..from + present + gap).contains(at));
        from += present + gap;
    }
    samples
}

fn histogram(random: &mut Random, labels: &[(&'static str, &'static str)], all: &mut Vec<Series>) {
    const BOUNDS: [&str; 5] = ["0.1", "0.5", "1", "2.5", "+Inf"];
    let times: Vec<_> = times(random).collect();
    let mut counts = [0.0; BOUNDS.len()];
    let mut samples = vec![Vec::new(); BOUNDS.len()];
    for at in times {
        for _ in 0..random.below(20) {
            counts[random.below(BOUNDS.len())] += 1.0;
        }
        let mut sum = 0.0;
        for (bucket, count) in samples.iter_mut().zip(counts) {
            sum += count;
            bucket.push((at, sum));
        }
    }
    for (bound, samples) in BOUNDS.into_iter().zip(samples) {
        let labels = [labels, &[("le", bound)]].concat();
        all.push(series("lat_bucket", &labels, samples));
    }
}

/// As `promtool` reads it. It knows no histograms.
pub(crate) fn open_metrics(all: &[Series]) -> OpenMetrics {
    all.iter().fold(OpenMetrics::new(), |document, series| {
        let number = |(at, value): &(i64, SampleValue)| match value {
            SampleValue::Float(value) => ((START + at) as f64 / 1000.0, *value),
            SampleValue::Histogram(_) => panic!("{} has histograms", series.name),
        };
        let samples: Vec<_> = series.samples.iter().map(number).collect();
        document.series(series.name, &series.labels, &samples)
    })
}

pub(crate) fn store(all: &[Series]) -> MemoryStore {
    let mut store = MemoryStore::new();
    for series in all {
        let labels = LabelSet::from_pairs(series.labels.iter().copied().chain([("__name__", series.name)]));
        for (at, value) in &series.samples {
            append(&mut store, &labels, *at, value);
        }
    }
    store
}

pub(crate) fn append(store: &mut MemoryStore, labels: &LabelSet, at: i64, value: &SampleValue) {
    let timestamp = Timestamp::from_millis(START + at);
    let appended = match value {
        &SampleValue::Float(value) => store.append(labels, Sample { timestamp, value }),
        SampleValue::Histogram(histogram) => store.append_histogram(labels, timestamp, histogram.clone()),
    };
    appended.unwrap();
}

/// As the `load` of a script.
pub(crate) fn script(all: &[Series]) -> String {
    let divides = |step: &i64| {
        let mut times = all.iter().flat_map(|series| &series.samples);
        times.all(|(at, _)| at % step == 0)
    };
    let step = [1000, 250, 1].into_iter().find(divides).unwrap_or(1);
    let mut text = format!("load {step}ms\n");
    for series in all {
        let labels: Vec<_> = series
            .labels
            .iter()
            .map(|(name, value)| format!("{name:?}={value:?}"))
            .collect();
        let _ = write!(text, "  {{{:?},{}}}", series.name, labels.join(","));
        let mut next = 0;
        for (at, value) in &series.samples {
            let index = at / step;
            if index > next {
                let _ = write!(text, " _x{}", index - next);
            }
            let _ = match value {
                SampleValue::Float(value) if value.to_bits() == STALE_MARKER => write!(text, " stale"),
                SampleValue::Float(value) => write!(text, " {value}"),
                SampleValue::Histogram(histogram) => write!(text, " {}", histogram.notation()),
            };
            next = index + 1;
        }
        text.push('\n');
    }
    text
}
