//! Native histograms, alone and among numbers: what is read is what was appended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::histogram::{Buckets, CounterReset, FloatHistogram};
use crate::label::LabelSet;
use crate::sample::{STALE_MARKER, SampleValue};
use crate::store::MemoryStore;

/// So many observations in each of the first buckets above one.
fn counted(counts: &[f64]) -> FloatHistogram {
    let count = counts.iter().sum();
    FloatHistogram::exponential(0)
        .unwrap()
        .with_count(count)
        .with_sum(count * 2.0)
        .with_positive(Buckets::starting_at(1, counts).unwrap())
}

fn append(target: &mut Appender, time: Timestamp, text: &str, value: &SampleValue) -> ScrapeReport {
    let mut batch = target.scrape(time);
    append_to(&mut batch, text, value, None).unwrap();
    batch.commit()
}

fn append_to(
    batch: &mut ScrapeBatch<'_>,
    text: &str,
    value: &SampleValue,
    own: Option<Timestamp>,
) -> Result<(), AppendError> {
    match value {
        SampleValue::Float(value) => batch.append(text, *value, own, |l| read_labels(text, l)),
        SampleValue::Histogram(histogram) => {
            batch.append_histogram(text, FloatHistogram::clone(histogram), own, |l| {
                read_labels(text, l);
            })
        }
    }
}

fn histogram(counts: &[f64]) -> SampleValue {
    SampleValue::Histogram(Arc::new(counted(counts)))
}

/// What a series holds, with what is known of the resets of each histogram.
fn held(samples: &Samples) -> Vec<(i64, SampleValue, Option<CounterReset>)> {
    let of = |place: usize| {
        let known = samples.histogram(place).map(|one| one.counter_reset());
        (samples.times()[place], samples.value(place), known)
    };
    (0..samples.len()).map(of).collect()
}

fn read(window: &Window, from: Timestamp, to: Timestamp) -> Samples {
    let mut samples = Samples::default();
    if let Some(series) = window.select(&[], from, to).iter().next() {
        series.read(from, to, &mut samples);
    }
    samples
}

fn all() -> (Timestamp, Timestamp) {
    (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX))
}

#[test]
fn a_series_may_have_numbers_and_histograms() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let values = [
        SampleValue::Float(1.0),
        histogram(&[1.0]),
        histogram(&[2.0, 3.0]),
        histogram(&[2.0, 0.0, 4.0]),
        SampleValue::Float(f64::NAN),
        histogram(&[9.0]),
    ];
    for (second, value) in values.iter().enumerate() {
        let report = append(&mut target, at(second as f64), "h", value);
        assert_eq!(report.appended, 1);
    }
    let (from, to) = all();
    let samples = read(&window, from, to);
    let found: Vec<_> = (0..samples.len()).map(|place| samples.value(place)).collect();
    assert_eq!(found, values);
    use CounterReset::{NotReset, Unknown};
    let known: Vec<_> = held(&samples).into_iter().filter_map(|one| one.2).collect();
    assert_eq!(known, [Unknown, NotReset, Unknown, Unknown]);

    let selected = window.select(&[], at(0.0), at(9.0));
    let mut newest = Vec::new();
    Selection::newest(&selected, 0..1, at(3.5), minutes(5), &mut newest);
    let newest = newest[0].unwrap();
    assert!(newest.is_histogram());
    let one = selected.histogram(0, newest.timestamp).unwrap();
    assert_eq!(SampleValue::Histogram(one), values[3]);
}

#[test]
fn a_second_histogram_of_one_time_is_told() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    assert_eq!(append(&mut target, at(0.0), "h", &histogram(&[1.0])).appended, 1);
    assert_eq!(append(&mut target, at(0.0), "h", &histogram(&[1.0])).repeated, 1);
    assert_eq!(
        append(&mut target, at(0.0), "h", &histogram(&[2.0])).duplicates,
        1
    );
    assert_eq!(
        append(&mut target, at(0.0), "h", &SampleValue::Float(1.0)).duplicates,
        1
    );
    assert_eq!(
        append(&mut target, at(-1.0), "h", &histogram(&[2.0])).out_of_order,
        1
    );
    let mut missing = Missing::default();
    let read = Read {
        matchers: &[],
        from: at(-1.0),
        to: at(1.0),
        since: at(-1.0),
        newest: true,
    };
    window.missing(read, &mut missing);
    assert!(!missing.is_empty());
    let (from, to) = all();
    assert_eq!(
        super::histograms::read(&window, from, to).value(0),
        histogram(&[1.0])
    );
}

