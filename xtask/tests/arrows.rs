//! Holds the walls between the crates, which `ARCHITECTURE.md` draws: who may depend on whom, and
//! that the core does no I/O. A crate that does not exist yet breaks nothing; one without a row does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

struct Row {
    name: &'static str,
    /// What it may be built on.
    normal: &'static [&'static str],
    /// What its tests, benches and examples may use besides.
    dev: &'static [&'static str],
}

const ARROWS: &[Row] = &[
    Row {
        name: "fleetgauge-syntax",
        normal: &[],
        dev: &[],
    },
    Row {
        name: "fleetgauge-core",
        normal: &["fleetgauge-syntax"],
        dev: &["fleetgauge-testkit"],
    },
    Row {
        name: "fleetgauge-promql",
        normal: &["fleetgauge-core", "fleetgauge-syntax"],
        dev: &["fleetgauge-testkit"],
    },
    Row {
        name: "fleetgauge-sim",
        normal: &["fleetgauge-core"],
        dev: &["fleetgauge-testkit"],
    },
    Row {
        name: "fleetgauge",
        normal: &["fleetgauge-core", "fleetgauge-promql", "fleetgauge-syntax"],
        dev: &["fleetgauge-testkit", "fleetgauge-sim"],
    },
    Row {
        name: "fleetgauge-kube",
        normal: &["fleetgauge-core"],
        dev: &["fleetgauge-testkit", "fleetgauge-testcluster", "fleetgauge-sim"],
    },
    Row {
        name: "fleetgauge-server",
        normal: &[
            "fleetgauge-core",
            "fleetgauge-promql",
            "fleetgauge",
            "fleetgauge-syntax",
        ],
        dev: &["fleetgauge-testkit", "fleetgauge-sim"],
    },
    Row {
        name: "fleetgauge-cli",
        normal: &[
            "fleetgauge-core",
            "fleetgauge-promql",
            "fleetgauge",
            "fleetgauge-kube",
            "fleetgauge-server",
            "fleetgauge-sim",
            "fleetgauge-syntax",
        ],
        dev: &["fleetgauge-testkit", "fleetgauge-testcluster"],
    },
    // It is under the tests of all others, so it can be above none.
    Row {
        name: "fleetgauge-testkit",
        normal: &[],
        dev: &[],
    },
    Row {
        name: "fleetgauge-testcluster",
        normal: &["fleetgauge-testkit"],
        dev: &[],
    },
    Row {
        name: "xtask",
        normal: &[],
        dev: &[],
    },
];

/// Crates that talk to the network, the file system's events or other processes.
const IO_CRATES: &[&str] = &[
    "async-std",
    "axum",
    "curl",
    "hyper",
    "hyper-util",
    "kube",
    "mio",
    "notify",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio-rustls",
    "tonic",
    "tower-http",
    "ureq",
];

/// The features of tokio that do.
const IO_FEATURES: &[&str] = &["fs", "full", "io-std", "net", "process", "signal"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// The dependencies of each workspace crate on others: all, and those not only for its tests.
fn workspace() -> BTreeMap<String, Vec<(String, DependencyKind)>> {
    let manifest = root().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .expect("`cargo metadata` reads this workspace");
    let names: BTreeSet<_> = metadata
        .packages
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let inner = |package: &cargo_metadata::Package| {
        let dependencies = package.dependencies.iter();
        let inner = dependencies.filter(|dependency| names.contains(&dependency.name));
        inner
            .map(|dependency| (dependency.name.clone(), dependency.kind))
            .collect()
    };
    metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), inner(package)))
        .collect()
}

#[test]
fn crates_depend_only_in_the_direction_of_the_arrows() {
    let mut wrong = Vec::new();
    for (name, dependencies) in workspace() {
        let Some(row) = ARROWS.iter().find(|row| row.name == name) else {
            wrong.push(format!(
                "`{name}` has no row in ARROWS: say what it may depend on"
            ));
            continue;
        };
        for (dependency, kind) in dependencies {
            let on = dependency.as_str();
            let dev = kind == DependencyKind::Development;
            // With itself below its tests a crate turns a feature on for them.
            let for_tests = row.dev.contains(&on) || on == name;
            if !(row.normal.contains(&on) || dev && for_tests) {
                wrong.push(format!("`{name}` must not have `{on}` as a {kind} dependency"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Guards the table itself: with a cycle in it, "one direction" would mean nothing.
#[test]
fn the_arrows_point_in_one_direction() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<_> = ARROWS.iter().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|row| {
            let next = !row.normal.iter().all(|on| below.contains(on));
            if !next {
                below.insert(row.name);
            }
            next
        });
        assert!(
            left.len() < before,
            "a cycle among {:?}",
            left.iter().map(|row| row.name).collect::<Vec<_>>()
        );
    }
    let kits = ["fleetgauge-testkit", "fleetgauge-testcluster"];
    for row in ARROWS {
        for on in row.normal {
            let for_tests = kits.contains(on) && !kits.contains(&row.name);
            assert!(!for_tests, "`{}`: `{on}` is for tests", row.name);
            assert_ne!(*on, "xtask", "`{}`", row.name);
        }
    }
}

/// What lies below a package, a line each: library and features.
fn tree(package: &str, features: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--target",
            "all",
        ])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{lib} {f}"])
        .args(features)
        .current_dir(root())
        .output()
        .expect("`cargo tree` runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Who only asks a Prometheus compiles no evaluator, no DNS and no YAML; with query packs besides, YAML and the grammar
/// of PromQL.
#[test]
fn who_asks_a_prometheus_alone_compiles_nothing_for_others() {
    let libraries = |features: &[&str]| -> BTreeSet<String> {
        let tree = tree("fleetgauge", features);
        let names = tree.lines().filter_map(|line| line.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let others = ["fleetgauge_promql", "hickory_resolver", "granit_parser", "regex"];
    let all = libraries(&[]);
    for library in others {
        assert!(
            all.contains(library),
            "{library} is no library of the default features"
        );
    }
    let check = |features: &str, needs: &[&str]| {
        let compiled = libraries(&["--no-default-features", "--features", features]);
        for library in needs {
            assert!(compiled.contains(*library), "{features} lacks {library}");
        }
        for library in others.iter().filter(|library| !needs.contains(library)) {
            assert!(!compiled.contains(*library), "{features} has {library}");
        }
    };
    check("prometheus", &["hyper"]);
    check("packs", &["fleetgauge_syntax", "granit_parser"]);
    check(
        "prometheus,packs",
        &["hyper", "fleetgauge_syntax", "granit_parser"],
    );
}

/// `cargo tree` and not `cargo metadata`: the latter unites the features that all crates ask for.
#[test]
fn the_core_does_no_io() {
    let tree = tree("fleetgauge-core", &["--all-features"]);
    assert!(tree.contains("fleetgauge_core"), "{tree}");
    let mut wrong = BTreeSet::new();
    for line in tree.lines() {
        let (library, features) = line.split_once(' ').unwrap_or((line, ""));
        let name = library.replace('_', "-");
        if IO_CRATES.contains(&name.as_str()) {
            wrong.insert(format!(
                "`fleetgauge-core` must do no I/O, but has `{name}` below it"
            ));
        }
        if name == "tokio" {
            for feature in features
                .split(',')
                .filter(|feature| IO_FEATURES.contains(feature))
            {
                wrong.insert(format!(
                    "`fleetgauge-core` must do no I/O, but has tokio's `{feature}`"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}",
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
}
