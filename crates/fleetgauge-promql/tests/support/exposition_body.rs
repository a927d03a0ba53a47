//! What must hold for every page, however broken: shared by the property test and the fuzz target.

use fleetgauge_promql::exposition::{Event, Format, Histograms, Limits, Parser, Place, Wanted};

/// Reads `page` in every way and checks that the counts add up and agree.
///
/// # Panics
/// When they do not.
pub(crate) fn check(page: &[u8]) {
    for format in [Format::Text, Format::OpenMetrics] {
        let small = Limits::default()
            .with_body_bytes(page.len() / 2)
            .with_line_bytes(20)
            .with_name_bytes(5)
            .with_labels(1)
            .with_label_value_bytes(3)
            .with_samples(2)
            .with_described_errors(1);
        let all = read(&mut Parser::new(), format, page);
        read(&mut Parser::new().with_limits(small), format, page);
        let wanted = read(
            &mut Parser::new().with_wanted(Wanted::new(["a", "up_total"])),
            format,
            page,
        );
        let selects = |sample: &&(String, _)| Wanted::new(["a", "up_total"]).selects(&sample.0);
        let alone = page
            .split_inclusive(|&b| b == b'\n')
            .flat_map(|line| read(&mut Parser::new(), format, line));
        if format == Format::Text {
            assert!(
                alone.eq(all.iter().cloned()),
                "a line says the same wherever it stands"
            );
        }
        assert!(
            all.iter().filter(selects).eq(&wanted),
            "a filter gives what is there, and only that"
        );
    }
    check_whole(Format::OpenMetrics2, page);
}

/// The samples: name, and what else they say.
fn read(parser: &mut Parser, format: Format, body: &[u8]) -> Vec<(String, String)> {
    let (mut samples, mut metadata) = (Vec::new(), 0);
    let mut page = parser.page(format, body);
    while let Some(event) = page.next() {
        let Event::Sample(sample) = event else {
            metadata += 1;
            assert!(page.labels().is_none());
            continue;
        };
        let Some(labels) = page.labels() else { continue };
        assert!(labels.get("__name__").is_none());
        let mut names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), labels.len(), "label names are unique");
        assert!(!sample.name().is_empty() && !sample.series().is_empty());
        assert!(std::str::from_utf8(body).is_err() || str_contains(body, sample.series()));
        let rest = format!(
            "{labels:?} {:?} {:?} {:?}",
            sample.series(),
            sample.value,
            sample.timestamp
        );
        samples.push((sample.name().to_owned(), rest));
    }
    let report = page.finish();
    assert_eq!((report.samples, report.metadata), (samples.len(), metadata));
    let counted = report.samples + report.metadata + report.ignored + report.skipped + report.errors;
    // Where a page is cut for its samples, the line of the one too many is neither given nor bad.
    let uncounted = report.lines - counted;
    assert!(uncounted == 0 || (uncounted == 1 && report.cut.is_some()));
    assert!(report.first_errors.len() <= report.errors);
    let is_finished = body.is_empty() || body.ends_with(b"\n");
    assert!(is_finished || format == Format::OpenMetrics || !report.is_complete());
    assert!(report.lost.names().count() <= report.errors);
    for error in &report.first_errors {
        let is_there = match error.place {
            Place::Line { line, column } => line >= 1 && line <= report.lines && column >= 1,
            Place::Byte(at) => at <= body.len(),
            _ => false,
        };
        assert!(is_there && error.text.len() < 400);
    }
    samples
}

/// Reads `page` as Protocol Buffers in every way, and checks that the counts add up and agree.
///
/// # Panics
/// When they do not.
pub(crate) fn check_messages(page: &[u8]) {
    check_whole(Format::Protobuf, page);
}

/// Checks a format that has whole histograms.
fn check_whole(format: Format, page: &[u8]) {
    let small = Limits::default()
        .with_body_bytes(page.len() / 2)
        .with_line_bytes(40)
        .with_name_bytes(8)
        .with_labels(1)
        .with_label_value_bytes(5)
        .with_buckets(2)
        .with_samples(2)
        .with_described_errors(1);
    read_whole(&mut Parser::new().with_limits(small), format, page, true);
    let read = |histograms| read_whole(&mut Parser::new().with_histograms(histograms), format, page, true);
    let [classic, native, both] = [Histograms::Classic, Histograms::Native, Histograms::Both].map(read);
    let is_native = |sample: &&(String, String)| sample.1.starts_with("histogram");
    assert!(!classic.iter().any(|sample| is_native(&sample)));
    // A line of text whose classic buckets are bad is bad where they are wanted.
    assert!(
        both.iter()
            .filter(is_native)
            .all(|sample| native.contains(sample))
    );
    let natives = |all: &[(String, String)]| all.iter().filter(is_native).count();
    assert!(format == Format::OpenMetrics2 || natives(&native) == natives(&both));
    let wanted = Wanted::new(["a", "up_total"]);
    let filtered = read_whole(
        &mut Parser::new().with_wanted(wanted.clone()),
        format,
        page,
        false,
    );
    assert!(
        classic
            .iter()
            .filter(|sample| wanted.selects(&sample.0))
            .eq(&filtered),
        "a filter gives what is there, and only that"
    );
}

/// The samples: name, and what else they say.
fn read_whole(parser: &mut Parser, format: Format, body: &[u8], reads_all: bool) -> Vec<(String, String)> {
    let (mut samples, mut metadata) = (Vec::new(), 0);
    let mut page = parser.page(format, body);
    while let Some(event) = page.next() {
        let (name, series, rest) = match &event {
            Event::Sample(sample) => (sample.name(), sample.series(), format!("{}", sample.value)),
            Event::Histogram(sample) => {
                let histogram = &sample.histogram;
                assert_eq!(histogram.check(), Ok(()));
                (sample.name(), sample.series(), format!("histogram {histogram}"))
            }
            _ => {
                metadata += 1;
                assert!(page.labels().is_none());
                continue;
            }
        };
        let Some(labels) = page.labels() else { continue };
        let mut names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), labels.len(), "label names are unique");
        assert!(!name.is_empty() && !series.is_empty());
        samples.push((name.to_owned(), format!("{rest} {series} {labels:?}")));
    }
    let report = page.finish();
    assert_eq!((report.samples, report.metadata), (samples.len(), metadata));
    let counted = report.samples + report.metadata + report.ignored + report.skipped + report.errors;
    assert_eq!(report.lines, counted);
    if format == Format::Protobuf {
        // Of what was not to be read nothing is lost, and a bad comment costs none.
        let is_told = !report.lost.is_empty() || report.skipped > 0 || metadata == 0;
        assert!(report.errors == 0 || is_told || !reads_all);
    }
    for error in &report.first_errors {
        let is_there = match error.place {
            Place::Line { line, column } => {
                format != Format::Protobuf && (1..=body.len()).contains(&line) && column >= 1
            }
            Place::Byte(at) => format == Format::Protobuf && at <= body.len(),
            _ => false,
        };
        assert!(is_there && error.text.len() < 400);
    }
    samples
}

fn str_contains(body: &[u8], series: &str) -> bool {
    std::str::from_utf8(body).is_ok_and(|body| body.contains(series))
}
