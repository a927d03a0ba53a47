//! Series that change their kind, which a receiver stores kind by kind, and what a receiver says that lacks one.

use super::*;

fn histogram(count: f64) -> FloatHistogram {
    let buckets = Buckets::starting_at(1, &[count]).expect("an index");
    let empty = FloatHistogram::exponential(0).expect("a schema");
    empty.with_count(count).with_sum(count).with_positive(buckets)
}

/// A second apart, in turn a number, a histogram of whole counts, one of others, and one with custom buckets.
fn alternating(count: i64) -> (Window, i64) {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "vllm-0")]);
    let now = Clock::system().wall().as_millis();
    for at in 0..count {
        let mut page = target.scrape(Timestamp::from_millis(now - (count - 1 - at) * 1_000));
        let labels = |labels: &mut ExposedLabels| labels.label("__name__", "x");
        match at % 4 {
            0 => page.append("x", at as f64, None, labels).map(|_| ()),
            1 => page
                .append_histogram("x", histogram(at as f64), None, labels)
                .map(|_| ()),
            2 => page
                .append_histogram("x", histogram(at as f64 + 0.5), None, labels)
                .map(|_| ()),
            _ => {
                let custom = FloatHistogram::custom(&[2.0]).expect("a bound");
                let buckets = Buckets::starting_at(0, &[at as f64]).expect("an index");
                let custom = custom.with_count(at as f64).with_positive(buckets);
                page.append_histogram("x", custom, None, labels).map(|_| ())
            }
        }
        .expect("there is room");
        page.append("steady", 1.0, None, |labels| labels.label("__name__", "steady"))
            .expect("there is room");
        page.commit();
    }
    (window, now)
}

#[test]
fn of_a_series_that_changes_its_kind_a_request_has_one() {
    let (window, now) = alternating(9);
    let (server, url) = receiver([Answer::choose(|request| {
        let all = decoded_2(&request.body).timeseries;
        let count = |of: fn(&TimeSeries) -> usize| all.iter().map(of).sum::<usize>().to_string();
        Answer::status(204)
            .header(
                "X-Prometheus-Remote-Write-Samples-Written",
                &count(|one| one.samples.len()),
            )
            .header(
                "X-Prometheus-Remote-Write-Histograms-Written",
                &count(|one| one.histograms.len()),
            )
    })]);
    let remote = by_2(&url, window);
    run(&remote);
    let stats = remote.stats();
    assert_eq!(
        (stats.sent, stats.pending, stats.unconfirmed, stats.not_written),
        (18, 0, 0, 0)
    );
    let (mut times, mut steady) = (Vec::new(), 0);
    for request in server.requests() {
        let sent = decoded_2(&request.body);
        let (all, mut each) = (names(&sent), names(&sent));
        each.sort();
        each.dedup();
        assert_eq!(each.len(), all.len(), "each series once");
        for series in sent.timeseries {
            if series.samples.len() == 9 {
                steady += 1;
                continue;
            }
            times.extend(series.samples.iter().map(|sample| sample.timestamp));
            times.extend(series.histograms.iter().map(|sample| sample.timestamp));
            // Whole counts and others are stored apart, too.
            let floats = series.histograms.iter().filter(|one| one.count_float.is_some());
            assert!([0, series.histograms.len()].contains(&floats.count()));
        }
    }
    assert_eq!(steady, 1);
    let expected: Vec<_> = (0..9).map(|at| now - (8 - at) * 1_000).collect();
    assert_eq!(times, expected);
}

#[test]
fn a_marker_is_of_what_it_ends() {
    let mut samples = Samples::default();
    samples.push_histogram(1, Arc::new(histogram(2.0)));
    samples.push_histogram(2, Arc::new(histogram(2.5)));
    samples.push(3, f64::from_bits(STALE_MARKER));
    let mut message = message::Message::default();
    message.push(&[], &LabelSet::from_pairs([("__name__", "h")]), &samples);
    for read in [
        decoded(&message.compressed(0..1, ProtobufMessage::V1)),
        decoded_2(&message.compressed(0..1, ProtobufMessage::V2)),
    ] {
        let histograms = &read.timeseries[0].histograms;
        let counts: Vec<_> = histograms
            .iter()
            .map(|one| (one.count_int, one.count_float))
            .collect();
        assert_eq!(counts, [(None, Some(2.0)), (None, Some(2.5)), (None, Some(0.0))]);
        assert_eq!(histograms[2].sum.to_bits(), STALE_MARKER);
    }
    assert!(message.rest().is_none());
}

#[test]
#[ignore = "needs Prometheus 3"]
fn prometheus_3_has_all_of_a_series_that_changes_its_kind() {
    let prometheus = receiving(true, &[]);
    for (message, left_out) in ProtobufMessage::ALL.into_iter().zip([17, 0]) {
        let (window, now) = alternating(71);
        let url = format!("{}/api/v1/write", prometheus.url());
        let config = RemoteWriteConfig::new(&url)
            .with_external_label("message", message.as_str())
            .with_protobuf_message(message);
        let remote = RemoteWrite::new(config, [window]).expect("a configuration");
        run(&remote);
        let stats = remote.stats();
        assert_eq!(
            (stats.sent, stats.left_out),
            (2 * 71 - left_out, left_out),
            "{message:?}"
        );
        let promql = format!("count_over_time(x{{message={:?}}}[5m])", message.as_str());
        let answer = prometheus
            .query(&promql, Some(now as f64 / 1000.0))
            .expect("an answer");
        assert_eq!(answer[0]["value"][1], (71 - left_out).to_string(), "{message:?}");
    }
}

#[test]
fn what_a_server_lacks_is_told() {
    for (answer, says) in [
        (
            Answer::respond(404, &[], b"it wants --web.enable-remote-write-receiver\x1b[31m"),
            r#"nothing takes samples at /api/v1/write (404): "it wants --web.enable-remote-write-receiver\x1b[31m""#,
        ),
        (
            Answer::respond(500, &[], b"native histograms are disabled\n"),
            "it wants `--enable-feature=native-histograms`",
        ),
    ] {
        let (_server, url) = receiver([answer]);
        let remote = RemoteWrite::new(config(&url), []).expect("a configuration");
        let said = told(&remote);
        assert!(said.contains(says), "{said}");
    }
}
