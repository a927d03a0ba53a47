//! Any words as a query, and any text. The body is shared with a property test of `fleetgauge-promql`.
#![no_main]

#[path = "../../crates/fleetgauge-promql/tests/support/promql_body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        // Texts are mostly refused, so most inputs are words.
        Some((0..32, text)) => {
            body::check(&String::from_utf8_lossy(text));
        }
        Some((_, words)) => {
            body::check(&body::soup(&words[..words.len().min(64)]));
        }
        None => {}
    }
});
