//! What is refused, unread or dropped is told for every read that it may touch, and for no other.

use super::*;

/// The reasons why samples may be missing from a read of the series that fit `matchers`.
fn reasons(window: &Window, matchers: &[Matcher], from: f64, to: f64, newest: bool) -> Vec<String> {
    let mut missing = Missing::default();
    let read = match newest {
        true => Read::newest(matchers, at(from), at(to)),
        false => Read::range(matchers, at(from), at(to)),
    };
    window.missing(read, &mut missing);
    missing.reasons().collect()
}

fn of(metric: &str) -> [Matcher; 1] {
    [Matcher::equal(METRIC_NAME, metric)]
}

fn newest(window: &Window, metric: &str, time: f64) -> Vec<String> {
    reasons(window, &of(metric), time - 300.0, time, true)
}

#[test]
fn a_series_that_a_limit_refuses_is_missing_from_its_metric_alone() {
    let window = Window::new(WindowConfig::default().with_max_series(100, 2));
    let mut target = window.appender([("pod", "p")]);
    let page = [("a", 1.0), ("b", 1.0), ("waiting", 7.0)];
    assert_eq!(scrape(&mut target, at(0.0), &page).refused, 1);
    let expected = "target {pod=\"p\"}: samples of \"waiting\" are missing: the target has 2 series in the \
                    window, its limit";
    assert_eq!(newest(&window, "waiting", 0.0), [expected]);
    assert_eq!(reasons(&window, &[], -1.0, 0.0, false), [expected]);
    assert_eq!(newest(&window, "a", 0.0), [""; 0]);
    // No series of this target has another pod.
    let elsewhere = [Matcher::equal("pod", "q")];
    assert_eq!(reasons(&window, &elsewhere, -1.0, 0.0, false), [""; 0]);
}

#[test]
fn a_loss_touches_the_newest_samples_until_the_next_scrape_and_ranges_as_long_as_they_reach_it() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0)]);
    let mut batch = target.scrape(at(10.0));
    batch.append("b", 1.0, None, |l| read_labels("b", l)).unwrap();
    batch.unread(Some("a"), "line 3: value is not a number");
    assert_eq!(batch.commit().went_stale, 1);
    let expected = "target {pod=\"p\"}: samples of \"a\" are missing: line 3: value is not a number";
    assert_eq!(newest(&window, "a", 10.0), [expected]);
    assert_eq!(newest(&window, "a", 9.0), [""; 0], "before it");
    scrape(&mut target, at(20.0), &[("a", 2.0), ("b", 1.0)]);
    assert_eq!(newest(&window, "a", 20.0), [""; 0]);
    assert_eq!(newest(&window, "a", 15.0), [expected], "the scrape before");
    let range = |from: f64, to: f64| reasons(&window, &of("a"), from, to, false);
    assert_eq!(range(5.0, 20.0), [expected]);
    assert_eq!(range(10.001, 20.0), [""; 0]);
    assert_eq!(range(0.0, 9.999), [""; 0]);
    // It is forgotten when no sample of its time is kept any more.
    window.expire(at(10.0 + 900.0 + 11.0));
    assert_eq!(range(5.0, 20.0), [""; 0]);
}

#[test]
fn a_target_that_is_gone_lacks_nothing() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let mut batch = target.scrape(at(0.0));
    batch.unread(None, "line 1: expected a metric name");
    batch.commit();
    let expected = "target {pod=\"p\"}: samples are missing: line 1: expected a metric name";
    assert_eq!(newest(&window, "anything", 0.0), [expected]);
    target.mark_stale(at(1.0));
    drop(target);
    assert_eq!(newest(&window, "anything", 1.0), [""; 0]);
    assert_eq!(reasons(&window, &[], -1.0, 2.0, false), [expected]);
}

#[test]
fn samples_with_times_of_their_own_that_are_refused_are_missing() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let mut append = |seconds: f64, own: f64, value: f64| {
        let mut batch = target.scrape(at(seconds));
        let own = Some(at(own));
        batch.append("a", value, own, |l| read_labels("a", l)).unwrap();
        batch.commit();
        newest(&window, "a", seconds)
    };
    let check = |found: Vec<String>, expected: &str| {
        assert_eq!(
            found,
            [format!(
                "target {{pod=\"p\"}}: samples of \"a\" are missing: {expected}"
            )]
        );
    };
    assert_eq!(append(0.0, -1.0, 1.0), [""; 0]);
    assert_eq!(append(1.0, -1.0, 1.0), [""; 0], "the same once more");
    check(
        append(2.0, -1.0, 2.0),
        "the series has another value for the same time",
    );
    check(append(3.0, -2.0, 2.0), "the series has a newer sample");
    check(
        append(4.0, 605.0, 2.0),
        "dated before the retention, or more than ten minutes ahead",
    );
    assert_eq!(append(5.0, 5.0, 2.0), [""; 0]);
}

