//! Debian's Prometheus and VictoriaMetrics, which the tests start: installed where that is allowed.

use std::path::Path;

use anyhow::Result;

use crate::shell::{Call, call};

/// As they are named to `apt-get install`.
pub(crate) const PACKAGES: &str = "prometheus and victoria-metrics";

/// Each program and the package that has it.
const SERVERS: [(&str, &str); 3] = [
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("victoria-metrics", "victoria-metrics"),
];

/// Installs what is missing if that is possible; else gives one line that says what to do.
pub(crate) fn provide() -> Option<String> {
    let missing = missing();
    if missing.is_empty() {
        return None;
    }
    let tried = match Privilege::find() {
        Some(privilege) => install(&privilege, &missing)
            .err()
            .map(|error| format!(" ({error})")),
        None => Some(String::new()),
    };
    let still = self::missing();
    if still.is_empty() {
        return None;
    }
    let why = tried.unwrap_or_default();
    Some(format!(
        "missing on the PATH: {}{why}; install with: apt-get install prometheus victoria-metrics",
        names(&still)
    ))
}

fn missing() -> Vec<(&'static str, &'static str)> {
    SERVERS
        .into_iter()
        .filter(|(program, _)| !on_path(program))
        .collect()
}

fn names(servers: &[(&'static str, &'static str)]) -> String {
    servers
        .iter()
        .map(|(program, _)| *program)
        .collect::<Vec<_>>()
        .join(", ")
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn install(privilege: &Privilege, missing: &[(&'static str, &'static str)]) -> Result<()> {
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    eprintln!(
        "Installing Debian's {} with apt-get, from the sources of this system.",
        packages.join(" and ")
    );
    // An update that fails for one source may still have served the others.
    if let Err(error) = privilege.call(&["apt-get", "-q", "update"]).run() {
        eprintln!("{error}");
    }
    // RUNLEVEL=1 keeps the packages' scripts from starting the services where there is no systemd.
    let install = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
        "apt-get",
        "-q",
        "install",
        "-y",
    ];
    let installed = privilege
        .call(&install)
        .args(["--no-install-recommends"])
        .args(&packages)
        .run();
    if Path::new("/run/systemd/system").exists() {
        for package in &packages {
            let _ = privilege
                .call(&["systemctl", "disable", "--now", package])
                .succeeds();
        }
    }
    installed
}

/// How to become root without being asked for a password.
enum Privilege {
    Root,
    Sudo,
}

// === impl Privilege ===

impl Privilege {
    fn find() -> Option<Self> {
        if !cfg!(target_os = "linux") || !on_path("apt-get") {
            return None;
        }
        if call("sh").args(["-c", "test \"$(id -u)\" = 0"]).succeeds() {
            return Some(Self::Root);
        }
        call("sudo").args(["-n", "true"]).succeeds().then_some(Self::Sudo)
    }

    fn call(&self, words: &[&str]) -> Call {
        match self {
            Self::Root => call(words[0]).args(&words[1..]),
            Self::Sudo => call("sudo").args(["-n"]).args(words),
        }
    }
}
