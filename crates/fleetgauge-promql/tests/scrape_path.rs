//! From a page to the window: the way of every scraped sample.

use std::time::Duration;

use fleetgauge_core::time::Timestamp;
use fleetgauge_promql::exposition::{Event, Format, Parser};
use fleetgauge_promql::window::{Appender, ScrapeReport, Window, WindowConfig};

fn scrape(target: &mut Appender, at: Timestamp, body: &str) -> ScrapeReport {
    let mut parser = Parser::new();
    let mut page = parser.page(Format::Text, body.as_bytes());
    let mut batch = target.scrape(at);
    while let Some(event) = page.next() {
        let Event::Sample(sample) = event else { continue };
        let own = sample.timestamp.map(Timestamp::from_millis);
        let appended = batch.append(sample.series(), sample.value, own, |labels| {
            // Without a name the series is refused, as one must be whose labels cannot be read.
            if let Some(exposed) = page.labels() {
                labels.label("__name__", sample.name());
                exposed
                    .iter()
                    .for_each(|(name, value)| labels.label(&name, &value));
            }
        });
        appended.expect("within the limits");
    }
    batch.commit()
}

#[test]
fn a_page_is_found_again_in_the_window() {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "p"), ("job", "vllm")]);
    let at = |seconds: f64| Timestamp::from_secs_f64(1_763_930_000.0 + seconds);
    let body = "a{x=\"q\\\"\",pod=\"its own\"} 1\na{x=\"z\",} NaN\nb 3 1763929999500\n";
    assert_eq!(scrape(&mut target, at(0.0), body).appended, 3);
    // The sample with a time of its own is the same again; what is missing goes stale.
    let report = scrape(
        &mut target,
        at(1.0),
        &body[body.find("a{x=\"z\"").expect("there")..],
    );
    assert_eq!((report.appended, report.repeated, report.went_stale), (1, 1, 1));

    let latest = |name: &str, seconds: f64| {
        let found = window.latest(name, at(seconds), Duration::from_secs(300));
        let mut lines: Vec<_> = (found.iter())
            .map(|(series, sample)| format!("{} {}@{}", series.labels(), sample.value, sample.timestamp))
            .collect();
        lines.sort();
        lines
    };
    let own = r#"a{exported_pod="its own", job="vllm", pod="p", x="q\""} 1@1763930000"#;
    let other = r#"a{job="vllm", pod="p", x="z"} NaN@1763930000"#;
    assert_eq!(latest("a", 0.5), [own, other]);
    assert_eq!(
        latest("a", 1.0),
        [r#"a{job="vllm", pod="p", x="z"} NaN@1763930001"#]
    );
    assert_eq!(latest("b", 1.0), [r#"b{job="vllm", pod="p"} 3@1763929999.5"#]);
}
