//! What the modules of a crate declare, and what their code names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::Visit;

pub(crate) type Segments = Vec<String>;

/// The modules of a crate by their path.
pub(crate) type Modules = BTreeMap<Segments, Module>;

/// A module of a crate.
#[derive(Default)]
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    pub(crate) items: BTreeSet<String>,
    /// Other names by which items are known here, each with where it points.
    pub(crate) aliases: BTreeMap<String, Segments>,
    /// Whole modules whose names are known here.
    pub(crate) globs: Vec<Segments>,
    /// Paths that its code names, as they stand.
    pub(crate) paths: BTreeSet<Segments>,
    /// What it implements of its own accord: a type, as it is named here, and the functions.
    pub(crate) methods: Vec<(Segments, BTreeSet<String>)>,
    /// Methods that are called on a type, as it is named here: by `self`, or by `Self` or the type's name.
    pub(crate) calls: BTreeSet<(Segments, String)>,
}

/// The modules of the crate whose root is `file`.
pub(crate) fn modules(file: &Path) -> Modules {
    let mut modules = Modules::new();
    read(file, &Vec::new(), &mut modules);
    modules
}

/// Reads a file and those of the modules that it declares.
fn read(file: &Path, path: &Segments, modules: &mut Modules) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let is_root = path.is_empty() || file.ends_with("mod.rs");
    let folder = match is_root {
        true => beside(file).to_owned(),
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
        let name = match item {
            syn::Item::Const(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Fn(item) => &item.sig.ident,
            syn::Item::Static(item) => &item.ident,
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            syn::Item::Use(item) => {
                let is_private = matches!(item.vis, syn::Visibility::Inherited);
                let named = uses(&item.tree, &mut module);
                // What is only handed on is no need of this file.
                if is_private {
                    module.paths.extend(named);
                }
                continue;
            }
            syn::Item::Mod(item) => {
                let name = item.ident.to_string();
                let below: Segments = path.iter().cloned().chain([name.clone()]).collect();
                let given = path_of(&item.attrs).map(|given| beside(file).join(given));
                match &item.content {
                    Some((_, items)) => {
                        let folder = given.unwrap_or_else(|| folder.join(&name));
                        read_items(items, file, &folder, &below, modules);
                    }
                    None => {
                        let plain = folder.join(format!("{name}.rs"));
                        let nested = folder.join(&name).join("mod.rs");
                        let usual = || if plain.exists() { plain } else { nested };
                        read(&given.unwrap_or_else(usual), &below, modules);
                    }
                }
                continue;
            }
            _ => {
                Code::new(&mut module).visit_item(item);
                if let syn::Item::Macro(syn::ItemMacro {
                    ident: Some(name), ..
                }) = item
                {
                    module.items.insert(name.to_string());
                }
                continue;
            }
        };
        module.items.insert(name.to_string());
        Code::new(&mut module).visit_item(item);
    }
    modules.insert(path.clone(), module);
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

/// What `#[path = "…"]` says.
fn path_of(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            path,
            value:
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }),
            ..
        }) if path.is_ident("path") => Some(text.value()),
        _ => None,
    })
}

/// The folder in which a file lies.
fn beside(file: &Path) -> &Path {
    file.parent().expect("a file lies in a folder")
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

// === use ===

/// Notes the names that a `use` makes known, and gives the paths that it names.
fn uses(tree: &syn::UseTree, module: &mut Module) -> BTreeSet<Segments> {
    let mut named = BTreeSet::new();
    note_uses(tree, &mut Vec::new(), module, &mut named);
    named
}

fn note_uses(
    tree: &syn::UseTree,
    before: &mut Segments,
    module: &mut Module,
    named: &mut BTreeSet<Segments>,
) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            note_uses(&path.tree, before, module, named);
            before.pop();
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                note_uses(tree, before, module, named);
            }
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

// === code ===

/// Walks through code and notes what it names.
struct Code<'a> {
    module: &'a mut Module,
    /// The type whose functions are being walked through.
    own_type: Option<Segments>,
}

impl<'a> Code<'a> {
    fn new(module: &'a mut Module) -> Self {
        Self {
            module,
            own_type: None,
        }
    }

    /// Macros and attributes take code as mere words: each sequence of words joined by `::` counts as a path.
    fn words(&mut self, mut cursor: Cursor<'_>) {
        let mut path = Segments::new();
        while !cursor.eof() {
            if let Some((word, after)) = cursor.ident() {
                path.push(word.to_string());
                let colons = after.punct().filter(|(colon, _)| colon.as_char() == ':');
                let colons = colons.and_then(|(_, after)| after.punct());
                match colons.filter(|(colon, _)| colon.as_char() == ':') {
                    Some((_, after)) => cursor = after,
                    None => {
                        if word == "self"
                            && let Some(method) = called(after)
                        {
                            self.call(method);
                        }
                        self.path(std::mem::take(&mut path));
                        cursor = after;
                    }
                }
                continue;
            }
            // After `::` may stand `<` or `{`.
            if !path.is_empty() {
                self.path(std::mem::take(&mut path));
            }
            if let Some((inside, _, _, after)) = cursor.any_group() {
                self.words(inside);
                cursor = after;
            } else if let Some((_, after)) = cursor.token_tree() {
                cursor = after;
            }
        }
    }

    fn path(&mut self, path: Segments) {
        if let [first, method] = &path[..]
            && first == "Self"
        {
            self.call(method.clone());
        } else if let [own_type @ .., method] = &path[..]
            && !own_type.is_empty()
        {
            self.module.calls.insert((own_type.to_vec(), method.clone()));
        }
        self.module.paths.insert(path);
    }

    fn call(&mut self, method: String) {
        if let Some(own_type) = &self.own_type {
            self.module.calls.insert((own_type.clone(), method));
        }
    }
}

impl<'ast> Visit<'ast> for Code<'_> {
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

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let mut of = &*item.self_ty;
        while let syn::Type::Reference(reference) = of {
            of = &reference.elem;
        }
        self.own_type = match of {
            syn::Type::Path(path) => Some(segments(&path.path)),
            _ => None,
        };
        if let Some(own_type) = &self.own_type
            && item.trait_.is_none()
        {
            let functions = item.items.iter().filter_map(|item| match item {
                syn::ImplItem::Fn(item) if !is_test(&item.attrs) => Some(item.sig.ident.to_string()),
                _ => None,
            });
            self.module.methods.push((own_type.clone(), functions.collect()));
        }
        syn::visit::visit_item_impl(self, item);
        self.own_type = None;
    }

    // Those have modules of their own.
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    // One within a function.
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let named = uses(&item.tree, self.module);
        self.module.paths.extend(named);
    }

    // `pub(super)` names nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(segments(path));
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if let syn::Expr::Path(receiver) = &*call.receiver
            && receiver.path.is_ident("self")
        {
            self.call(call.method.to_string());
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        syn::visit::visit_macro(self, called);
        self.words(TokenBuffer::new2(called.tokens.clone()).begin());
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        syn::visit::visit_meta_list(self, list);
        self.words(TokenBuffer::new2(list.tokens.clone()).begin());
    }
}

/// The method that is called by what follows a `self` in a macro.
fn called(after: Cursor<'_>) -> Option<String> {
    let (dot, after) = after.punct()?;
    let (method, after) = after.ident()?;
    let is_call = dot.as_char() == '.' && after.any_group().is_some();
    is_call.then(|| method.to_string())
}

fn segments(path: &syn::Path) -> Segments {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect()
}
