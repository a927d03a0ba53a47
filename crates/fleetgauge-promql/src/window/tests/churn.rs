//! Against a model of single series: targets that come, go and come back, that share series, whose lines change, and that date
//! samples themselves. Where samples are kept makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::sample::STALE_MARKER;
use crate::window::limit::WindowConfig;

const TARGETS: [&str; 4] = ["p", "p", "q", "r"];
const LINES: usize = 30;

/// What one of the targets does, so many milliseconds after what was done before.
#[derive(Clone, Debug)]
struct Step {
    target: usize,
    after: i64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A page: lines with their values, and how much earlier than the page they are dated, if they are.
    Page(Vec<(usize, u64, Option<i64>)>),
    Fails,
    /// It is let go, and found again later.
    Goes,
    /// The window is looked through.
    Expires,
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0u64..50).prop_map(|value| (value as f64).to_bits()),
        1 => any::<u64>(),
        1 => (0.0f64..1.0).prop_map(f64::to_bits),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let own_time = prop_oneof![30 => Just(None), 1 => (0i64..5_000).prop_map(Some)];
    // Mostly the same lines, some others at random, and now and then one twice.
    let lines = prop_oneof![12 => 0usize..8, 1 => 8..LINES];
    let page = prop::collection::vec((lines, value(), own_time), 0..14);
    let what = prop_oneof![
        20 => page.prop_map(What::Page),
        1 => Just(What::Fails),
        1 => Just(What::Goes),
        1 => Just(What::Expires),
    ];
    let after = prop_oneof![8 => Just(1_000i64), 3 => 0i64..3, 2 => -2_000i64..20_000];
    (0..TARGETS.len(), after, what).prop_map(|(target, after, what)| Step { target, after, what })
}

/// What is known of the series of one appender.
#[derive(Default)]
struct OnPage {
    /// The lines that its last page had and that are not marked, and whether they had no time of their own.
    present: BTreeMap<usize, bool>,
}

type Model = BTreeMap<(&'static str, usize), Vec<(i64, u64)>>;

fn append(model: &mut Model, key: (&'static str, usize), sample: (i64, u64)) {
    let samples = model.entry(key).or_default();
    // A clock that was set back is another test.
    if samples.last().is_none_or(|last| last.0 < sample.0) {
        samples.push(sample);
    }
}

fn mark(model: &mut Model, key: (&'static str, usize), at: i64) {
    let last = model.get(&key).and_then(|samples| samples.last().copied());
    if last.is_some_and(|last| last.1 != STALE_MARKER && last.0 != at) {
        append(model, key, (at, STALE_MARKER));
    }
}

/// As they come back: one pattern is an ordinary NaN then.
fn kept(bits: u64) -> u64 {
    match bits == crate::window::column::ABSENT {
        true => f64::NAN.to_bits(),
        false => bits,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_each_series_has_is_what_it_was_given(steps in prop::collection::vec(step(), 1..300)) {
        // So far that no sample of the past is out of it, nor means a step of the clock.
        let config = WindowConfig::default().with_retention(minutes(1_000_000)).with_max_clock_step(minutes(1_000_000));
        let window = Window::new(config);
        let mut appenders: Vec<_> = TARGETS.iter().map(|pod| Some(window.appender([("pod", *pod)]))).collect();
        let mut pages: Vec<OnPage> = TARGETS.iter().map(|_| OnPage::default()).collect();
        let mut model = Model::new();
        let mut now = 1_763_930_000_000i64;
        for Step { target, after, what } in &steps {
            now += after;
            let (pod, time) = (TARGETS[*target], Timestamp::from_millis(now));
            let page = &mut pages[*target];
            let appender = appenders[*target].get_or_insert_with(|| window.appender([("pod", pod)]));
            match what {
                What::Page(lines) => {
                    let mut batch = appender.scrape(time);
                    let mut seen = BTreeSet::new();
                    let mut tracked = BTreeMap::new();
                    for &(line, bits, earlier) in lines {
                        let text = format!("m{}{{line=\"{line}\"}}", line % 3);
                        let own = earlier.map(|earlier| now - earlier);
                        let labels = |labels: &mut ExposedLabels| read_labels(&text, labels);
                        let value = f64::from_bits(bits);
                        batch.append(&text, value, own.map(Timestamp::from_millis), labels).unwrap();
                        append(&mut model, (pod, line), (own.unwrap_or(now), kept(bits)));
                        seen.insert(line);
                        tracked.insert(line, own.is_none());
                    }
                    batch.commit();
                    for (&line, &is_tracked) in page.present.iter().filter(|(line, _)| !seen.contains(line)) {
                        if is_tracked {
                            mark(&mut model, (pod, line), now);
                        }
                    }
                    page.present = tracked;
                }
                What::Fails => {
                    appender.mark_stale(time);
                    for (line, is_tracked) in std::mem::take(&mut page.present) {
                        if is_tracked {
                            mark(&mut model, (pod, line), now);
                        }
                    }
                }
                What::Goes => {
                    appenders[*target] = None;
                    page.present.clear();
                }
                What::Expires => {
                    window.expire(Timestamp::from_millis(now + 60_000));
                }
            }
        }
        let (from, to) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        for series in window.select(&[], from, to).iter() {
            let label = |name| series.labels().get(name).unwrap();
            let line: usize = label("line").parse().unwrap();
            let pod = TARGETS.into_iter().find(|pod| *pod == label("pod")).unwrap();
            let expected = model.remove(&(pod, line)).unwrap_or_default();
            let found: Vec<_> = series.samples(from, to).into_iter().map(Sample::pair).collect();
            prop_assert_eq!(series.newest().map(Sample::pair), expected.last().copied());
            let (count, _) = series.counted();
            prop_assert_eq!(count, expected.len() as u64);
            prop_assert_eq!(found, expected, "{}", series.labels());
        }
        model.retain(|_, samples| !samples.is_empty());
        prop_assert!(model.is_empty(), "not found: {:?}", model.keys());
    }
}
