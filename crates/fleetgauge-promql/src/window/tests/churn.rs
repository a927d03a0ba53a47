//! Against a model of single series: targets that come, go and come back, that share series, whose lines change, and that date
//! samples themselves. Where samples are kept makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::sample::STALE_MARKER;
use crate::window::limit::WindowConfig;

/// Two targets expose the same series.
const SHARED: [&str; 4] = ["p", "p", "q", "r"];
/// Where series go before their time, each target is by itself: one that was refused a series does not end it.
const APART: [&str; 4] = ["p", "o", "q", "r"];
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
    (0..SHARED.len(), after, what).prop_map(|(target, after, what)| Step { target, after, what })
}

/// What is known of the series of one appender.
#[derive(Default)]
struct OnPage {
    /// The lines that its last page had and that are not marked, and whether they had no time of their own.
    present: BTreeMap<usize, bool>,
}

type Key = (&'static str, usize);
type Model = BTreeMap<Key, Vec<(i64, u64)>>;

/// What was done to a window, and what is known of that.
struct Played {
    /// What each series was given, staleness markers included.
    model: Model,
    /// Markers of series that were silent for longer than the retention: they may have been gone by then.
    doubtful: BTreeSet<(Key, i64)>,
    now: i64,
}

fn append(model: &mut Model, key: Key, sample: (i64, u64)) {
    let samples = model.entry(key).or_default();
    // A clock that was set back is another test.
    if samples.last().is_none_or(|last| last.0 < sample.0) {
        samples.push(sample);
    }
}

/// As they come back: one pattern is an ordinary NaN then.
fn kept(bits: u64) -> u64 {
    match bits == crate::window::column::ABSENT {
        true => f64::NAN.to_bits(),
        false => bits,
    }
}

/// Does to a window what the steps say, to these targets.
fn play(window: &Window, targets: [&'static str; 4], steps: &[Step]) -> Played {
    let mut appenders = targets.map(|pod| Some(window.appender([("pod", pod)])));
    let mut pages = targets.map(|_| OnPage::default());
    let mut played = Played {
        model: Model::new(),
        doubtful: BTreeSet::new(),
        now: 1_763_930_000_000,
    };
    for Step { target, after, what } in steps {
        played.now += after;
        let (pod, now) = (targets[*target], played.now);
        let time = Timestamp::from_millis(now);
        let page = &mut pages[*target];
        let appender = appenders[*target].get_or_insert_with(|| window.appender([("pod", pod)]));
        match what {
            What::Page(lines) => {
                let mut batch = appender.scrape(time);
                loop {
                    for &(line, bits, earlier) in lines {
                        let text = format!("m{}{{line=\"{line}\"}}", line % 3);
                        let own = earlier.map(|earlier| Timestamp::from_millis(now - earlier));
                        let labels = |labels: &mut ExposedLabels| read_labels(&text, labels);
                        let appended = batch.append(&text, f64::from_bits(bits), own, labels);
                        assert!(appended.is_ok() || appended.is_err_and(|error| error.is_limit()));
                    }
                    if !batch.make_room() {
                        break;
                    }
                }
                batch.commit();
                let mut tracked = BTreeMap::new();
                for &(line, bits, earlier) in lines {
                    let time = earlier.map_or(now, |earlier| now - earlier);
                    append(&mut played.model, (pod, line), (time, kept(bits)));
                    tracked.insert(line, earlier.is_none());
                }
                for (line, is_tracked) in std::mem::replace(&mut page.present, tracked.clone()) {
                    if is_tracked && !tracked.contains_key(&line) {
                        played.mark(window, (pod, line));
                    }
                }
            }
            What::Fails => {
                appender.mark_stale(time);
                for (line, is_tracked) in std::mem::take(&mut page.present) {
                    if is_tracked {
                        played.mark(window, (pod, line));
                    }
                }
            }
            What::Goes => {
                appenders[*target] = None;
                page.present.clear();
            }
            What::Expires => {
                window.expire(time);
            }
        }
    }
    played
}

impl Played {
    fn mark(&mut self, window: &Window, key: Key) {
        let last = self.model.get(&key).and_then(|samples| samples.last().copied());
        if let Some(last) = last.filter(|last| last.1 != STALE_MARKER && last.0 != self.now) {
            append(&mut self.model, key, (self.now, STALE_MARKER));
            if self.now - last.0 > window.config().retention.as_millis() as i64 {
                self.doubtful.insert((key, self.now));
            }
        }
    }
}

/// What the window has, by series.
fn found(window: &Window) -> BTreeMap<Key, Arc<Series>> {
    let (from, to) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    let selected = window.select(&[], from, to);
    let series = selected.iter().map(|series| {
        let label = |name| series.labels().get(name).unwrap();
        let pod = SHARED
            .into_iter()
            .chain(APART)
            .find(|pod| *pod == label("pod"))
            .unwrap();
        ((pod, label("line").parse().unwrap()), Arc::clone(series))
    });
    series.collect()
}

fn samples(series: Option<&Arc<Series>>, from: i64) -> Vec<(i64, u64)> {
    let (from, to) = (Timestamp::from_millis(from), Timestamp::from_millis(i64::MAX));
    let samples = series.map(|series| series.samples(from, to));
    samples
        .unwrap_or_default()
        .into_iter()
        .map(Sample::pair)
        .collect()
}

/// One after the other in time, each with the time of its page, and so many for a target that it has several blocks.
fn forward(mut steps: Vec<Step>) -> Vec<Step> {
    for step in &mut steps {
        step.target %= 2;
        step.after = step.after.clamp(1, 3_000);
        if let What::Page(lines) = &mut step.what {
            let mut met = BTreeSet::new();
            lines.retain_mut(|(line, _, earlier)| {
                *earlier = None;
                met.insert(*line)
            });
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_each_series_has_is_what_it_was_given(steps in prop::collection::vec(step(), 1..300)) {
        // So far that no sample of the past is out of it, nor means a step of the clock.
        let config = WindowConfig::default().with_retention(minutes(1_000_000)).with_max_clock_step(minutes(1_000_000));
        let window = Window::new(config);
        let mut model = play(&window, SHARED, &steps).model;
        for (key, series) in found(&window) {
            let expected = model.remove(&key).unwrap_or_default();
            prop_assert_eq!(series.newest().map(Sample::pair), expected.last().copied());
            let (count, _) = series.counted();
            prop_assert_eq!(count, expected.len() as u64);
            prop_assert_eq!(samples(Some(&series), i64::MIN), expected, "{}", series.labels());
        }
        model.retain(|_, samples| !samples.is_empty());
        prop_assert!(model.is_empty(), "not found: {:?}", model.keys());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_in_the_retention_is_there(steps in prop::collection::vec(step(), 1..800), seconds in 5u64..120) {
        let retention = Duration::from_secs(seconds);
        let window = Window::new(WindowConfig::default().with_retention(retention));
        let Played { model, doubtful, now } = play(&window, APART, &forward(steps));
        // As of now: what goes too early goes whole blocks at a time, and only when it is looked at.
        window.expire(Timestamp::from_millis(now));
        let (found, from) = (found(&window), now - retention.as_millis() as i64);
        for (key, mut expected) in model {
            let found = samples(found.get(&key), from);
            expected.retain(|sample| sample.0 >= from && (found.contains(sample) || !doubtful.contains(&(key, sample.0))));
            prop_assert_eq!(found, expected, "{:?}", key);
        }
        drop(found);
        window.expire(Timestamp::from_millis(now + retention.as_millis() as i64 + 10_001));
        let stats = window.stats();
        prop_assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
    }

    #[test]
    fn what_a_limit_of_memory_costs_is_told(steps in prop::collection::vec(step(), 1..800), limit in 8_000usize..80_000) {
        let window = Window::new(WindowConfig::default().with_max_bytes(limit));
        let Played { model, doubtful, now } = play(&window, APART, &forward(steps));
        let found = found(&window);
        for (key, given) in model {
            let found = samples(found.get(&key), i64::MIN);
            prop_assert!(found.iter().all(|sample| given.contains(sample)), "{:?}: {:?}, {:?}", key, found, given);
            let matchers = [Matcher::equal(METRIC_NAME, &format!("m{}", key.1 % 3))];
            for sample in given.iter().filter(|sample| !found.contains(sample)) {
                // What is not there needs no end.
                let is_due = sample.1 != STALE_MARKER || found.iter().any(|before| before.0 < sample.0);
                if is_due && !doubtful.contains(&(key, sample.0)) && sample.0 >= now - 900_000 {
                    let mut missing = Missing::default();
                    let (from, to) = (Timestamp::from_millis(sample.0), Timestamp::from_millis(now));
                    window.missing(Read::range(&matchers, from, to), &mut missing);
                    prop_assert!(!missing.is_empty(), "{:?} lacks {:?} of {:?}, and nothing says so", key, sample, given);
                }
            }
        }
        drop(found);
        window.expire(Timestamp::from_millis(now + 910_001));
        let stats = window.stats();
        prop_assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
    }
}
