//! Any bytes as a template and its values. The body is shared with a property test of `fleetgauge-core`.
#![no_main]

#[path = "../../crates/fleetgauge-core/tests/support/template_body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (source, x, pods, n) = input;
    body::check(source, [x, pods, n]);
});