#[test]
fn a_histogram_that_is_exposed_no_longer_ends() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    append(&mut target, at(0.0), "h", &histogram(&[1.0]));
    assert_eq!(target.scrape(at(1.0)).commit().went_stale, 1);
    let (from, to) = all();
    let samples = read(&window, from, to);
    assert_eq!(samples.values()[1].to_bits(), STALE_MARKER);
    assert!(window.latest("h", at(2.0), minutes(5)).is_empty());
    append(&mut target, at(2.0), "h", &histogram(&[5.0]));
    let known: Vec<_> = held(&read(&window, from, to))
        .into_iter()
        .map(|one| one.2)
        .collect();
    assert_eq!(
        known,
        [Some(CounterReset::Unknown), None, Some(CounterReset::Unknown)]
    );
}

#[test]
fn what_is_of_the_future_goes_when_the_clock_is_set_back() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    for second in 0..100 {
        append(
            &mut target,
            at(f64::from(second)),
            "h",
            &histogram(&[f64::from(second)]),
        );
    }
    let mut coarse = counted(&[7.0]);
    coarse.reduce_to(-1);
    append(
        &mut target,
        at(100.0),
        "h",
        &SampleValue::Histogram(Arc::new(coarse.clone())),
    );
    // Back by more than a minute.
    append(&mut target, at(30.0), "h", &histogram(&[1000.0]));
    for second in 31..=100 {
        append(&mut target, at(f64::from(second)), "h", &histogram(&[2000.0]));
    }
    let (from, to) = all();
    let samples = read(&window, from, to);
    assert_eq!(samples.len(), 101);
    let expected = |place: usize| match place {
        0..30 => place as f64,
        30 => 1000.0,
        _ => 2000.0,
    };
    for place in 0..101 {
        assert_eq!(samples.value(place), histogram(&[expected(place)]), "{place}");
    }
}

#[test]
fn readers_see_whole_histograms() {
    let window = Window::new(WindowConfig::default().with_retention(Duration::from_secs(100)));
    let done = AtomicBool::new(false);
    // Of each number another shape.
    let shape = |number: i64| -> FloatHistogram {
        let counts: Vec<_> = (0..1 + number % 7).map(|at| (number + at) as f64).collect();
        let mut shape = counted(&counts);
        if number / 50 % 2 == 1 {
            shape.reduce_to(-1);
        }
        shape
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut target = window.appender([("pod", "p")]);
            for number in 1..4_000 {
                let time = Timestamp::from_millis(number * 1_000);
                append(
                    &mut target,
                    time,
                    "h",
                    &SampleValue::Histogram(Arc::new(shape(number))),
                );
                if number % 64 == 0 {
                    window.expire(time);
                }
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let (from, to) = all();
                let samples = read(&window, from, to);
                let mut before = None;
                for place in 0..samples.len() {
                    let number = samples.times()[place] / 1_000;
                    assert_eq!(**samples.histogram(place).unwrap(), shape(number));
                    assert!(
                        before.is_none_or(|before| number == before + 1),
                        "a gap at {number}"
                    );
                    before = Some(number);
                }
            }
        });
    });
    assert!(done.load(Ordering::Acquire));
}

#[test]
fn the_memory_limit_holds_for_histograms() {
    let counts = |number: u32| -> Vec<f64> {
        (0..40)
            .map(|at| f64::from(number.wrapping_mul(at * at + 7919) >> 8))
            .collect()
    };
    let limit = 60_000;
    let window = Window::new(WindowConfig::default().with_max_bytes(limit));
    let mut target = window.appender([("pod", "p")]);
    for number in 0..2_000 {
        append(
            &mut target,
            at(f64::from(number)),
            "h",
            &histogram(&counts(number)),
        );
        // As much beyond it as rows need to become a block.
        assert!(
            window.stats().bytes < limit + limit / 4,
            "{}",
            window.stats().bytes
        );
    }
    let (from, to) = all();
    let samples = read(&window, from, to);
    assert!((100..1_900).contains(&samples.len()), "{}", samples.len());
    assert_eq!(samples.value(samples.len() - 1), histogram(&counts(1_999)));
    let mut missing = Missing::default();
    let read = Read {
        matchers: &[],
        from: at(0.0),
        to: at(2_000.0),
        since: at(0.0),
        newest: false,
    };
    window.missing(read, &mut missing);
    assert!(!missing.is_empty(), "what was dropped is told");
}

