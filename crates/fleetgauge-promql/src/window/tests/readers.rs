//! Readers beside writers: what they see was written, in order, and nothing stops them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::*;
use crate::engine::Engine;

/// Says that a writer ended, also if it failed: else its readers would not end.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The value that belongs to a time, so that a torn sample shows.
fn value_at(millis: i64) -> f64 {
    let bits = (millis as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if millis % 3 == 0 {
        (millis % 1_000) as f64
    } else {
        f64::from_bits(bits >> 2)
    }
}

#[test]
fn readers_see_a_prefix_of_what_is_written() {
    let window = Window::new(WindowConfig::default().with_retention(minutes(10)));
    let done = AtomicBool::new(false);
    let text = "a{x=\"1\"}";
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = Ended(&done);
            let mut target = window.appender([("pod", "p")]);
            for millis in 1..60_000i64 {
                let time = Timestamp::from_millis(millis * 100);
                let mut batch = target.scrape(time);
                let value = value_at(time.as_millis());
                batch.append(text, value, None, |l| read_labels(text, l)).unwrap();
                batch.commit();
                if millis % 1_000 == 0 {
                    window.expire(time);
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let latest = window.latest("a", end, Duration::MAX);
                    let Some((series, newest)) = latest.iter().next() else {
                        continue;
                    };
                    let newest_millis = newest.timestamp.as_millis();
                    assert_eq!(newest.value.to_bits(), value_at(newest_millis).to_bits());
                    assert!(newest_millis >= last, "the newest sample went back");
                    last = newest_millis;
                    let mut before = None;
                    for sample in series.samples(start, end) {
                        let millis = sample.timestamp.as_millis();
                        assert_eq!(sample.value.to_bits(), value_at(millis).to_bits());
                        assert!(
                            before.is_none_or(|before| millis == before + 100),
                            "a gap at {millis}"
                        );
                        before = Some(millis);
                    }
                    assert!(
                        before >= Some(newest_millis),
                        "the newest sample was not among all"
                    );
                }
            });
        }
    });
}

