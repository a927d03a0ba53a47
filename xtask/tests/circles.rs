//! No circle among the files of a crate: a file can be read, tested and moved with what lies beneath it alone.
//!
//! An arrow goes from a file to each file whose items it names by `use` or by a path, in macros and attributes too, and to
//! each file that hands them on by a re-export; re-exporting is no need of its own. An arrow goes as well to the file of a
//! function that is called by `self`, `Self` or its type's name. Methods of other values are not followed, since their types
//! are not known here. Tests may look anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::module::{Modules, Segments, modules};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

// === arrows ===

/// What a path leads to.
struct Found {
    /// The module in which it stands.
    module: Segments,
    /// Its name there; none if it is the module itself, or something that the module does not show.
    item: Option<String>,
    /// The modules whose re-exports led to it.
    through: Vec<Segments>,
}

/// What `path` names in the module `at`; none if it is not of this crate.
fn resolve(modules: &Modules, at: &Segments, path: &[String], depth: usize) -> Option<Found> {
    // An alias of an alias may lead in a circle of its own.
    if depth > 20 {
        return None;
    }
    let (first, rest) = path.split_first()?;
    let (mut here, mut rest) = match first.as_str() {
        "crate" => (Vec::new(), rest),
        "self" => (at.clone(), rest),
        "super" => (at.split_last()?.1.to_vec(), rest),
        _ => (at.clone(), path),
    };
    let is_plain = rest.len() == path.len();
    let found = |module: Segments, item: Option<&String>| Found {
        module,
        item: item.cloned(),
        through: Vec::new(),
    };
    while let Some((segment, after)) = rest.split_first() {
        if segment == "super" {
            here.pop();
            rest = after;
            continue;
        }
        let below: Segments = here.iter().cloned().chain([segment.clone()]).collect();
        if modules.contains_key(&below) {
            here = below;
            rest = after;
            continue;
        }
        let module = &modules[&here];
        if module.items.contains(segment) {
            return Some(found(here, Some(segment)));
        }
        let handed_on = |whole: Segments| {
            let mut known = resolve(modules, &here, &whole, depth + 1)?;
            known.through.push(here.clone());
            Some(known)
        };
        if let Some(alias) = module.aliases.get(segment)
            && *alias != path
        {
            return handed_on(alias.iter().chain(after).cloned().collect());
        }
        let mut globs = module.globs.iter();
        let known = globs.find_map(|glob| handed_on(glob.iter().chain(rest).cloned().collect()));
        // A plain name that is known nowhere is of another crate, or of the language.
        let is_own = !is_plain || here != *at;
        return known.or_else(|| is_own.then(|| found(here, None)));
    }
    // A module alone is named by `use`; in code a word alone is a variable of the same name.
    (path.len() > 1 && (!is_plain || here != *at)).then(|| found(here, None))
}

/// The modules that implement the functions of a type, by the module and name of the type and by the function.
type Methods = BTreeMap<(Segments, String), BTreeMap<String, Segments>>;

fn methods(modules: &Modules) -> Methods {
    let mut methods = Methods::new();
    for (at, module) in modules {
        for (own_type, functions) in &module.methods {
            let Some(Found {
                module: of,
                item: Some(name),
                ..
            }) = resolve(modules, at, own_type, 0)
            else {
                continue;
            };
            let functions = functions.iter().map(|function| (function.clone(), at.clone()));
            methods.entry((of, name)).or_default().extend(functions);
        }
    }
    methods
}

fn arrows(modules: &Modules) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let methods = methods(modules);
    let mut arrows: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for (at, module) in modules {
        let named = module
            .paths
            .iter()
            .filter_map(|path| resolve(modules, at, path, 0));
        let named = named.flat_map(|found| [found.module].into_iter().chain(found.through));
        let called = module.calls.iter().filter_map(|(of, function)| {
            let found = resolve(modules, at, of, 0)?;
            methods.get(&(found.module, found.item?))?.get(function).cloned()
        });
        let files = named.chain(called).map(|module| modules[&module].file.clone());
        let from = arrows.entry(module.file.clone()).or_default();
        from.extend(files.filter(|file| *file != module.file));
    }
    arrows
}

fn reached_from<'a>(
    file: &'a PathBuf,
    arrows: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>,
) -> BTreeSet<&'a PathBuf> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![file]);
    while let Some(file) = next.pop() {
        let on = arrows.get(file).into_iter().flatten();
        next.extend(on.filter(|file| seen.insert(*file)));
    }
    seen
}

