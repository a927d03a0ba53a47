//! Any bytes as the body of a Prometheus answer. The checks are shared with a property test of `fleetgauge`.
#![no_main]

#[path = "../../crates/fleetgauge/tests/support/answer_body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::check(bytes));
