//! Runs programs in the root of the workspace and says which one failed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// A program with arguments, shown before it runs.
pub(crate) struct Call {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(&'static str, OsString)>,
    directory: PathBuf,
}

/// The cargo that runs this program.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Call {
    call(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args)
}

/// Any program.
pub(crate) fn call(program: impl Into<OsString>) -> Call {
    Call {
        program: program.into(),
        args: Vec::new(),
        envs: Vec::new(),
        directory: root().to_owned(),
    }
}

// === impl Call ===

impl Call {
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.envs.push((name, value.into()));
        self
    }

    /// Where it runs instead of in the root of the workspace.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.to_owned();
        self
    }

    /// The command to spawn, announced on standard error.
    pub(crate) fn announced(&self) -> Command {
        eprintln!("$ {}", self.line());
        self.command()
    }

    /// The command to spawn, not announced.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end; failing is an error.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self
            .announced()
            .status()
            .with_context(|| format!("cannot run `{}`", self.line()))?;
        ensure!(status.success(), "`{}` failed ({status})", self.line());
        Ok(())
    }

    /// Whether it runs and succeeds, without showing anything.
    pub(crate) fn succeeds(&self) -> bool {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// What it writes to standard output, without showing anything; failing is an error with the first line of
    /// its complaint.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self
            .command()
            .output()
            .with_context(|| format!("cannot run `{}`", self.line()))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            match complaint.lines().find(|line| !line.trim().is_empty()) {
                Some(first) => bail!("{}", first.trim()),
                None => bail!("`{}` failed ({})", self.line(), output.status),
            }
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn line(&self) -> String {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program);
        let words = std::iter::once(program).chain(self.args.iter().map(OsString::as_os_str));
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }
}

/// Whether arguments for cargo already say which packages they are for.
pub(crate) fn selects_packages(args: &[String]) -> bool {
    let ours = args.iter().take_while(|arg| *arg != "--");
    ours.into_iter()
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package") || arg == "--workspace")
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_given_replaces_the_workspace() {
        let check =
            |args: &[&str]| selects_packages(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        assert!(check(&["-p", "fleetgauge"]));
        assert!(check(&["--package=fleetgauge"]));
        assert!(!check(&["cache"]));
        assert!(!check(&["cache", "--", "-p"]));
    }
}
