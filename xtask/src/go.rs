//! Programs that Go builds from their sources, as modules of `xtask` name them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::shell::{Call, call, root};

/// *Unit*: seconds; a build takes a quarter of an hour of one processor's time where Go has no cache yet, and Go keeps
/// what was compiled when its time is up.
const PATIENCE: &str = "1500";

/// A module without code of ours, which says what is built, and of which versions.
pub(crate) struct Module {
    pub(crate) folder: PathBuf,
    /// Its `go.mod`.
    pub(crate) required: String,
    /// Its `go.sum`.
    pub(crate) sums: String,
}

/// What is built, and shown meanwhile.
pub(crate) struct Build<'a> {
    pub(crate) what: &'a str,
    pub(crate) module: &'a Path,
    /// Those of the programs.
    pub(crate) packages: &'a [&'a str],
    /// About how many packages there are, dependencies included.
    pub(crate) count: u32,
    pub(crate) linker_flags: &'a str,
}

/// Programs of modules that are built as their authors publish them, each with its version.
pub(crate) struct Install<'a> {
    pub(crate) what: &'a str,
    /// Such as `example.com/module/cmd/program@v1.2.3`; all of one module.
    pub(crate) packages: &'a [&'a str],
    /// About how many packages there are, dependencies included.
    pub(crate) count: u32,
    pub(crate) linker_flags: &'a str,
}

/// The module in this folder of `xtask`.
pub(crate) fn module(name: &str) -> Result<Module> {
    let folder = root().join("xtask").join(name);
    let read = |name| fs::read_to_string(folder.join(name)).with_context(|| format!("cannot read {name}"));
    let (required, sums) = (read("go.mod")?, read("go.sum")?);
    Ok(Module {
        folder,
        required,
        sums,
    })
}

// === impl Build ===

impl Build<'_> {
    /// Puts the programs into `folder`, under their packages' last names.
    pub(crate) fn run(&self, folder: &Path) -> Result<()> {
        let mut output = folder.as_os_str().to_owned();
        output.push("/");
        let words = [
            "build",
            "-v",
            "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            self.linker_flags,
        ];
        let build = go()
            .args(words)
            .args(["-o".into(), output])
            .args(self.packages)
            .directory(self.module);
        watch(self.what, self.count, &build)
    }
}

// === impl Install ===

impl Install<'_> {
    /// Puts the programs into `folder`, under their packages' last names.
    pub(crate) fn run(&self, folder: &Path) -> Result<()> {
        let install = go()
            .args(["install", "-v", "-trimpath", "-ldflags", self.linker_flags])
            .args(self.packages)
            .env("GOBIN", folder);
        watch(self.what, self.count, &install)
    }
}

/// Go, at a low priority.
fn go() -> Call {
    call("timeout")
        .args([PATIENCE, "nice", "go"])
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
}

/// Runs it to its end, and shows how far it is.
fn watch(what: &str, count: u32, build: &Call) -> Result<()> {
    eprintln!("  {what}, by Go");
    let began = Instant::now();
    let mut child = build
        .command()
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `timeout`")?;
    // With -v, Go names each package when it has compiled it.
    let mut compiled = 0_u32;
    let mut complaint = None;
    let lines = BufReader::new(child.stderr.take().context("the output was piped")?).lines();
    for line in lines {
        let line = line?;
        if line.starts_with("go: downloading ") {
            continue;
        }
        if line.contains(' ') {
            // What stands after a `#` is only the package that the complaint is about.
            if !line.starts_with('#') {
                complaint.get_or_insert(line);
            }
            continue;
        }
        compiled += 1;
        if compiled.is_multiple_of(200) {
            let seconds = began.elapsed().as_secs();
            eprintln!("  {compiled} of about {count} packages after {seconds} s");
        }
    }
    let status = child.wait()?;
    match complaint {
        _ if status.success() => Ok(()),
        _ if status.code() == Some(124) => bail!("Go took more than {PATIENCE} seconds"),
        Some(line) => bail!("{line}"),
        None => bail!("Go failed ({status})"),
    }
}
