//! Clocks that jump: backwards by hours, forwards by years.

use super::*;

const YEAR: f64 = 365.0 * 86_400.0;

#[test]
fn a_clock_set_back_by_hours_drops_the_samples_of_the_future() {
    let window = Window::new(WindowConfig::default().with_retention(minutes(1_000)));
    let mut target = window.appender([("pod", "p")]);
    let mut expected = String::from(r#"a{pod="p"}:"#);
    for i in 0..500 {
        let seconds = f64::from(i) * 30.0;
        scrape(&mut target, at(seconds), &[("a", f64::from(i))]);
        if seconds < 7_200.0 {
            expected += &format!(" {i}@{seconds}");
        }
    }
    // To the very time of a sample.
    let report = scrape(&mut target, at(7_200.0), &[("a", -1.0)]);
    assert_eq!(report.appended, 1);
    assert_eq!(dump(&window), [expected.clone() + " -1@7200"]);
    let newest = window.latest("a", at(7_201.0), minutes(5));
    assert_eq!(newest.iter().next().map(|(_, sample)| sample.value), Some(-1.0));
    assert_eq!(window.stats().clock_steps, 1);
    scrape(&mut target, at(7_201.0), &[("a", -2.0)]);
    assert_eq!(dump(&window), [expected + " -1@7200 -2@7201"]);
}

#[test]
fn a_clock_set_back_a_little_is_out_of_order() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    scrape(&mut target, at(100.0), &[("a", 1.0)]);
    assert_eq!(scrape(&mut target, at(40.0), &[("a", 2.0)]).out_of_order, 1);
    assert_eq!(scrape(&mut target, at(39.999), &[("a", 3.0)]).appended, 1);
    assert_eq!(dump(&window), [r#"a{pod="p"}: 3@39.999"#]);
}

#[test]
fn a_clock_that_was_years_ahead_leaves_nothing_behind() {
    let window = Window::new(WindowConfig::default());
    let mut stays = window.appender([("pod", "stays")]);
    let mut goes = window.appender([("pod", "goes")]);
    for second in [0.0, 1.0, 5.0 * YEAR, 5.0 * YEAR + 1.0] {
        scrape(&mut stays, at(second), &[("a", second)]);
        scrape(&mut goes, at(second), &[("a", second)]);
    }
    drop(goes);
    assert_eq!(scrape(&mut stays, at(2.0), &[("a", 2.0)]).appended, 1);
    // One came back with the clock, the other one's last samples are of the future.
    window.expire(at(3.0));
    let left = dump(&window);
    assert!(
        left.contains(&r#"a{pod="stays"}: 0@0 1@1 2@2"#.to_owned()),
        "{left:?}"
    );
    assert!(
        left.iter()
            .all(|line| !line.contains(&format!("@{}", 5.0 * YEAR))),
        "{left:?}"
    );
    drop(stays);
    window.expire(at(2_000.0));
    assert_eq!(window.stats().bytes, 0);
}

#[test]
fn the_ends_of_time_are_survived() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    for millis in [0, i64::MAX, i64::MIN, i64::MAX, 0] {
        let time = Timestamp::from_millis(millis);
        assert_eq!(scrape(&mut target, time, &[("a", 1.0)]).appended, 1, "{millis}");
        target.mark_stale(Timestamp::from_millis(millis.saturating_add(1)));
        window.expire(time);
    }
    window.expire(Timestamp::from_millis(i64::MAX));
    window.expire(Timestamp::from_millis(i64::MIN));
    drop(target);
    window.expire(Timestamp::from_millis(i64::MAX));
    assert_eq!(window.stats().bytes, 0);
}

/// Rows are counted on where the clock was set back: what came later is not taken for what went.
#[test]
fn series_that_come_after_the_clock_was_set_back_have_all_their_samples() {
    let config = WindowConfig::default().with_max_clock_step(Duration::from_secs(5));
    let window = Window::new(config);
    let mut target = window.appender([("pod", "p")]);
    for second in 0..40 {
        scrape(&mut target, at(f64::from(second)), &[("a", 1.0)]);
    }
    // Ten rows stay.
    scrape(&mut target, at(10.0), &[("a", 1.0)]);
    let mut expected = String::from(r#"b{pod="p"}:"#);
    for second in 11..100 {
        scrape(
            &mut target,
            at(f64::from(second)),
            &[("a", 1.0), ("b", f64::from(second))],
        );
        expected += &format!(" {second}@{second}");
        assert_eq!(dump(&window)[1], expected, "{second}");
    }
    assert_eq!(window.stats().clock_steps, 1);
}
