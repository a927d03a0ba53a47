//! What holds for any bytes given to the decoder; shared by the property tests and the fuzz target
//! `prometheus_answer`.

use fleetgauge::prometheus::decode_answer;

/// Decodes `body`, and checks what comes of it.
pub(crate) fn check(body: &[u8]) {
    match decode_answer(body) {
        Ok(answer) => {
            // Each value takes more bytes than this, so no answer is larger than its body.
            assert!(answer.len() <= body.len() / 8);
            assert!(answer.duplicate_series().is_none());
            for value in answer.values() {
                let names: Vec<_> = value.labels.iter().map(|(name, _)| name).collect();
                assert!(names.is_sorted(), "{names:?}");
                assert!(!value.to_string().is_empty());
            }
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.chars().count() < 800, "{shown}");
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
    }
}