/// A target whose series are all others at each scrape: no reader sees a part of a page, or two pages, without
/// being told.
#[test]
fn a_page_is_seen_as_a_whole_or_the_answer_says_so() {
    const SERIES: usize = 50;
    let window = Window::new(WindowConfig::default());
    let done = AtomicBool::new(false);
    let clock = AtomicI64::new(1);
    let begun = Instant::now();
    let mut target = window.appender([("pod", "p")]);
    let mut write = |generation: i64| {
        let texts: Vec<_> = (0..SERIES)
            .map(|i| format!("a{{i=\"{i}\",generation=\"{generation}\"}}"))
            .collect();
        let page: Vec<_> = texts.iter().map(|text| (text.as_str(), 1.0)).collect();
        scrape(&mut target, Timestamp::from_millis(generation), &page);
        clock.store(generation, Ordering::Release);
    };
    write(1);
    let (seen, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let engine = Engine::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = Ended(&done);
            for generation in 2..500 {
                write(generation);
                // Readers may have to wait for a processor: they are to have seen some of the pages.
                let before = seen.load(Ordering::Relaxed);
                while generation % 10 == 0 && seen.load(Ordering::Relaxed) == before {
                    assert!(
                        begun.elapsed() < Duration::from_secs(60),
                        "{seen:?} whole, {told:?} in part"
                    );
                    thread::yield_now();
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    // A page may be dated before it is written.
                    let now = Timestamp::from_millis(clock.load(Ordering::Acquire) + 1);
                    let latest = window.latest("a", now, minutes(5));
                    // Of a reader that was stopped for long, the series may have made room for others.
                    let (matchers, mut missing) = ([Matcher::equal("__name__", "a")], Missing::default());
                    window.missing(
                        Read::newest(&matchers, Timestamp::from_millis(0), now),
                        &mut missing,
                    );
                    let is_told = latest.has_changed() || !missing.is_empty();
                    assert!(latest.len() == SERIES || is_told, "{}", latest.len());
                    let answer = engine.instant(&window, "sum(a)", now).unwrap();
                    let answer = answer.answer;
                    if answer.is_complete() {
                        seen.fetch_add(1, Ordering::Relaxed);
                        let values: Vec<_> = answer.values().map(|one| one.value).collect();
                        assert_eq!(values, [SERIES as f64]);
                    } else {
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

/// Writers are stopped where they hold their locks: that of the index, as while a series is added, and that of the
/// series, as while a sample is appended.
#[test]
fn readers_do_not_wait_for_a_writer_that_is_stopped() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0)]);
    let series = window.select(&[], at(0.0), at(1.0))[0].clone();
    let _adding = window.0.index.hold_for_test();
    let _appending = series.hold_for_test();
    let (read, done) = std::sync::mpsc::channel();
    let reader = window.clone();
    // Not in a scope, which would wait for a reader that waits.
    thread::spawn(move || {
        let latest = reader.latest("a", at(1.0), minutes(5));
        let newest = latest.iter().next().expect("just scraped").1;
        let selected = reader.select(&[], at(0.0), at(1.0));
        let samples = selected[0].samples(at(0.0), at(1.0)).len();
        let mut missing = Missing::default();
        reader.missing(Read::range(&[], at(0.0), at(1.0)), &mut missing);
        read.send((newest.value, selected.len(), samples, missing.is_empty()))
            .unwrap();
    });
    let read = done.recv_timeout(Duration::from_secs(60));
    assert_eq!(
        read.ok(),
        Some((1.0, 1, 1, true)),
        "the reader waits for a writer"
    );
}

/// Also guards against two calls of `expire` that take one metric away together: it was given back twice, and
/// its successor with it.
#[test]
fn series_come_and_go_beside_readers() {
    let window = Window::new(WindowConfig::default());
    let done = AtomicBool::new(false);
    let clock = AtomicI64::new(0);
    let write = |writer: usize| {
        for round in 0..150 {
            let mut target = window.appender([("pod", format!("{writer}-{round}"))]);
            let texts: Vec<_> = (0..20).map(|i| format!("m{}{{i=\"{i}\"}}", i % 4)).collect();
            let page: Vec<_> = texts.iter().map(|t| (t.as_str(), 1.0)).collect();
            let time = at(clock.fetch_add(300, Ordering::Relaxed) as f64);
            let report = scrape(&mut target, time, &page);
            // Where this thread was stopped for long, the other one's time made its page too old.
            assert_eq!(report.appended + report.refused, 20, "{report:?}");
            window.expire(time);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = Ended(&done);
            thread::scope(|scope| {
                scope.spawn(|| write(0));
                scope.spawn(|| write(1));
            });
        });
        while !done.load(Ordering::Acquire) {
            let found = window.select(&[Matcher::equal("__name__", "m1")], at(0.0), at(1e6));
            assert!(found.iter().all(|s| s.labels().metric_name() == "m1"));
            window.latest("m2", at(1e6), Duration::MAX);
        }
    });
    window.expire(at(1e6));
    let stats = window.stats();
    assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
}

/// What a query holds tells it where in its target's rows a series is, until that place is another one's.
#[test]
fn a_place_that_another_series_has_is_not_read_for_the_first_one() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0), ("z", 1.0)]);
    let newest = |selected: &Selected, seconds: f64| {
        let mut newest = Vec::new();
        Selection::newest(selected, 0..selected.len(), at(seconds), minutes(60), &mut newest);
        let newest = newest
            .into_iter()
            .map(|sample: Option<Sample>| sample.map(|s| s.value));
        newest.collect::<Vec<_>>()
    };
    let held = window.select(&[Matcher::equal("__name__", "a")], at(0.0), at(0.0));
    assert_eq!(newest(&held, 0.0), [Some(1.0)]);
    // It ends, and goes; the rows stay, since they have another series.
    scrape(&mut target, at(1.0), &[("z", 1.0)]);
    assert_eq!(newest(&held, 1.0), [None]);
    scrape(&mut target, at(911.0), &[("z", 1.0)]);
    assert_eq!(window.expire(at(912.0)), 1);
    assert_eq!(
        scrape(&mut target, at(913.0), &[("b", 2.0), ("z", 3.0)]).appended,
        2
    );
    let others = window.select(&[], at(913.0), at(913.0));
    assert_eq!(newest(&others, 913.0), [Some(2.0), Some(3.0)]);
    assert_eq!(newest(&held, 913.0), [None]);
    assert_eq!(held[0].at(at(913.0), minutes(60)), None);
}