#[test]
fn a_histogram_that_lost_a_bucket_has_none() {
    let buckets = [
        "h_bucket{le=\"1\"}",
        "h_bucket{le=\"+Inf\"}",
        "h_count",
        "other_bucket{le=\"1\"}",
    ];
    let page: Vec<_> = buckets.iter().map(|text| (*text, 1.0)).collect();
    // Refused by a limit: the bucket comes last.
    let window = Window::new(WindowConfig::default().with_max_series(100, 4));
    let mut target = window.appender([("pod", "p")]);
    let mut more = page.clone();
    more.push(("h_bucket{le=\"10\"}", 1.0));
    let report = scrape(&mut target, at(0.0), &more);
    assert_eq!((report.left_out, report.refused, report.appended), (2, 1, 2));
    assert_eq!(window.latest("h_bucket", at(0.0), minutes(5)).len(), 0);
    assert_eq!(window.latest("other_bucket", at(0.0), minutes(5)).len(), 1);
    assert_eq!(newest(&window, "h_bucket", 0.0).len(), 2);
    assert_eq!(newest(&window, "other_bucket", 0.0), [""; 0]);

    // Unread, after it was whole: the others go stale.
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &page);
    for (time, metric, left) in [(10.0, Some("h_bucket"), [0, 1]), (20.0, None, [0, 0])] {
        let mut batch = target.scrape(at(time));
        for &(text, value) in &page[1..] {
            batch.append(text, value, None, |l| read_labels(text, l)).unwrap();
        }
        batch.unread(metric, "line 1: expected a value");
        batch.commit();
        let found = ["h_bucket", "other_bucket"].map(|name| window.latest(name, at(time), minutes(5)).len());
        assert_eq!(found, left, "{metric:?}");
    }
}

#[test]
fn series_that_make_room_are_missing_from_what_reaches_back_to_them() {
    let window = Window::new(WindowConfig::default().with_max_series(100, 12));
    let mut target = window.appender([("pod", "p")]);
    let page = |version: usize| -> Vec<(String, f64)> {
        (0..10)
            .map(|i| (format!("a{{i=\"{i}\",version=\"{version}\"}}"), 1.0))
            .collect()
    };
    for version in 0..3 {
        let page = page(version);
        let page: Vec<_> = page.iter().map(|(text, value)| (text.as_str(), *value)).collect();
        let time = at(version as f64 * 10.0);
        let report = scrape(&mut target, time, &page);
        assert_eq!((report.appended, report.refused), (10, 0), "version {version}");
        assert_eq!(window.latest("a", time, minutes(5)).len(), 10);
        assert_eq!(newest(&window, "a", version as f64 * 10.0), [""; 0]);
        assert!(target.series() <= 12);
    }
    let expected = "target {pod=\"p\"}: earlier samples of \"a\" are missing: its series were exposed no longer, \
                    and made room for others at a limit";
    assert_eq!(reasons(&window, &of("a"), 5.0, 20.0, false), [expected]);
    assert_eq!(reasons(&window, &of("a"), 20.5, 30.0, false), [""; 0]);
    // The newest samples of now lack nothing; those of a time at which the series were there do.
    assert_eq!(reasons(&window, &of("a"), 0.0, 25.0, true), [""; 0]);
    assert_eq!(reasons(&window, &of("a"), 0.0, 8.0, true), [expected]);
}

#[test]
fn a_page_that_is_dropped_loses_nothing() {
    let window = Window::new(WindowConfig::default().with_max_series(100, 1));
    let mut target = window.appender([("pod", "p")]);
    let mut batch = target.scrape(at(0.0));
    for text in ["a", "b"] {
        let _ = batch.append(text, 1.0, None, |l| read_labels(text, l));
    }
    batch.unread(Some("c"), "bad");
    drop(batch);
    assert_eq!(reasons(&window, &[], -1.0, 1.0, false), [""; 0]);
}

#[test]
fn what_memory_or_retention_cut_short_is_told_by_what_reaches_back_to_it() {
    let window = Window::new(WindowConfig::default().with_max_bytes(12_000));
    let mut target = window.appender([("pod", "p")]);
    let mut noise = 1u64;
    for second in 0..800u32 {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        scrape(
            &mut target,
            at(second.into()),
            &[("a", noise as f64 / 7.0), ("b", noise as f64 / 3.0)],
        );
    }
    let short = reasons(&window, &of("a"), 0.0, 799.0, false);
    assert!(window.stats().chunks_dropped_early > 0);
    assert_eq!(
        short,
        ["older samples were dropped to stay within 12000 bytes (max_bytes)"]
    );
    assert_eq!(reasons(&window, &of("a"), 790.0, 799.0, false), [""; 0]);
    assert_eq!(newest(&window, "a", 799.0), [""; 0]);

    let window = Window::new(WindowConfig::default().with_retention(minutes(1)));
    let mut target = window.appender([("pod", "p")]);
    for second in 0..600u32 {
        scrape(&mut target, at(second.into()), &[("a", 1.0)]);
    }
    let range = |from: f64| reasons(&window, &of("a"), from, 599.0, false);
    assert_eq!(range(539.0), [""; 0], "just the retention");
    let expected = "the query reads further back than samples are kept, 60s (retention)";
    assert_eq!(range(100.0), [expected]);
}

