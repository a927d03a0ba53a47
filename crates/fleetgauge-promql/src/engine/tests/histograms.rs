//! What is computed of the rows of a window is what is computed of the histograms that they are, one by one.

use std::ops::Range;
use std::sync::Arc;

use fleetgauge_syntax::Function;
use fleetgauge_syntax::tree::Extended;
use proptest::prelude::*;

use super::*;
use crate::annotation::Annotations;
use crate::function::{Implementation, Mixed, RangeInput, implementation};
use crate::histogram::{Buckets, CounterReset, FloatHistogram};
use crate::sample::{SampleValue, Samples};
use crate::window::Window;

const INTERVAL: i64 = 10_000;

/// What is made of histograms that go on from one another.
const OF_COUNTERS: [&str; 8] = [
    "rate(h[90s])",
    "increase(h[45s])",
    "irate(h[1m])",
    "resets(h[90s])",
    "changes(h[90s])",
    "sum(rate(h[2m]))",
    "histogram_quantile(0.9, rate(h[90s]))",
    "max_over_time(histogram_count(increase(h[1m]))[2m:7s])",
];

/// What hands on, or looks at, what is known of their resets.
const OF_ALL: [&str; 8] = [
    "h",
    "delta(h[90s])",
    "idelta(h[90s])",
    "sum_over_time(h[1m])",
    "avg_over_time(h[1m])",
    "last_over_time(h[1m])",
    "sum(histogram_count(rate(h[90s])))",
    "avg(first_over_time(h[1m]))",
];

/// What happens from one scrape to the next: what, in which bucket, by how much.
type Event = (u8, usize, u8);

/// A series that is scraped every ten seconds; mostly a counter that grows.
fn window(events: &[Event]) -> Window {
    let window = Window::new(crate::window::WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let mut counts = [0.0; 6];
    let (mut is_coarse, mut is_custom, mut is_wide) = (false, false, false);
    for (time, &(what, bucket, by)) in (1..).map(|row| row * INTERVAL).zip(events) {
        let mut page = target.scrape(Timestamp::from_millis(time));
        let labels = |labels: &mut crate::window::ExposedLabels| labels.label("__name__", "h");
        let mut hint = CounterReset::Unknown;
        match what {
            0 => {
                page.append("h", f64::from(by), None, labels).unwrap();
                page.commit();
                continue;
            }
            1 => {
                page.commit();
                continue;
            }
            2 => counts = [0.0; 6],
            3 => counts[bucket] -= f64::from(by).min(counts[bucket]),
            4 => hint = CounterReset::Gauge,
            5 => hint = CounterReset::Reset,
            6 => is_coarse = !is_coarse,
            7 => is_custom = !is_custom,
            8 => is_wide = !is_wide,
            _ => {}
        }
        counts[bucket] += f64::from(by);
        let seen = counts.iter().enumerate().filter(|(_, count)| **count > 0.0);
        let buckets: Buckets = seen.map(|(index, &count)| (index as i32, count)).collect();
        let histogram = match is_custom {
            true => FloatHistogram::custom(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap(),
            false => FloatHistogram::exponential(if is_coarse { 0 } else { 1 })
                .unwrap()
                .with_zero(if is_wide { 1.5 } else { 0.0 }, f64::from(by))
                .unwrap()
                .with_negative(buckets.clone()),
        };
        let histogram = histogram
            .with_positive(buckets)
            .with_count(counts.iter().sum())
            .with_sum(if by == 9 { f64::NAN } else { counts[5] })
            .with_counter_reset(hint);
        page.append_histogram("h", histogram, None, labels).unwrap();
        page.commit();
    }
    window
}

/// The same series with histograms that are made. *`forgets`*: of which nobody knows that they go on from the one before.
struct Plain<'w> {
    window: &'w Window,
    forgets: bool,
}

struct PlainSelection<'w> {
    series: Box<dyn Selection + 'w>,
    forgets: bool,
}

impl Queryable for Plain<'_> {
    fn select(&self, matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Box<dyn Selection + '_> {
        Box::new(PlainSelection {
            series: Queryable::select(self.window, matchers, from, to),
            forgets: self.forgets,
        })
    }
}

