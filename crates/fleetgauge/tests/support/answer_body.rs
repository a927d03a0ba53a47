//! What holds for any bytes given to the decoder; shared by the property tests and the fuzz target
//! `prometheus_answer`.

use fleetgauge::prometheus::{
    decode_answer, decode_answer_with_histograms, decode_range, decode_range_with_histograms,
};
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::result::Answer;

/// Decodes `body` in each way, and checks what comes of it.
pub(crate) fn check(body: &[u8]) {
    checked(body, decode_answer(body), decode_answer_with_histograms(body));
    checked(body, decode_range(body), decode_range_with_histograms(body));
}

fn checked(body: &[u8], numbers: Result<Answer, FetchError>, all: Result<Answer, FetchError>) {
    match &all {
        Ok(answer) => {
            // Each value takes more bytes than this, so no answer is larger than its body.
            assert!(answer.len() <= body.len() / 8);
            let histograms = || answer.values().filter_map(|value| value.histogram);
            let buckets: usize = histograms().map(|histogram| histogram.buckets.len()).sum();
            assert!(buckets <= body.len() / 12);
            assert!(answer.duplicate_series().is_none());
            for value in answer.values() {
                let names: Vec<_> = value.labels.iter().map(|(name, _)| name).collect();
                assert!(names.is_sorted(), "{names:?}");
                assert!(!value.to_string().is_empty());
                assert!(value.histogram.is_none() || value.value.is_nan());
            }
            // Nobody who asks for numbers gets an answer with something else.
            assert_eq!(answer.has_histograms(), histograms().next().is_some());
            assert_eq!(numbers.is_ok(), !answer.has_histograms());
        }
        Err(error) => {
            assert_eq!(
                numbers.as_ref().err().map(ToString::to_string),
                Some(error.to_string())
            );
        }
    }
    if let Err(error) = numbers {
        let shown = error.to_string();
        assert!(shown.chars().count() < 800, "{shown}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
