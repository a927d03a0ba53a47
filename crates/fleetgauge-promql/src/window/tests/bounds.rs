//! Limits on series and memory, and what is given back.

use super::*;

/// A page whose labels are new at every scrape.
fn exploding(scrape_number: usize, series: usize) -> Vec<String> {
    (0..series)
        .map(|i| format!("a{{id=\"{scrape_number}-{i}\"}}"))
        .collect()
}

fn scrape_texts(target: &mut Appender, time: Timestamp, texts: &[String]) -> ScrapeReport {
    let page: Vec<_> = texts.iter().map(|text| (text.as_str(), 1.0)).collect();
    scrape(target, time, &page)
}

#[test]
fn an_exploding_page_is_bounded_and_costs_other_targets_nothing() {
    let window = Window::new(WindowConfig::default().with_max_series(10_000, 500));
    let mut bad = window.appender([("pod", "bad")]);
    let mut good = window.appender([("pod", "good")]);
    let steady: Vec<_> = (0..400).map(|i| format!("b{{id=\"{i}\"}}")).collect();
    for second in 0..100u32 {
        // What the page does not have any more makes room for what it has.
        let report = scrape_texts(&mut bad, at(second.into()), &exploding(second as usize, 100));
        assert_eq!((report.appended, report.refused), (100, 0));
        let report = scrape_texts(&mut good, at(second.into()), &steady);
        assert_eq!((report.appended, report.refused), (400, 0));
    }
    assert_eq!((bad.series(), good.series()), (500, 400));
    let stats = window.stats();
    assert_eq!(
        (stats.series, stats.series_unexposed, stats.series_dropped_early),
        (900, 400, 9_500)
    );
    // A page that holds more than the target may have is cut, whatever goes.
    let report = scrape_texts(&mut bad, at(100.0), &exploding(100, 600));
    assert_eq!((report.appended, report.refused), (500, 100));
    assert_eq!(window.latest("a", at(100.0), minutes(5)).len(), 500);
    // Also those of other targets make room, for a limit of all.
    let window = Window::new(WindowConfig::default().with_max_series(1_000, 500));
    for pod in ["x", "y"] {
        let mut gone = window.appender([("pod", pod)]);
        scrape_texts(&mut gone, at(0.0), &exploding(0, 500));
        gone.mark_stale(at(1.0));
    }
    let mut new = window.appender([("pod", "z")]);
    assert_eq!(scrape_texts(&mut new, at(2.0), &exploding(0, 500)).appended, 500);
    assert_eq!(
        (window.stats().series, window.stats().series_unexposed),
        (1_000, 500)
    );
}

#[test]
fn refusals_name_the_limit() {
    let config = WindowConfig::default().with_max_series(2, 1);
    let window = Window::new(config);
    let mut targets = ["x", "y", "z"].map(|pod| window.appender([("pod", pod)]));
    let mut append = |target: usize, text: &str| {
        let mut batch = targets[target].scrape(at(0.0));
        batch.append(text, 1.0, None, |labels| read_labels(text, labels))
    };
    assert_eq!(append(0, "a"), Ok(()));
    assert_eq!(append(0, "a"), Ok(()));
    assert_eq!(append(0, "b"), Err(AppendError::TargetSeriesLimit { limit: 1 }));
    assert_eq!(append(1, "a"), Ok(()));
    assert_eq!(append(2, "a"), Err(AppendError::SeriesLimit { limit: 2 }));
    assert_eq!(append(1, "{x=\"1\"}"), Err(AppendError::NoMetricName));
    let twice = AppendError::DuplicateLabel { name: "x".into() };
    assert_eq!(append(1, "a{x=\"1\",x=\"2\"}"), Err(twice));

    let window = Window::new(WindowConfig::default().with_max_bytes(100));
    let mut target = window.appender([("pod", "x")]);
    let refused = target
        .scrape(at(0.0))
        .append("a", 1.0, None, |labels| read_labels("a", labels));
    assert_eq!(refused, Err(AppendError::MemoryLimit { limit: 100 }));
    assert_eq!(window.stats().memory_limit_hits, 1);
}

#[test]
fn at_the_memory_limit_known_series_keep_the_newest_samples() {
    let limit = 100_000;
    let window = Window::new(WindowConfig::default().with_max_bytes(limit));
    let mut target = window.appender([("pod", "p")]);
    let texts: Vec<_> = (0..50).map(|i| format!("a{{id=\"{i}\"}}")).collect();
    let mut noise = 1u64;
    for second in 0..800u32 {
        let mut batch = target.scrape(at(second.into()));
        for text in &texts {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            batch
                .append(text, noise as f64 / 7.0, None, |l| read_labels(text, l))
                .unwrap();
        }
        assert_eq!(batch.commit().appended, 50);
        assert_eq!(window.latest("a", at(second.into()), minutes(5)).len(), 50);
    }
    let stats = window.stats();
    assert!(stats.bytes <= limit + 50 * 150, "{}", stats.bytes);
    assert!(stats.chunks_dropped_early > 0);
    // What went last left room for few others.
    let mut others: Vec<_> = (0..5)
        .map(|pod| window.appender([("pod", format!("q{pod}"))]))
        .collect();
    let refused = others
        .iter_mut()
        .map(|other| scrape_texts(other, at(800.0), &texts).refused);
    assert!(refused.sum::<usize>() > 100);
    assert!(window.stats().bytes <= limit + 50 * 150);
}

#[test]
fn what_goes_is_given_back() {
    let window = Window::new(WindowConfig::default());
    for pod in 0..20 {
        let mut target = window.appender([("pod", format!("p{pod}"))]);
        for second in 0..100u32 {
            let texts: Vec<_> = (0..30).map(|i| format!("m{}{{id=\"{i}\"}}", i % 3)).collect();
            scrape_texts(&mut target, at(second.into()), &texts);
        }
        target.mark_stale(at(100.0));
    }
    // 3 metrics, 30 ids, 20 pods, 3 names.
    assert_eq!((window.stats().series, window.stats().strings), (600, 56));
    assert_eq!(window.expire(at(1010.0)), 0);
    let held_by_reader = window.select(&[Matcher::equal("pod", "p7")], at(0.0), at(100.0));
    assert_eq!(window.expire(at(1011.0)), 600);
    assert_eq!(window.stats().series, 0);
    assert_eq!(held_by_reader[0].labels().get("pod"), Some("p7"));
    drop(held_by_reader);
    window.expire(at(1012.0));
    let stats = window.stats();
    assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
}

#[test]
fn a_series_that_was_silent_for_too_long_comes_back() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0), ("b", 1.0)]);
    // Nothing told that it failed.
    assert_eq!(window.expire(at(911.0)), 2);
    assert_eq!(
        scrape(&mut target, at(912.0), &[("a", 2.0), ("b", 2.0)]).appended,
        2
    );
    assert_eq!(dump(&window), [r#"a{pod="p"}: 2@912"#, r#"b{pod="p"}: 2@912"#]);
    assert_eq!(target.series(), 2);
}
