//! Any bytes as a page of Protocol Buffers. The body is shared with a property test of `fleetgauge-promql`.
#![no_main]

#[path = "../../crates/fleetgauge-promql/tests/support/exposition_body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|page: &[u8]| body::check_messages(page));
