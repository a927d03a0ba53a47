//! No circle among the files of a crate: a file can be read, tested and moved with what lies beneath it alone.
//!
//! An arrow goes from a file to each file whose items it names by `use` or by a path; what is re-exported is
//! followed to where it stands, and re-exporting is no need of its own. Tests may look anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

type Segments = Vec<String>;

/// A module of a crate.
#[derive(Default)]
struct Module {
    file: PathBuf,
    items: BTreeSet<String>,
    /// Other names by which items are known here, each with where it points.
    aliases: BTreeMap<String, Segments>,
    /// Whole modules whose names are known here.
    globs: Vec<Segments>,
    /// Paths that its code names, as they stand.
    paths: BTreeSet<Segments>,
}

/// The modules of a crate by their path.
type Modules = BTreeMap<Segments, Module>;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

// === reading ===

struct Paths<'a>(&'a mut BTreeSet<Segments>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    // Those have modules of their own.
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    // `pub(super)` names nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.0.insert(segments.collect());
        syn::visit::visit_path(self, path);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is there for tests or documentation alone.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.path().is_ident("cfg").then_some(&attribute.meta);
        let Some(syn::Meta::List(condition)) = condition else {
            return attribute.path().is_ident("test");
        };
        let tokens = condition.tokens.to_string();
        tokens == "test" || tokens == "doctest"
    })
}

/// Reads a file and those of the modules that it declares.
fn read(file: &Path, path: &Segments, modules: &mut Modules) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let is_root = path.is_empty() || file.ends_with("mod.rs");
    let folder = match is_root {
        true => file.parent().expect("a file lies in a folder").to_owned(),
        false => file.with_extension(""),
    };
    read_items(&parsed.items, file, &folder, path, modules);
}

fn read_items(items: &[syn::Item], file: &Path, folder: &Path, path: &Segments, modules: &mut Modules) {
    let mut module = Module {
        file: file.to_owned(),
        ..Module::default()
    };
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        if !matches!(item, syn::Item::Use(_)) {
            Paths(&mut module.paths).visit_item(item);
        }
        let name = match item {
            syn::Item::Const(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Fn(item) => &item.sig.ident,
            syn::Item::Static(item) => &item.ident,
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            syn::Item::Use(item) => {
                let (mut named, is_private) =
                    (BTreeSet::new(), matches!(item.vis, syn::Visibility::Inherited));
                uses(&item.tree, &mut Vec::new(), &mut module, &mut named);
                // What is only handed on is no need of this file.
                if is_private {
                    module.paths.extend(named);
                }
                continue;
            }
            syn::Item::Mod(item) => {
                let name = item.ident.to_string();
                let below: Segments = path.iter().cloned().chain([name.clone()]).collect();
                match &item.content {
                    Some((_, items)) => read_items(items, file, &folder.join(&name), &below, modules),
                    None => {
                        let plain = folder.join(format!("{name}.rs"));
                        let nested = folder.join(&name).join("mod.rs");
                        read(if plain.exists() { &plain } else { &nested }, &below, modules);
                    }
                }
                continue;
            }
            _ => continue,
        };
        module.items.insert(name.to_string());
    }
    modules.insert(path.clone(), module);
}

fn uses(tree: &syn::UseTree, before: &mut Segments, module: &mut Module, named: &mut BTreeSet<Segments>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            uses(&path.tree, before, module, named);
            before.pop();
        }
        syn::UseTree::Group(group) => {
            group
                .items
                .iter()
                .for_each(|tree| uses(tree, before, module, named));
        }
        syn::UseTree::Glob(_) => {
            named.insert(before.clone());
            module.globs.push(before.clone());
        }
        syn::UseTree::Name(_) | syn::UseTree::Rename(_) => {
            let (name, known_as) = match tree {
                syn::UseTree::Rename(rename) => (&rename.ident, &rename.rename),
                syn::UseTree::Name(name) => (&name.ident, &name.ident),
                _ => unreachable!("matched above"),
            };
            let mut whole = before.clone();
            if name != "self" {
                whole.push(name.to_string());
            }
            let known_as = match known_as.to_string() {
                name if name == "self" => whole.last().cloned().unwrap_or_default(),
                name => name,
            };
            named.insert(whole.clone());
            module.aliases.insert(known_as, whole);
        }
    }
}

// === arrows ===

/// The file in which stands what `path` names in the module `at`; none if it is not of this crate.
fn resolve(modules: &Modules, at: &Segments, path: &[String], depth: usize) -> Option<PathBuf> {
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
            return Some(module.file.clone());
        }
        if let Some(alias) = module.aliases.get(segment)
            && *alias != path
        {
            let whole: Segments = alias.iter().chain(after).cloned().collect();
            return resolve(modules, &here, &whole, depth + 1);
        }
        let mut globs = module.globs.iter();
        let known = globs.find_map(|glob| {
            let whole: Segments = glob.iter().chain(rest).cloned().collect();
            resolve(modules, &here, &whole, depth + 1)
        });
        // A plain name that is known nowhere is of another crate, or of the language.
        let is_own = !is_plain || here != *at;
        return known.or_else(|| is_own.then(|| module.file.clone()));
    }
    // A module alone is named by `use`; in code a word alone is a variable of the same name.
    (path.len() > 1 && (!is_plain || here != *at)).then(|| modules[&here].file.clone())
}

fn arrows(modules: &Modules) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let mut arrows: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for (at, module) in modules {
        let from = arrows.entry(module.file.clone()).or_default();
        let named = module
            .paths
            .iter()
            .filter_map(|path| resolve(modules, at, path, 0));
        from.extend(named.filter(|file| *file != module.file));
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
        let mut modules = Modules::new();
        read(entry, &Vec::new(), &mut modules);
        for (file, on) in circles(&arrows(&modules)) {
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

/// What the test above stands on: names are followed through `use`, `self`, `super` and re-exports.
#[test]
fn a_circle_is_found_through_a_re_export() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write(
        "lib.rs",
        "mod a; mod b; mod c; pub use b::B; #[cfg(test)] mod tests { use crate::c::C; }",
    );
    write(
        "a.rs",
        "use crate::B; pub struct A(B, crate::Own); pub const NUMBER: u8 = 1;",
    );
    write("b.rs", "use super::c; pub struct B; fn f() -> u8 { c::number() }");
    write("c.rs", "pub fn number() -> u8 { crate::a::NUMBER }");
    let in_circle = || {
        let mut modules = Modules::new();
        read(&folder.path().join("lib.rs"), &Vec::new(), &mut modules);
        let files = circles(&arrows(&modules)).into_keys();
        let names = files.map(|file| file.file_name().expect("a name").to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(in_circle(), ["a.rs", "b.rs", "c.rs"]);
    write("c.rs", "pub fn number() -> u8 { 1 }");
    assert_eq!(in_circle(), [""; 0]);
}
