//! Debian's Prometheus and VictoriaMetrics, which the tests start: installed where that is allowed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell::{Call, call};

/// As they are named to `apt-get install`.
pub(crate) const PACKAGES: &str = "prometheus and victoria-metrics";

/// A program, and the package that has it.
pub(crate) type Packaged = (&'static str, &'static str);

pub(crate) const SERVERS: [Packaged; 3] = [
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("victoria-metrics", "victoria-metrics"),
];

/// Installs what is missing if that is possible; else gives one line that says what to do.
pub(crate) fn provide(programs: &[Packaged]) -> Option<String> {
    let missing = missing(programs);
    if missing.is_empty() {
        return None;
    }
    let tried = match Privilege::find() {
        Some(privilege) => install(&privilege, &missing)
            .err()
            .map(|error| format!(" ({error})")),
        None => Some(String::new()),
    };
    let still = self::missing(programs);
    if still.is_empty() {
        return None;
    }
    let why = tried.unwrap_or_default();
    Some(format!(
        "missing on the PATH: {}{why}; install with: apt-get install {}",
        of_each(&still, |(program, _)| program, ", "),
        of_each(&packages(&still), |package| package, " "),
    ))
}

fn missing(programs: &[Packaged]) -> Vec<Packaged> {
    let programs = programs.iter().copied();
    programs
        .filter(|(program, _)| on_path(program).is_none())
        .collect()
}

fn packages(programs: &[Packaged]) -> Vec<&'static str> {
    let mut packages: Vec<_> = programs.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn of_each<T: Copy>(all: &[T], name: fn(T) -> &'static str, between: &str) -> String {
    all.iter().copied().map(name).collect::<Vec<_>>().join(between)
}

/// Where `program` is, if it is on the PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join(program));
    programs.find(|program| program.is_file())
}

fn install(privilege: &Privilege, missing: &[Packaged]) -> Result<()> {
    let packages = packages(missing);
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
        if !cfg!(target_os = "linux") || on_path("apt-get").is_none() {
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