fn any_histogram() -> impl Strategy<Value = FloatHistogram> {
    let count = || prop_oneof![(0..50_u32).prop_map(f64::from), 0.0..1e18];
    let buckets = move |range: std::ops::Range<i32>| {
        prop::collection::btree_map(range, count(), 0..8).prop_map(|counts| {
            let counts: Buckets = counts.into_iter().collect();
            counts
        })
    };
    let exponential = (
        prop::sample::select(vec![-1_i64, 0, 3]),
        prop::sample::select(vec![0.0, 0.001]),
        count(),
        buckets(-20..20),
        buckets(-20..20),
    );
    let exponential = exponential.prop_map(|(schema, width, zero, positive, negative)| {
        FloatHistogram::exponential(schema)
            .unwrap()
            .with_zero(width, zero)
            .unwrap()
            .with_positive(positive)
            .with_negative(negative)
    });
    let bounds = prop::sample::select(vec![vec![1.0, 2.0], vec![0.5, 1.0, 2.0]]);
    let custom = (bounds, buckets(0..3))
        .prop_map(|(bounds, buckets)| FloatHistogram::custom(&bounds).unwrap().with_positive(buckets));
    let sum = prop_oneof![any::<f64>(), Just(f64::NAN), (0..99_u32).prop_map(f64::from)];
    let hint = prop::sample::select(vec![
        CounterReset::Unknown,
        CounterReset::Unknown,
        CounterReset::Gauge,
    ]);
    (prop_oneof![4 => exponential, 1 => custom], count(), sum, hint).prop_map(
        |(histogram, count, sum, hint)| {
            // There is one NaN in pages.
            let sum = if sum.is_nan() { f64::NAN } else { sum };
            histogram.with_count(count).with_sum(sum).with_counter_reset(hint)
        },
    )
}

fn any_value() -> impl Strategy<Value = Option<SampleValue>> {
    prop_oneof![
        1 => Just(None),
        2 => (0..99_u32).prop_map(|value| Some(SampleValue::Float(f64::from(value)))),
        7 => any_histogram().prop_map(|one| Some(SampleValue::Histogram(Arc::new(one)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Numbers and histograms of changing shapes, with gaps, markers and times of their own: all of it reads back as from
    /// plain lists, what is known of resets included.
    #[test]
    fn what_is_appended_reads_back(
        scrapes in prop::collection::vec((1..100_000_i64, any_value(), any::<bool>()), 1..200),
        repeats in 1..4_usize,
        range in (0.0..1.0, 0.0..1.0),
        retention_seconds in prop_oneof![Just(100_000_000_u64), 1_000_u64..5_000],
    ) {
        let retention = Duration::from_secs(retention_seconds);
        let window = Window::new(WindowConfig::default().with_retention(retention));
        let mut target = window.appender([("pod", "p")]);
        let mut store = MemoryStore::new();
        let labels = LabelSet::from_pairs([("__name__", "h")]);
        let start = 1_763_930_000_000;
        let (mut now, mut is_stale, mut is_tracked) = (start, true, false);
        for (interval, value, own_time) in &scrapes {
            // Some come again and again, as most do.
            for _ in 0..repeats {
                now += interval;
                let time = Timestamp::from_millis(now);
                let mut batch = target.scrape(time);
                let Some(value) = value else {
                    batch.commit();
                    if !is_stale && is_tracked {
                        let sample = Sample { timestamp: time, value: f64::from_bits(STALE_MARKER) };
                        store.append(&labels, sample).unwrap();
                    }
                    is_stale = true;
                    continue;
                };
                append_to(&mut batch, "h", value, own_time.then_some(time)).unwrap();
                prop_assert_eq!(batch.commit().appended, 1);
                (is_stale, is_tracked) = (false, !own_time);
                match value {
                    SampleValue::Float(value) => store.append(&labels, Sample { timestamp: time, value: *value }),
                    SampleValue::Histogram(one) => store.append_histogram(&labels, time, Arc::clone(one)),
                }.unwrap();
            }
        }
        window.expire(Timestamp::from_millis(now));
        let cutoff = (now - retention.as_millis() as i64).max(start);
        let share = |part: f64| Timestamp::from_millis(cutoff + ((now - cutoff) as f64 * part) as i64);
        for (from, to) in [(share(range.0), share(range.1)), (share(0.0), share(1.0))] {
            let mut model = Samples::default();
            let selected = store.select(&[], from, to);
            if !selected.is_empty() {
                selected.read(0, from, to, &mut model);
            }
            prop_assert_eq!(held(&read(&window, from, to)), held(&model));
        }
        drop(target);
        window.expire(Timestamp::from_millis(now + retention.as_millis() as i64 + 10_001));
        let stats = window.stats();
        prop_assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
    }
}
