//! Against a model: plain vectors of samples, scanned.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::sample::STALE_MARKER;

/// What a series should hold: (milliseconds, bits of the value).
type Model = BTreeMap<String, Vec<(i64, u64)>>;

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(STALE_MARKER),
        Just(f64::NAN.to_bits()),
        Just(f64::INFINITY.to_bits()),
        Just((-0.0f64).to_bits()),
        (0u64..100).prop_map(|v| (v as f64).to_bits()),
    ]
}

/// An interval in milliseconds, mostly about a second.
fn interval() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 990i64..1010, 1 => 1i64..100_000]
}

const TEXTS: [&str; 5] = ["a", "a{x=\"1\"}", "a{x=\"2\"}", "b{x=\"1\"}", "b{y=\"1\"}"];

fn label_text(text: &str) -> String {
    let mut labels = ExposedLabels::default();
    read_labels(text, &mut labels);
    labels.merge(&[("pod".into(), "p".into())], false).unwrap();
    labels.iter().map(|(n, v)| format!("{n}={v};")).collect()
}

fn held(window: &Window, from: i64, to: i64) -> Model {
    let [from, to] = [from, to].map(Timestamp::from_millis);
    let samples = |series: &Series| {
        let samples = series.samples(from, to);
        samples
            .iter()
            .map(|s| (s.timestamp.as_millis(), s.value.to_bits()))
            .collect()
    };
    let all = window.select(&[], from, to);
    all.iter()
        .map(|s| {
            (
                s.labels().iter().map(|(n, v)| format!("{n}={v};")).collect(),
                samples(s),
            )
        })
        .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scrapes with gaps: all that is within the retention reads back bit for bit, markers where a series is
    /// missing included, and nothing else does but up to a chunk of what is older.
    #[test]
    fn what_is_appended_reads_back(
        scrapes in prop::collection::vec(
            (interval(), prop::collection::btree_map(0..TEXTS.len(), value(), 0..TEXTS.len())), 1..400),
        retention_seconds in prop_oneof![Just(1_000_000u64), 1u64..200],
        range in (0.0f64..1.0, 0.0f64..1.0),
    ) {
        let retention = Duration::from_secs(retention_seconds);
        let window = Window::new(WindowConfig::default().with_retention(retention));
        let mut target = window.appender([("pod", "p")]);
        let mut model = Model::new();
        let start = 1_763_930_000_000;
        let mut now = start;
        for (interval, page) in &scrapes {
            now += interval;
            let mut batch = target.scrape(Timestamp::from_millis(now));
            for (&series, &bits) in page {
                let text = TEXTS[series];
                batch.append(text, f64::from_bits(bits), None, |l| read_labels(text, l)).unwrap();
                model.entry(label_text(text)).or_default().push((now, bits));
            }
            batch.commit();
            for (text, samples) in &mut model {
                let missing = !page.keys().any(|&s| label_text(TEXTS[s]) == *text);
                if missing && samples.last().is_some_and(|s| s.1 != STALE_MARKER) {
                    samples.push((now, STALE_MARKER));
                }
            }
        }
        let cutoff = now - retention.as_millis() as i64;
        let within = |model: &Model, from: i64, to: i64| -> Model {
            let cut = |s: &Vec<(i64, u64)>| s.iter().copied().filter(|s| s.0 >= from && s.0 <= to).collect();
            let cut = model.iter().map(|(l, s)| (l.clone(), cut(s)));
            cut.filter(|(_, s): &(_, Vec<_>)| !s.is_empty()).collect()
        };
        window.expire(Timestamp::from_millis(now));
        // What is older may be there, if it was appended.
        for (labels, samples) in held(&window, i64::MIN, i64::MAX) {
            prop_assert!(model[&labels].ends_with(&samples));
        }
        let share = |part: f64| cutoff.max(start) + ((now - cutoff.max(start)) as f64 * part) as i64;
        let (from, to) = (share(range.0), share(range.1));
        prop_assert_eq!(held(&window, from, to), within(&model, from, to));
        prop_assert_eq!(held(&window, cutoff, now), within(&model, cutoff, now));
        // An instant query finds what a scan finds.
        for name in ["a", "b"] {
            // What is older than the retention may be there or not.
            let lookback_ms = (to - cutoff).clamp(0, 30_000);
            let lookback = Duration::from_millis(lookback_ms as u64);
            let found = window.latest(name, Timestamp::from_millis(to), lookback);
            let found: Model = (found.iter())
                .map(|(s, v)| (s.labels(), (v.timestamp.as_millis(), v.value.to_bits())))
                .map(|(l, v)| (l.iter().map(|(n, v)| format!("{n}={v};")).collect(), vec![v]))
                .collect();
            let newest = |s: &Vec<(i64, u64)>| s.iter().copied().rfind(|s| s.0 <= to);
            let expected: Model = (within(&model, cutoff, now).iter())
                .filter(|(labels, _)| labels.starts_with(&format!("__name__={name};")))
                .filter_map(|(l, s)| Some((l.clone(), vec![newest(s)?])))
                .filter(|(_, s)| s[0].0 > to - lookback_ms && s[0].1 != STALE_MARKER)
                .collect();
            prop_assert_eq!(found, expected);
        }
        drop(target);
        window.expire(Timestamp::from_millis(now + retention.as_millis() as i64 + 10_001));
        let stats = window.stats();
        prop_assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
    }

    /// The index finds what a scan of all series with the matchers finds.
    #[test]
    fn selecting_equals_a_scan(
        series in prop::collection::btree_set(("[ab]{1,2}", "[xy]{0,1}", "[xyz]{0,2}"), 1..40),
        matchers in prop::collection::vec(
            (prop::sample::select(vec!["__name__", "l", "m"]), 0usize..4, "[abxyz]{0,2}|[abxy]\\.\\*|a\\|x"), 0..4),
    ) {
        let window = Window::new(WindowConfig::default());
        let mut target = window.appender([("pod", "p")]);
        let texts: Vec<_> = series.iter().map(|(n, l, m)| format!("{n}{{l=\"{l}\",m=\"{m}\"}}")).collect();
        let page: Vec<_> = texts.iter().map(|t| (t.as_str(), 1.0)).collect();
        scrape(&mut target, at(0.0), &page);
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let matchers: Vec<_> = matchers.iter().map(|(n, op, v)| Matcher::new(n, ops[*op], v).unwrap()).collect();
        let names = |series: &[Arc<Series>]| {
            let mut names: Vec<_> = series.iter().map(|s| s.labels().to_string()).collect();
            names.sort();
            names
        };
        let selected = |matchers: &[Matcher]| -> Vec<_> {
            window.select(matchers, at(0.0), at(0.0)).iter().cloned().collect()
        };
        let mut all = selected(&[]);
        prop_assert_eq!(all.len(), series.len());
        all.retain(|s| matchers.iter().all(|m| m.matches(s.labels())));
        prop_assert_eq!(names(&selected(&matchers)), names(&all));
    }
}
