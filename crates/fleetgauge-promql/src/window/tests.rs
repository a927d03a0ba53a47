//! What the window promises, through its public face.

mod bounds;
mod churn;
mod clock;
mod histograms;
mod lines;
mod loss;
mod model;
mod readers;

use std::time::Duration;

use fleetgauge_core::time::Timestamp;

use super::*;

/// A time in seconds after some start.
fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(1_763_930_000.0 + seconds)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// Reads `name{a="b",c="d"}` into labels, as the exposition parser would.
fn read_labels(text: &str, labels: &mut ExposedLabels) {
    let (name, rest) = text.split_once('{').unwrap_or((text, ""));
    labels.label("__name__", name);
    for pair in rest.trim_end_matches('}').split(',').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        labels.label(name, value.trim_matches('"'));
    }
}

fn scrape(target: &mut Appender, time: Timestamp, page: &[(&str, f64)]) -> ScrapeReport {
    let mut batch = target.scrape(time);
    loop {
        for &(text, value) in page {
            // Refusals are in the report.
            let _ = batch.append(text, value, None, |labels| read_labels(text, labels));
        }
        if !batch.make_room() {
            return batch.commit();
        }
    }
}

/// All samples of all series, as text that one can read.
fn dump(window: &Window) -> Vec<String> {
    let (from, to) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    let mut lines: Vec<String> = (window.select(&[], from, to).iter())
        .map(|series| {
            let mut line = format!("{}:", series.labels());
            for sample in series.samples(from, to) {
                let millis = sample.timestamp.as_millis() - at(0.0).as_millis();
                let seconds = millis as f64 / 1000.0;
                match sample.is_stale() {
                    true => line += &format!(" stale@{seconds}"),
                    false => line += &format!(" {}@{seconds}", sample.value),
                }
            }
            line
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_series_that_is_missing_from_the_next_scrape_goes_stale() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0), ("b{x=\"y\"}", 2.0)]);
    let report = scrape(&mut target, at(1.0), &[("a", 1.5)]);
    assert_eq!((report.appended, report.went_stale), (1, 1));
    assert_eq!(scrape(&mut target, at(2.0), &[("a", 2.0)]).went_stale, 0);
    assert!(window.latest("b", at(1.0), minutes(5)).is_empty());
    assert_eq!(window.latest("b", at(0.999), minutes(5)).len(), 1);
    let report = scrape(&mut target, at(3.0), &[("b{x=\"y\"}", 3.0), ("a", 3.0)]);
    assert_eq!((report.appended, report.series_added), (2, 1));
    assert_eq!(
        dump(&window),
        [
            r#"a{pod="p"}: 1@0 1.5@1 2@2 3@3"#,
            r#"b{pod="p", x="y"}: 2@0 stale@1 3@3"#
        ]
    );
}

#[test]
fn a_failed_target_is_marked_once_and_comes_back() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let mut own = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0)]);
    scrape(&mut own, at(0.0), &[("up", 1.0)]);
    assert_eq!(target.mark_stale(at(1.0)), 1);
    assert_eq!(target.mark_stale(at(2.0)), 0);
    scrape(&mut own, at(1.0), &[("up", 0.0)]);
    let report = scrape(&mut target, at(3.0), &[("a", 2.0)]);
    assert_eq!((report.appended, report.series_added), (1, 1));
    assert_eq!(
        dump(&window),
        [r#"a{pod="p"}: 1@0 stale@1 2@3"#, r#"up{pod="p"}: 1@0 0@1"#]
    );
}

