//! Every file of tests is part of a binary: one that no `mod` names would never run, and would count as passed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{MetadataCommand, TargetKind};

use crate::module::modules;

/// The files of code in a folder and in those below it.
fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path.canonicalize().expect("it is there"));
        }
    }
}

/// The files of `tests` that are in no binary whose roots are given.
fn left_out(tests: &Path, roots: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    files(tests, &mut found);
    for root in roots {
        for module in modules(root).into_values() {
            found.remove(&module.file.canonicalize().expect("it is there"));
        }
    }
    found
}

#[test]
fn every_file_of_tests_is_part_of_a_binary() {
    let metadata = MetadataCommand::new().exec().expect("cargo knows the workspace");
    let mut looked_at = 0;
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.parent().expect("a folder");
        let tests = folder.join("tests");
        if !tests.exists() {
            continue;
        }
        let with_tests = [TargetKind::Test, TargetKind::Bench];
        let targets = package.targets.iter();
        let targets = targets.filter(|target| target.kind.iter().any(|kind| with_tests.contains(kind)));
        let roots: Vec<PathBuf> = targets.map(|target| target.src_path.clone().into()).collect();
        let left_out = left_out(tests.as_std_path(), &roots);
        assert!(
            left_out.is_empty(),
            "in no binary of {}: {left_out:#?}",
            package.name
        );
        looked_at += 1;
    }
    assert!(looked_at > 5, "{looked_at} crates have tests");
}

#[test]
fn a_file_that_nothing_names_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("written");
    };
    write(
        "main.rs",
        "mod a; mod support { pub mod shared; } #[path = \"elsewhere/c.rs\"] mod c;",
    );
    for name in [
        "a.rs",
        "a/below.rs",
        "support/shared.rs",
        "support/lost.rs",
        "elsewhere/c.rs",
        "alone.rs",
    ] {
        write(name, "");
    }
    let found = left_out(folder.path(), &[folder.path().join("main.rs")]);
    let names = found.iter().filter_map(|file| file.file_name()?.to_str());
    assert_eq!(names.collect::<Vec<_>>(), ["below.rs", "alone.rs", "lost.rs"]);
}