impl Selection for PlainSelection<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.series.labels(index)
    }

    fn read(&self, index: usize, from: Timestamp, to: Timestamp, into: &mut Samples) {
        let mut samples = Samples::default();
        self.series.read(index, from, to, &mut samples);
        for place in 0..samples.len() {
            let time = samples.times()[place];
            match samples.value(place) {
                SampleValue::Float(value) => into.push(time, value),
                SampleValue::Histogram(histogram) => {
                    let mut histogram = FloatHistogram::clone(&histogram);
                    if self.forgets && histogram.counter_reset() == CounterReset::NotReset {
                        histogram = histogram.with_counter_reset(CounterReset::Unknown);
                    }
                    into.push_histogram(time, Arc::new(histogram));
                }
            }
        }
    }

    fn newest(&self, of: Range<usize>, at: Timestamp, lookback: Duration, into: &mut Vec<Option<Sample>>) {
        self.series.newest(of, at, lookback, into);
    }
}

/// Each value of an answer, and what comes with it.
fn told(data: &dyn Queryable, query: &str, steps: (i64, i64)) -> (Vec<String>, Vec<String>) {
    let [start, end] = [steps.0, steps.1].map(Timestamp::from_millis);
    let histograms = Some(AnsweredHistograms::new());
    let evaluation = match start == end {
        true => Engine::default().instant_with(data, query, end, histograms),
        false => Engine::default().range_with(data, query, (start, end), Duration::from_secs(20), histograms),
    };
    let evaluation = evaluation.expect("an answer");
    let mut values = Vec::new();
    for (place, series) in evaluation.answer.series().enumerate() {
        for point in series.points() {
            let value = match evaluation.value(place, point.timestamp, point.value) {
                SampleValue::Float(value) => format!("{:x}", value.to_bits()),
                SampleValue::Histogram(histogram) => format!("{histogram:?}"),
            };
            values.push(format!("{} {:?} {value}", series.labels(), point.timestamp));
        }
    }
    let notes = evaluation.warnings.iter().chain(&evaluation.infos);
    (values, notes.map(ToString::to_string).collect())
}

/// Whether they are histograms of which each goes on from the one before.
fn only_grow(samples: &Samples, range: Range<usize>) -> bool {
    range.clone().zip(range.skip(1)).all(|(before, own)| {
        let [Some(before), Some(own)] = [before, own].map(|place| samples.histogram(place)) else {
            return false;
        };
        let is_gauge = |one: &FloatHistogram| one.counter_reset() == CounterReset::Gauge;
        before.layout() == own.layout() && !is_gauge(before) && !is_gauge(own) && !own.is_reset_since(before)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_are_computed_with_as_histograms_are(
        events in prop::collection::vec((0..40_u8, 0..6_usize, 0..10_u8), 2..90),
        start in 0..40_i64,
    ) {
        let window = window(&events);
        let end = INTERVAL * events.len() as i64 + 3;
        let start = (start * INTERVAL).min(end - 20_000).max(1);
        for steps in [(start, end), (end, end)] {
            let plain = |forgets| Plain { window: &window, forgets };
            for query in OF_COUNTERS.iter().chain(&OF_ALL) {
                prop_assert_eq!(told(&window, query, steps), told(&plain(false), query, steps), "{}", query);
            }
            for query in OF_COUNTERS {
                prop_assert_eq!(told(&window, query, steps), told(&plain(true), query, steps), "{}", query);
            }
        }
    }

    #[test]
    fn what_only_grows_has_the_change_from_the_first_to_the_last(
        events in prop::collection::vec((5..60_u8, 0..6_usize, 0..10_u8), 2..40),
    ) {
        let window = window(&events);
        let mut samples = Samples::default();
        let series = Queryable::select(&window, &[], Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
        series.read(0, Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX), &mut samples);
        for (from, to) in (0..samples.len()).flat_map(|from| (from + 2..=samples.len()).map(move |to| (from, to))) {
            if !only_grow(&samples, from..to) {
                continue;
            }
            let (times, values) = (&samples.times()[from..to], &samples.values()[from..to]);
            let input = RangeInput {
                times,
                values,
                starts: &[],
                falls: false,
                start: times[0] - 3_000,
                end: times[times.len() - 1] + 4_000,
                at: 0,
                extended: Extended::No,
                lookback_start: 0,
            };
            for function in [Function::Rate, Function::Increase] {
                let Implementation::Range(spec) = implementation(function) else {
                    panic!("a function over a range");
                };
                let [known, looked_for] = [true, false].map(|only_grows| {
                    let range = Mixed { input, samples: &samples, from, metric: "h", only_grows };
                    let mut notes = Annotations::default();
                    let value = spec.of_mixed(&range, &[], &mut notes);
                    (format!("{value:?}"), notes.into_parts())
                });
                prop_assert_eq!(known, looked_for);
            }
        }
    }
}