#[test]
fn many_losses_are_bounded_and_still_told() {
    let window = Window::new(WindowConfig::default().with_max_series(100, 1));
    let mut target = window.appender([("pod", "p")]);
    let texts: Vec<_> = (0..1_000).map(|i| format!("m{i}")).collect();
    let page: Vec<_> = texts.iter().map(|text| (text.as_str(), 1.0)).collect();
    assert_eq!(scrape(&mut target, at(0.0), &page).refused, 999);
    for metric in ["m1", "m999", "m0"] {
        // One that is there is told as well: which ones are lost is not known any more.
        assert!(!newest(&window, metric, 0.0).is_empty(), "{metric}");
    }
    assert!(reasons(&window, &[], -1.0, 0.0, false).len() <= 12);
}

#[test]
fn a_series_whose_labels_change_their_order_at_a_full_limit_stays() {
    let window = Window::new(WindowConfig::default().with_max_series(100, 2));
    let mut target = window.appender([("pod", "p")]);
    let orders = ["a{x=\"1\",y=\"2\"}", "a{y=\"2\",x=\"1\"}"];
    for second in 0..4 {
        let time = at(f64::from(second));
        let page = [(orders[second as usize % 2], 1.0), ("b", 1.0), ("c", 1.0)];
        // One is refused, so that room is looked for.
        assert_eq!(scrape(&mut target, time, &page).refused, 1);
        assert_eq!(window.latest("a", time, minutes(5)).len(), 1, "{second}");
        assert_eq!(newest(&window, "a", f64::from(second)), [""; 0]);
    }
}

#[test]
fn what_a_target_exposes_no_longer_is_known_until_it_exposes_it_again_or_begins_anew() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let withdrawn = |target: &Appender| -> Vec<_> {
        let withdrawn = target.withdrawn().iter();
        withdrawn
            .map(|(metric, since)| (metric.unwrap().to_owned(), since))
            .collect()
    };
    scrape(&mut target, at(0.0), &[("a", 1.0), ("b", 1.0)]);
    assert!(target.withdrawn().is_empty());
    // It failed for so long that its series were let go, and comes back without one of them.
    target.mark_stale(at(10.0));
    scrape(&mut target, at(20.0), &[("a", 1.0)]);
    assert_eq!(withdrawn(&target), [("b".to_owned(), at(20.0))]);
    scrape(&mut target, at(30.0), &[("c", 1.0)]);
    let both = [("a".to_owned(), at(30.0)), ("b".to_owned(), at(20.0))];
    assert_eq!(withdrawn(&target), both);
    scrape(&mut target, at(40.0), &[("a", 1.0), ("c", 1.0)]);
    assert_eq!(withdrawn(&target), both[1..]);
    target.began_anew(at(45.0));
    assert_eq!(target.withdrawn().iter().count(), 0);
    let back = |target: &Appender| -> Vec<_> {
        let back = target.withdrawn().back();
        back.map(|lacked| {
            (
                lacked.metric.as_deref().unwrap().to_owned(),
                lacked.from,
                lacked.to.unwrap(),
            )
        })
        .collect()
    };
    let both = [
        ("a".to_owned(), at(30.0), at(40.0)),
        ("b".to_owned(), at(20.0), at(45.0)),
    ];
    assert_eq!(back(&target), both);
    // It is let go, and back without one of them.
    let past = target.past();
    let mut target = window.appender([("pod", "p")]);
    target.is_back(past);
    assert_eq!(back(&target), both);
    scrape(&mut target, at(47.0), &[("c", 1.0), ("d", 1.0)]);
    assert_eq!(withdrawn(&target), [("a".to_owned(), at(47.0))]);
    // More than are known by name are known to be some.
    let many: Vec<String> = (0..1_100).map(|i| format!("m{i}")).collect();
    let page: Vec<_> = many.iter().map(|name| (&**name, 1.0)).collect();
    scrape(&mut target, at(50.0), &page);
    scrape(&mut target, at(60.0), &[("a", 1.0)]);
    assert_eq!(
        target
            .withdrawn()
            .iter()
            .filter(|(metric, _)| metric.is_none())
            .count(),
        1
    );
}
