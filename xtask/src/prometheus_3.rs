//! Prometheus 3 with its promtool, which the tests ask beside the one that is installed: Debian's testing suite
//! has it, and its programs run without being installed.
//!
//! They are fetched by a private apt, whose configuration, lists and archives all lie under `target`; of the
//! system's it takes the mirror, the proxy and the keys. Nothing here needs root, and nothing can fail the tests:
//! where Prometheus 3 cannot be had, what asks it is skipped.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::python;
use crate::shell::{call, root};

/// What says where the programs are, to the tests; set by hand, it is left as it is, and empty it is a no.
const VARIABLES: [&str; 2] = ["FLEETGAUGE_PROMETHEUS_3", "FLEETGAUGE_PROMTOOL_3"];

/// The tests that need it have one of these in their names; the latter compares it with ours by a Python package.
pub(crate) const TESTS: [&str; 2] = ["prometheus_3_", python::TESTS];

/// The program behind each variable, which is also the package.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// The version that is known to answer as the tests expect. Another one may differ for good reasons, and would
/// make the tests of a stranger fail on the day of its upload.
const KNOWN: &str = "3.5";

const SUITE: &str = "testing";

/// *Unit*: seconds, for all of a download.
const PATIENCE: &str = "300";

/// The environment that announces Prometheus 3 to the tests, or one line that says why there is none.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>, String> {
    let set = VARIABLES.map(std::env::var_os);
    if set.iter().any(Option::is_some) {
        return match set.iter().flatten().filter(|path| !path.is_empty()).count() {
            2 => Ok(Vec::new()),
            _ => Err(format!(
                "tests against Prometheus 3 are skipped, for {} do not both name a program",
                VARIABLES.join(" and ")
            )),
        };
    }
    let home = root().join("target").join("prometheus-3");
    let programs = match announced(&home) {
        Ok(programs) => Ok(programs),
        Err(_) => fetch(&home).and_then(|()| announced(&home)),
    };
    programs.map_err(|error| {
        format!("tests against Prometheus 3 are skipped, for it cannot be had from Debian {SUITE}: {error:#}")
    })
}

/// The programs that are there already, if they run and are of the version that is known.
fn announced(home: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let place = |(variable, program)| {
        let path = home.join(UNPACKED).join("usr/bin").join(program);
        let output = call(&path).args(["--version"]).output()?;
        check_version(output.split_whitespace().nth(2).unwrap_or_default())?;
        Ok((variable, path))
    };
    VARIABLES.into_iter().zip(PROGRAMS).map(place).collect()
}

/// `version` is of the program or of its package: `3.5.3`, `3.5.3+ds1-6`.
fn check_version(version: &str) -> Result<()> {
    let known = version
        .strip_prefix(KNOWN)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
    ensure!(
        known,
        "it is {version:?} there, and only {KNOWN} is known to agree; what is set as {} is asked whatever its version",
        VARIABLES.join(" and ")
    );
    Ok(())
}

// === the private apt ===

const UNPACKED: &str = "unpacked";

fn fetch(home: &Path) -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "this is no Linux");
    eprintln!(
        "Fetching Prometheus {KNOWN} and its promtool from Debian {SUITE} into {}; nothing is installed.",
        home.display()
    );
    let architecture = call("dpkg").args(["--print-architecture"]).output()?;
    let mirror = mirror()?;
    fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let (fresh, config) = (home.join("fresh"), home.join("apt.conf"));
    for dir in ["state/lists/partial", "cache/archives/partial", "fresh"] {
        fs::create_dir_all(home.join(dir))?;
    }
    fs::write(home.join("status"), "")?;
    fs::write(home.join("sources.list"), source(&mirror, architecture.trim()))?;
    fs::write(&config, configuration(home))?;

    let apt = |words: &[&str]| {
        call("timeout")
            .args([PATIENCE, "apt-get", "-q", "-c"])
            .args([&config])
            .args(words)
            .directory(&fresh)
            .output()
    };
    apt(&["update", "--error-on=any"])?;
    // 'http://…/prometheus_3.5.3+ds1-6_amd64.deb' prometheus_3.5.3+ds1-6_amd64.deb 1234 SHA256:…
    let uris = apt(&[&["download", "--print-uris"][..], &PROGRAMS].concat())?;
    for program in PROGRAMS {
        let prefix = format!("{program}_");
        let mut words = uris.split_whitespace();
        let version = words.find_map(|word| word.strip_prefix(&prefix)?.split('_').next());
        check_version(version.with_context(|| format!("there is no package {program}"))?)?;
    }
    apt(&[&["download"][..], &PROGRAMS].concat())?;

    let unpacking = home.join("unpacking");
    remove(&unpacking)?;
    for file in fs::read_dir(&fresh)? {
        let file = file?.path();
        if file.extension() == Some(OsStr::new("deb")) {
            call("dpkg-deb").args(["-x"]).args([&file, &unpacking]).output()?;
        }
    }
    remove(&home.join(UNPACKED))?;
    fs::rename(&unpacking, home.join(UNPACKED))?;
    for rest in ["state", "cache", "fresh"] {
        remove(&home.join(rest))?;
    }
    Ok(())
}