/// The files from which a way along the arrows leads back to them, each with the next files on such ways.
fn circles(arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let reached: BTreeMap<_, _> = arrows
        .keys()
        .map(|file| (file, reached_from(file, arrows)))
        .collect();
    let leads_back = |from: &PathBuf, on: &PathBuf| reached.get(on).is_some_and(|seen| seen.contains(from));
    let in_circle = arrows.iter().map(|(file, on)| {
        let on: BTreeSet<_> = on.iter().filter(|on| leads_back(file, on)).cloned().collect();
        (file.clone(), on)
    });
    in_circle.filter(|(_, on)| !on.is_empty()).collect()
}

#[test]
fn the_files_of_a_crate_lean_on_each_other_in_no_circle() {
    let root = root();
    let mut crates: Vec<_> = fs::read_dir(root.join("crates"))
        .expect("there are crates")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    crates.extend([root.join("testkit"), root.join("xtask")]);
    let mut found = Vec::new();
    for folder in crates {
        let entry = ["lib.rs", "main.rs"].map(|name| folder.join("src").join(name));
        let Some(entry) = entry.iter().find(|file| file.exists()) else {
            continue;
        };
        for (file, on) in circles(&arrows(&modules(entry))) {
            let name = |file: &Path| {
                file.strip_prefix(&root)
                    .expect("under the root")
                    .display()
                    .to_string()
            };
            let on: Vec<_> = on.iter().map(|file| name(file)).collect();
            found.push(format!("{} leans on {}", name(&file), on.join(", ")));
        }
    }
    assert!(found.is_empty(), "files in a circle:\n{}", found.join("\n"));
}

/// What the test above stands on.
#[test]
fn a_circle_is_found_however_it_is_closed() {
    let check = |expected: &[&str], files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text).expect("written");
        }
        let found = circles(&arrows(&modules(&folder.path().join("lib.rs"))));
        let names = found
            .keys()
            .map(|file| file.strip_prefix(folder.path()).expect("under the root"));
        assert_eq!(
            names.collect::<Vec<_>>(),
            expected.iter().map(Path::new).collect::<Vec<_>>(),
            "{files:#?}"
        );
    };
    // By `use`, `self`, `super` and re-exports.
    let root = "mod a; mod b; mod c; pub use b::B; #[cfg(test)] mod tests { use crate::c::C; }";
    let a = "use crate::B; pub struct A(B, crate::Own); pub const NUMBER: u8 = 1;";
    let b = "use super::c; pub struct B; fn f() -> u8 { c::number() }";
    let files = |c| [("lib.rs", root), ("a.rs", a), ("b.rs", b), ("c.rs", c)];
    check(
        &["a.rs", "b.rs", "c.rs"],
        &files("pub fn number() -> u8 { crate::a::NUMBER }"),
    );
    check(&[], &files("pub fn number() -> u8 { 1 }"));
    // What a file hands on is had from that file, which has needs of its own.
    let files = |flags| {
        [
            ("lib.rs", "mod config; mod failure; mod flags;"),
            (
                "config.rs",
                "mod log; pub use log::Level; fn f() -> crate::failure::Failure { loop {} }",
            ),
            ("config/log.rs", "pub struct Level;"),
            ("failure.rs", "pub struct Failure(crate::flags::Flags);"),
            ("flags.rs", flags),
        ]
    };
    let circle = ["config.rs", "failure.rs", "flags.rs"];
    check(
        &circle,
        &files("use crate::config::Level; pub struct Flags(Level);"),
    );
    check(&circle, &files("use crate::config::*; pub struct Flags(Level);"));
    check(
        &[],
        &files("use crate::config::log::Level; pub struct Flags(Level);"),
    );
    // Within functions, macros and attributes, and by macros.
    for a in [
        "pub struct A; fn f() { use crate::b::B; }",
        "pub struct A; fn f() { log!(\"{}\", [crate::b::B::new()]) }",
        "#[derive(X)] pub struct A { #[with(by = crate::b::B)] field: u8 }",
        "pub struct A; fn f() { crate::b::b!() }",
    ] {
        let b = "pub struct B(crate::a::A); macro_rules! b { () => {} } pub(crate) use b;";
        check(
            &["a.rs", "b.rs"],
            &[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)],
        );
    }
    // A type whose functions stand elsewhere leans on those that it calls.
    for call in [
        "self.work()",
        "Self::work(self)",
        "A::work(self)",
        "log!(\"{}\", self.work())",
    ] {
        let a = format!("mod work; pub struct A; impl A {{ fn call(&self) {{ {call} }} }}");
        let files = |work| [("lib.rs", "mod a;"), ("a.rs", &*a), ("a/work.rs", work)];
        check(
            &["a/work.rs", "a.rs"],
            &files("use super::A; impl A { pub fn work(&self) {} }"),
        );
        check(&[], &files("use super::A; impl A { pub fn other(&self) {} }"));
    }
}
