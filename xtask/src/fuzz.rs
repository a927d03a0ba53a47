//! cargo-fuzz, where it is installed.

use anyhow::{Result, ensure};

use crate::shell::{Call, call};

pub(crate) fn run(target: &str, seconds: u64) -> Result<()> {
    // The `cargo` of rustup, not the one that runs this: `+nightly` is rustup's.
    let has_nightly = call("cargo").args(["+nightly", "--version"]).succeeds();
    ensure!(
        fuzz(has_nightly).args(["--version"]).succeeds(),
        "cargo-fuzz is missing: cargo install cargo-fuzz --locked"
    );
    if !has_nightly {
        eprintln!("There is no nightly toolchain, so the target runs without a sanitizer.");
    }
    fuzz(has_nightly)
        .args(arguments(target, seconds, has_nightly))
        .run()
}

/// The compiler of the stable toolchain can do all that fuzzing needs but sanitizers, and refuses it unless told.
fn fuzz(has_nightly: bool) -> Call {
    match has_nightly {
        true => call("cargo").args(["+nightly", "fuzz"]),
        false => call("cargo").args(["fuzz"]).env("RUSTC_BOOTSTRAP", "1"),
    }
}

fn arguments(target: &str, seconds: u64, has_nightly: bool) -> Vec<String> {
    let sanitizer: &[&str] = if has_nightly {
        &[]
    } else {
        &["--sanitizer", "none"]
    };
    let limit = format!("-max_total_time={seconds}");
    let words = [&["run"], sanitizer, &[target, "--", &limit]].concat();
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_nightly_toolchain_there_is_no_sanitizer() {
        let check = |has_nightly, expected: &str| {
            assert_eq!(arguments("page", 9, has_nightly).join(" "), expected);
        };
        check(true, "run page -- -max_total_time=9");
        check(false, "run --sanitizer none page -- -max_total_time=9");
        assert_eq!(fuzz(true).line(), "cargo +nightly fuzz");
        assert_eq!(fuzz(false).line(), "cargo fuzz");
    }
}