/// Where this Debian has its packages from.
fn mirror() -> Result<String> {
    let format = "$(CREATED_BY)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(REPO_URI)";
    let targets = call("apt-get")
        .args(["indextargets", "--format", format])
        .output()?;
    match choose_mirror(&targets) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("apt has no mirror of Debian here"),
    }
}

fn choose_mirror(targets: &str) -> Option<&str> {
    let main = || {
        targets.lines().filter_map(|line| {
            let (origin, uri) = line.strip_prefix("Packages|main|")?.rsplit_once('|')?;
            Some((origin, uri.trim_end_matches('/')))
        })
    };
    // Before the first update apt knows no origins, and shows its variables as they are.
    let mut by_origin = main().filter(|(origin, _)| *origin == "Debian|Debian");
    let mut by_path =
        main().filter(|(origin, uri)| !origin.starts_with(char::is_alphanumeric) && uri.ends_with("/debian"));
    by_origin.next().or_else(|| by_path.next()).map(|(_, uri)| uri)
}

/// Nothing but the list of packages, and that only as Debian's keys sign it.
fn source(mirror: &str, architecture: &str) -> String {
    let keys = ["pgp", "gpg"].map(|kind| format!("/usr/share/keyrings/debian-archive-keyring.{kind}"));
    let signed = keys.iter().find(|file| Path::new(file).is_file());
    let signed = signed
        .map(|file| format!(" signed-by={file}"))
        .unwrap_or_default();
    format!("deb [target=Packages arch={architecture}{signed}] {mirror} {SUITE} main\n")
}

/// Read after the system's own, of which the hooks are cleared: they would clean up the system's archives.
fn configuration(home: &Path) -> String {
    let home = home.display();
    format!(
        r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "{home}/state";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Etc::SourceList "{home}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Sandbox::User "root";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"#
    )
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_version_is_announced() {
        for version in ["3.5.3", "3.5.0+ds1-6", "3.5"] {
            assert!(check_version(version).is_ok(), "{version}");
        }
        for version in ["3.50.1", "3.6.0", "2.42.0+ds-5", ""] {
            let error = check_version(version).unwrap_err().to_string();
            assert!(error.contains("only 3.5 is known"), "{error}");
        }
    }

    #[test]
    fn the_mirror_is_that_of_the_systems_own_sources() {
        let check = |targets: &str, expected| assert_eq!(choose_mirror(targets), expected, "{targets}");
        let known = "Packages|main|Node|node|https://other.example/\n\
                     DEP-11|main|Debian|Debian|http://wrong.example/debian/\n\
                     Packages|main|Debian|Debian-Security|http://mirror.example/debian-security/\n\
                     Packages|main|Debian|Debian|http://mirror.example/deb/\n";
        check(known, Some("http://mirror.example/deb"));
        let unknown = "Packages|main|$(ORIGIN)|$(LABEL)|http://mirror.example/debian-security/\n\
                       Packages|main|$(ORIGIN)|$(LABEL)|http://mirror.example/debian/\n";
        check(unknown, Some("http://mirror.example/debian"));
        check(
            "Packages|main|Ubuntu|Ubuntu|http://mirror.example/debian/\n",
            None,
        );
        check("", None);
    }
}