#[test]
fn a_batch_that_is_dropped_leaves_no_sample() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0)]);
    {
        let mut batch = target.scrape(at(1.0));
        batch.append("a", 2.0, None, |l| read_labels("a", l)).unwrap();
        batch.append("b", 2.0, None, |l| read_labels("b", l)).unwrap();
    }
    assert_eq!(dump(&window), [r#"a{pod="p"}: 1@0"#]);
    // What it added is forgotten, however often that happens.
    for i in 0..5 {
        let text = format!("a{{pod=\"\",x{i}=\"\"}}");
        let mut batch = target.scrape(at(1.0));
        batch.append(&text, 2.0, None, |l| read_labels("a", l)).unwrap();
    }
    target.scrape(at(1.0));
    assert_eq!(target.known_texts(), 1);
    // The next one is compared with the one that was committed last.
    assert_eq!(scrape(&mut target, at(2.0), &[]).went_stale, 1);
}

#[test]
fn samples_out_of_order_and_duplicates_are_refused_as_in_prometheus() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let mut append = |seconds: f64, own: f64, value: f64| {
        let mut batch = target.scrape(at(seconds));
        batch
            .append("a", value, Some(at(own)), |l| read_labels("a", l))
            .unwrap();
        batch.commit()
    };
    assert_eq!(append(0.0, -1.0, 1.0).appended, 1);
    assert_eq!(append(1.0, -1.0, 1.0).repeated, 1);
    assert_eq!(append(2.0, -1.0, 2.0).duplicates, 1);
    assert_eq!(append(3.0, -2.0, 2.0).out_of_order, 1);
    assert_eq!(append(4.0, 4.0 + 601.0, 2.0).out_of_bounds, 1);
    assert_eq!(append(5.0, 5.0 - 911.0, 2.0).out_of_bounds, 1);
    assert_eq!(append(6.0, 6.0 + 600.0, 3.0).appended, 1);
    // Far too early, but dated by the target: no clock was set back.
    assert_eq!(append(7.0, 7.0, 2.0).out_of_order, 1);
    // Absent, a series with times of its own gets no marker.
    assert_eq!(target.mark_stale(at(8.0)), 0);
    assert_eq!(dump(&window), [r#"a{pod="p"}: 1@-1 3@606"#]);
    let stats = window.stats();
    assert_eq!((stats.samples_appended, stats.out_of_order), (2, 2));
    assert_eq!((stats.duplicates, stats.out_of_bounds), (1, 2));
}

#[test]
fn a_page_with_one_series_twice_keeps_the_first() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    // The second text is the same series, and its absence later no absence of the series.
    let page = [
        ("a{x=\"1\",y=\"2\"}", 1.0),
        ("a{y=\"2\",x=\"1\"}", 2.0),
        ("a{x=\"1\",y=\"2\"}", 1.0),
    ];
    let report = scrape(&mut target, at(0.0), &page);
    assert_eq!((report.appended, report.duplicates, report.repeated), (1, 1, 1));
    scrape(&mut target, at(1.0), &page[..1]);
    assert_eq!(dump(&window), [r#"a{pod="p", x="1", y="2"}: 1@0 1@1"#]);
    assert_eq!(window.stats().stale_markers, 0);
}

#[test]
fn two_targets_with_the_same_labels_write_one_series() {
    let window = Window::new(WindowConfig::default());
    let (mut one, mut other) = (window.appender([("job", "j")]), window.appender([("job", "j")]));
    scrape(&mut one, at(0.0), &[("a", 1.0)]);
    scrape(&mut other, at(0.5), &[("a", 2.0)]);
    assert_eq!(scrape(&mut one, at(0.2), &[("a", 3.0)]).out_of_order, 1);
    assert_eq!(dump(&window), [r#"a{job="j"}: 1@0 2@0.5"#]);
    assert_eq!((one.series(), other.series()), (1, 0));
}

#[test]
fn selecting_is_by_all_matchers_and_by_time() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(
        &mut target,
        at(0.0),
        &[("a{x=\"1\"}", 1.0), ("a{x=\"2\"}", 1.0), ("ab", 1.0)],
    );
    scrape(&mut target, at(10.0), &[("a{x=\"2\"}", 1.0)]);
    let select = |matchers: &[(&str, MatchOp, &str)], from, to| {
        let new = |&(n, op, v): &(&str, MatchOp, &str)| Matcher::new(n, op, v).unwrap();
        let matchers: Vec<_> = matchers.iter().map(new).collect();
        let mut found: Vec<_> = (window.select(&matchers, at(from), at(to)).iter())
            .map(|series| {
                series
                    .labels()
                    .to_string()
                    .replace(r#"{pod="p"}"#, "")
                    .replace(r#"pod="p", "#, "")
            })
            .collect();
        found.sort();
        found.join(" ")
    };
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let name = "__name__";
    assert_eq!(select(&[], 0.0, 10.0), r#"ab a{x="1"} a{x="2"}"#);
    assert_eq!(select(&[(name, Equal, "a")], 0.0, 0.0), r#"a{x="1"} a{x="2"}"#);
    assert_eq!(select(&[(name, Regex, "a.+")], 0.0, 0.0), "ab");
    assert_eq!(select(&[(name, Equal, "a"), (name, NotEqual, "a")], 0.0, 0.0), "");
    assert_eq!(select(&[(name, Equal, "")], 0.0, 0.0), "");
    assert_eq!(select(&[("x", Equal, "")], 0.0, 0.0), "ab");
    assert_eq!(select(&[("x", NotRegex, "1|")], 0.0, 0.0), r#"a{x="2"}"#);
    assert_eq!(select(&[(name, Equal, "a")], 10.1, 20.0), "");
    assert_eq!(select(&[(name, Equal, "a")], -5.0, -0.001), "");
}

#[test]
fn those_with_a_value_among_many_are_those_that_all_have_been_asked() {
    let window = Window::new(WindowConfig::default());
    let add = |range: std::ops::Range<usize>| {
        for pod in range {
            let pod_label = pod.to_string();
            let zone = ["", "a", "b", "c", "d"][pod % 5];
            let labels = [("pod", pod_label.as_str()), ("zone", zone), ("all", "x")];
            let mut target = window.appender(labels);
            scrape(
                &mut target,
                at(0.0),
                &[("m{le=\"1\"}", 1.0), ("m{le=\"2\"}", 2.0)],
            );
        }
    };
    let check = |conditions: &[(&str, MatchOp, &str)]| {
        let others = conditions
            .iter()
            .map(|(name, op, value)| Matcher::new(name, *op, value).unwrap());
        let others: Vec<_> = others.collect();
        let all = window.select(&[Matcher::equal(METRIC_NAME, "m")], at(0.0), at(0.0));
        let fits = |series: &&Arc<Series>| {
            others
                .iter()
                .all(|matcher| matcher.matches_value(series.labels().get(matcher.name()).unwrap_or_default()))
        };
        let expected: Vec<_> = all
            .iter()
            .filter(fits)
            .map(|series| series.labels().to_string())
            .collect();
        let mut matchers = others.clone();
        matchers.insert(0, Matcher::equal(METRIC_NAME, "m"));
        let selected = window.select(&matchers, at(0.0), at(0.0));
        let selected: Vec<_> = selected
            .iter()
            .map(|series| series.labels().to_string())
            .collect();
        assert_eq!(selected, expected, "{conditions:?}");
        selected.len()
    };
    use MatchOp::{Equal, NotEqual, Regex};
    // As many labels as are asked for: what is kept for some of them makes no difference.
    for count in [30, 200, 203] {
        add(0..count);
        assert_eq!(check(&[("pod", Equal, "17")]), 2, "{count}");
        assert_eq!(
            check(&[("le", Equal, "2"), ("zone", Equal, "")]),
            count.div_ceil(5)
        );
        assert_eq!(
            check(&[("le", Equal, "1"), ("pod", Equal, "17"), ("zone", NotEqual, "b")]),
            0
        );
        assert_eq!(check(&[("pod", Equal, "7"), ("le", Regex, "1|2")]), 2);
        assert_eq!(
            check(&[("all", Equal, "x"), ("zone", Equal, "a")]),
            2 * ((count - 1).div_ceil(5))
        );
        for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
            assert_eq!(check(&[(name, Equal, "x")]), 0);
        }
    }
}

#[test]
fn handles_go_where_they_are_needed() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Window>();
    check::<Appender>();
    check::<Series>();
}

#[test]
fn the_lookback_is_open_on_its_left() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(0.0), &[("a", 1.0)]);
    let found = |seconds: f64| window.latest("a", at(seconds), minutes(5)).len();
    assert_eq!(
        (found(-0.001), found(0.0), found(299.999), found(300.0)),
        (0, 1, 1, 0)
    );
}
