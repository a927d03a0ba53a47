//! A real Prometheus scrapes the same pages; what it stores is what we read.
//!
//! Debian's Prometheus 2.42 knows no quoted names, and stores no HELP for us to see; both are left out.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleetgauge_promql::exposition::{Event, Format, Parser};
use fleetgauge_testkit::{Answer, FaultyServer, Prometheus};

use crate::support::vllm_page;

/// Labels with `__name__`, and the value as its bits; a NaN is one value.
type Series = BTreeMap<BTreeMap<String, String>, u64>;

/// Text pages that Prometheus reads to their end.
fn good_text() -> Vec<String> {
    let page = "\
# HELP a1 A help text with \\\\ and \\n in it
# TYPE a1 gauge
a1{x=\"1\"} 1
a1 { x = \"2\" , y=\"b\" , } 2
a1\t{x=\"3\"}\t3\t
a1{x=\"4\"}4
a1{x=\"5\"y=\"b\"} 5
a1{x=\"}\",y=\"a=\\\"b\\\",c\"} 6
a1{x=\"a\\\\nb\\nc\\d\\\\\"} 7
a1{x=\"# {\"} 8
a1{x=\"Größe 大\"} 9
a1{x=\"empty\",y=\"\"} 10
a1{} 11
#TYPE a1 counter
#
# just a comment

# TYPE a2 untyped
:a2 NaN
_a2 nan
a2{le=\"+Inf\"} +Inf
a2{le=\"-Inf\"} -inf
a2{le=\"i\"} Inf
a2{le=\"j\"} +infinity
a3{x=\"1\"} -0
a3{x=\"2\"} 1.
a3{x=\"3\"} .5
a3{x=\"4\"} +1e+03
a3{x=\"5\"} 5e-324
a3{x=\"6\"} 1.7976931348623157e308
a3{x=\"7\"} 9007199254740993
a3{x=\"8\"} 0.1000000000000000055511151231257827021181583404541015625
a3{x=\"9\"} 2.2250738585072011e-308
a3{x=\"10\"} 1e-400
a3{x=\"11\"} 123456789012345678901234567890
a3{x=\"12\"} 00012.50
# TYPE h histogram
h_bucket{le=\"0.1\"} 1
h_bucket{le=\"+Inf\"} 2
h_sum 3
h_count 2
# TYPE s summary
s{quantile=\"0.5\"} 1
s_sum 3
s_count 2
";
    vec![page.to_owned(), vllm_page::vllm_page(3)]
}

fn good_open_metrics() -> String {
    "\
# HELP a1 A help \\\"text\\\"
# TYPE a1 counter
a1_total{x=\"1\"} 1 # {trace_id=\"}# {\"} 0.5
a1_total{x=\"}# {\"} 2 # {} 0.5 1520879607.789
a1_created{x=\"1\"} 1520872607.123
# TYPE a_seconds histogram
# UNIT a_seconds seconds
a_seconds_bucket{le=\"1.0\"} 3 # {a=\"b\",c=\"d\"} 0.67
a_seconds_bucket{le=\"+Inf\"} 4
a_seconds_count 4
a_seconds_sum 2.5
# TYPE i info
i_info{version=\"1\"} 1
# TYPE st stateset
st{st=\"on\"} 1
st{st=\"off\"} 0
# TYPE u unknown
u NaN
# EOF
"
    .to_owned()
}

/// Lines that make Prometheus give up the page, and that we read: the format's description allows the first
/// three, the others happen.
const BEYOND: &[&str] = &[
    "a 0x1p3",
    "a 1 -5",
    " \ta 1",
    "a 1\r",
    "# TYPE a gauge \na 1",
    "# TYPE a gauge\r\na 1",
    "# TYPE a info\na 1",
    "a 1 # {trace_id=\"b\"} 0.5",
];

/// Lines that make Prometheus give up the page, and are errors here.
const BAD: &[&str] = &[
    "a",
    "a{",
    "a{x} 1",
    "a{x=} 1",
    "a{x=1} 1",
    "a{x=\"1} 1",
    "a{x=\"1\"",
    "a{x=\"1\"}",
    "a{x=\"1\",,} 1",
    "a{,} 1",
    "a{=\"1\"} 1",
    "a{x:y=\"1\"} 1",
    "a{x=\"1\",x=\"2\"} 1",
    "a{x=\"1\"} } 1",
    "a{__name__=\"b\"} 1",
    "a.b 1",
    "1a 1",
    "größe 1",
    "{x=\"1\"} 1",
    "a one",
    "a 1_000",
    "a +NaN",
    "a 1e999",
    "a 0x",
    "a 1 1.5",
    "a 1 2 3",
    "a 1 99999999999999999999",
    "# TYPE a nonsense",
    "# TYPE 1 gauge",
];

fn ours(format: Format, body: &str) -> (Series, usize) {
    let mut parser = Parser::new();
    let mut page = parser.page(format, body.as_bytes());
    let mut series = Series::new();
    while let Some(event) = page.next() {
        let Event::Sample(sample) = event else { continue };
        let Some(labels) = page.labels() else { continue };
        let pairs = labels.iter().map(|(n, v)| (n.into_owned(), v.into_owned()));
        let mut labels: BTreeMap<_, _> = pairs.filter(|(_, value)| !value.is_empty()).collect();
        labels.insert("__name__".to_owned(), sample.name().to_owned());
        let before = series.insert(labels, bits(sample.value));
        assert_eq!(before, None, "one sample a series");
    }
    (series, page.finish().errors)
}

/// The timestamp of the page's only sample.
fn timestamp(format: Format, body: &str) -> i64 {
    let mut parser = Parser::new();
    let mut page = parser.page(format, body.as_bytes());
    let Some(Event::Sample(sample)) = page.next() else {
        panic!("no sample in {body}")
    };
    sample.timestamp.unwrap()
}

fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// The newest value of each series that Prometheus scraped as `job`.
fn theirs(prometheus: &Prometheus, job: &str) -> Series {
    let own = "up|scrape_.*";
    let result = prometheus
        .query(&format!("{{job=\"{job}\",__name__!~\"{own}\"}}"), None)
        .unwrap();
    let series = result.as_array().unwrap().iter().map(|series| {
        let labels = series["metric"].as_object().unwrap().iter();
        let labels = labels
            .filter(|(name, _)| !matches!(name.as_str(), "job" | "instance"))
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let value = series["value"][1].as_str().unwrap().parse().unwrap();
        (labels.collect(), bits(value))
    });
    series.collect()
}

/// Also the time a scrape may take, so it leaves room on a busy machine.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(3);

/// Who reads a page to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Readers {
    Both,
    Neither,
    Ours,
    Theirs,
}

fn pages() -> Vec<(Readers, Format, String)> {
    let text = |readers, page| (readers, Format::Text, page);
    let around = |line: &&str| format!("before 1\n{line}\nafter 1\n");
    let mut pages: Vec<_> = good_text()
        .into_iter()
        .map(|page| text(Readers::Both, page))
        .collect();
    pages.push((Readers::Both, Format::OpenMetrics, good_open_metrics()));
    // Prometheus takes timestamps of about now alone.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    for millis in now - 3..now {
        let seconds = format!("dated 1 {}.{:03}\n# EOF\n", millis / 1000, millis % 1000);
        pages.push(text(Readers::Both, format!("dated 1 {millis}\n")));
        pages.push((Readers::Both, Format::OpenMetrics, seconds));
    }
    pages.extend(BAD.iter().map(|line| text(Readers::Neither, around(line))));
    pages.extend(BEYOND.iter().map(|line| text(Readers::Ours, around(line))));
    pages.push(text(
        Readers::Theirs,
        around(&"a{x=\"a newline\nthat is not escaped\"} 1"),
    ));
    // What is cut off in its last number, for all that anybody can tell.
    pages.push(text(
        Readers::Theirs,
        "before 1\nafter 1\nunfinished 4".to_owned(),
    ));
    pages
}

#[test]
fn prometheus_stores_what_we_read() {
    let pages = pages();
    let targets: Vec<_> = pages
        .iter()
        .map(|(_, format, page)| {
            let answer = Answer::respond(200, &[("Content-Type", format.content_type())], page);
            FaultyServer::start([answer]).unwrap()
        })
        .collect();
    let mut builder = Prometheus::builder();
    for (at, target) in targets.iter().enumerate() {
        builder = builder.scrape(&format!("page{at}"), target.addr(), SCRAPE_INTERVAL, &[]);
    }
    let prometheus = builder.start().unwrap();
    prometheus
        .wait_for(&format!("count(up) == {}", pages.len()))
        .unwrap();

    for (at, (readers, format, page)) in pages.iter().enumerate() {
        let (series, errors) = ours(*format, page);
        let result = prometheus
            .query(&format!("up{{job=\"page{at}\"}}"), None)
            .unwrap();
        let read = match (errors == 0, result[0]["value"][1] == "1") {
            (true, true) => Readers::Both,
            (true, false) => Readers::Ours,
            (false, true) => Readers::Theirs,
            (false, false) => Readers::Neither,
        };
        assert_eq!(read, *readers, "{page}");
        match readers {
            Readers::Both => assert_eq!(series, theirs(&prometheus, &format!("page{at}"))),
            // Prometheus lost the page; we lost the line.
            Readers::Neither => assert_eq!((series.len(), errors), (2, 1), "{page}"),
            Readers::Ours => assert_eq!(series.len(), 3, "{page}"),
            Readers::Theirs => assert_eq!(series.len(), 2, "{page}"),
        }
        if page.starts_with("dated") {
            let promql = format!("1000 * timestamp(dated{{job=\"page{at}\"}})");
            let stored = prometheus.query(&promql, None).unwrap();
            assert_eq!(
                stored[0]["value"][1],
                timestamp(*format, page).to_string(),
                "{page}"
            );
        }
    }
}
