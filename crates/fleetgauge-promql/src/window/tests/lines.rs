//! How the lines of a page are found again, in whatever order they come, and that targets share their texts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn lines(window: &Window) -> usize {
    window.0.lines.len()
}

fn page_of(texts: &[&'static str]) -> Vec<(&'static str, f64)> {
    texts.iter().map(|&text| (text, 1.0)).collect()
}

#[test]
fn targets_share_the_texts_of_their_lines_and_the_last_one_gives_them_back() {
    let window = Window::new(WindowConfig::default());
    let mut first = window.appender([("pod", "first")]);
    let mut second = window.appender([("pod", "second")]);
    scrape(&mut first, at(0.0), &page_of(&["a", "b", "c"]));
    let (one, before) = (window.stats().bytes, window.stats().series);
    scrape(&mut second, at(0.0), &page_of(&["a", "b", "d"]));
    assert_eq!((lines(&window), before, window.stats().series), (4, 3, 6));
    // The second one has what is its own, and one text.
    assert!(window.stats().bytes < 2 * one);
    scrape(&mut second, at(1.0), &page_of(&["a", "d"]));
    assert_eq!(lines(&window), 4);
    scrape(&mut first, at(1.0), &page_of(&["c"]));
    assert_eq!(lines(&window), 3);
    drop(first);
    assert_eq!(lines(&window), 2);
    // So are those of a page that was not committed.
    let mut batch = second.scrape(at(2.0));
    batch.append("e", 1.0, None, |l| read_labels("e", l)).unwrap();
    assert_eq!(lines(&window), 3);
    second.scrape(at(2.0));
    assert_eq!(lines(&window), 2);
    drop(second);
    assert_eq!(lines(&window), 0);
    // One without a sample is looked at twice.
    (1_000..1_002).for_each(|second| _ = window.expire(at(second.into())));
    assert_eq!(window.stats().bytes, 0);
}

#[test]
fn a_line_that_appears_in_the_middle_of_a_page_is_looked_up_once() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p")]);
    let mut check = |second: f64, page: &[&'static str], looked_up: bool| {
        scrape(&mut target, at(second), &page_of(page));
        assert_eq!(
            (target.known_order(), target.keeps_table()),
            (page.to_vec(), looked_up),
            "{second}"
        );
    };
    check(0.0, &["a", "c", "d"], false);
    check(1.0, &["a", "b", "c", "d"], false);
    check(2.0, &["a", "b", "c", "d"], false);
    check(3.0, &["a", "c", "d"], false);
    check(4.0, &["a", "c", "d"], false);
    // Of pages that have no order, every second one is taken for that of the next.
    scrape(&mut target, at(5.0), &page_of(&["d", "c", "a"]));
    assert_eq!(
        (target.known_order(), target.keeps_table()),
        (vec!["d", "c", "a"], false)
    );
    scrape(&mut target, at(6.0), &page_of(&["c", "d", "a"]));
    assert_eq!(
        (target.known_order(), target.keeps_table()),
        (vec!["d", "c", "a"], true)
    );
    scrape(&mut target, at(7.0), &page_of(&["c", "d", "a"]));
    assert_eq!(
        (target.known_order(), target.keeps_table()),
        (vec!["c", "d", "a"], false)
    );
}

const TEXTS: [&str; 6] = ["a", "a{x=\"1\"}", "a{x=\"2\"}", "b{x=\"1\"}", "b{y=\"1\"}", "c"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Pages in any order, with lines that come twice, of targets that go and come back: each sample is that of its line,
    /// and as many texts are held as there are on the pages.
    #[test]
    fn each_line_is_found_whatever_the_order(
        pages in prop::collection::vec(
            (0usize..3, prop::collection::vec(0..TEXTS.len(), 0..10), 0u8..8), 1..60),
    ) {
        let window = Window::new(WindowConfig::default());
        let mut targets: [Option<Appender>; 3] = [None, None, None];
        let mut held: [BTreeSet<&str>; 3] = Default::default();
        for (second, (pod, page, fate)) in (0u32..).zip(&pages) {
            let time = at(second.into());
            let labels = [("pod", format!("p{pod}"))];
            let target = targets[*pod].get_or_insert_with(|| window.appender(labels));
            let value = |line: usize| f64::from(second * 10) + line as f64;
            let page: Vec<_> = page.iter().map(|&line| (TEXTS[line], value(line))).collect();
            let on_page: BTreeMap<_, _> = page.iter().copied().collect();
            let report = scrape(target, time, &page);
            prop_assert_eq!(report.appended, on_page.len());
            prop_assert_eq!(report.repeated, page.len() - on_page.len());
            held[*pod] = on_page.keys().copied().collect();
            // What is on the page now is what this pod has, and nothing else is: the rest has gone stale.
            let mut read = BTreeMap::new();
            for series in window.select(&[Matcher::equal("pod", &format!("p{pod}"))], time, time).iter() {
                if let Some(sample) = series.at(time, minutes(5)) {
                    read.insert(series.labels().to_string(), sample.value);
                }
            }
            let text = |line: &str| {
                let (name, rest) = line.split_once('{').unwrap_or((line, "}"));
                let rest = rest.replace('}', "");
                let comma = if rest.is_empty() { "" } else { ", " };
                format!("{name}{{pod=\"p{pod}\"{comma}{rest}}}")
            };
            let expected: BTreeMap<_, _> = on_page.iter().map(|(line, value)| (text(line), *value)).collect();
            prop_assert_eq!(read, expected);
            if *fate == 0 {
                // As when it is no longer discovered.
                targets[*pod].take().into_iter().for_each(|mut gone| { gone.mark_stale(time); });
                held[*pod].clear();
            }
            let all: BTreeSet<_> = held.iter().flatten().collect();
            prop_assert_eq!(lines(&window), all.len());
        }
        drop(targets);
        prop_assert_eq!(lines(&window), 0);
        window.expire(at(100_000.0));
        let stats = window.stats();
        prop_assert_eq!((stats.series, stats.strings, stats.bytes), (0, 0, 0));
    }
}
