//! The soak of the daemon, which is a test that runs for some seconds where nobody says for how long.

use crate::shell::{Call, cargo};

pub(crate) fn call(minutes: f64, seed: Option<u64>) -> Call {
    let test = ["test", "--package", "fleetgauge-cli", "--test", "it"];
    let call = cargo(test)
        .args(["--", "--exact", "soak::soak", "--nocapture"])
        .env("FLEETGAUGE_SOAK_MINUTES", minutes.to_string());
    match seed {
        Some(seed) => call.env("FLEETGAUGE_SOAK_SEED", seed.to_string()),
        None => call,
    }
}
