//! Source files, parsed, with everything that each imports.

use proc_macro2::{TokenStream, TokenTree};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};
use syn::{Attribute, File, Item, ItemUse, UseTree, visit::Visit};

/// One file of `src` or `core/src`.
#[derive(Clone)]
pub(super) struct Source {
    /// Path from the root of the repository.
    pub(super) path: String,
    /// The text as it is written.
    pub(super) text: String,
    /// The items, without those of tests.
    pub(super) items: File,
    /// Every path that the file names from the root of a crate, such as `crate::bus::Event`: in
    /// nested imports, re-exports, expressions, types and macro calls.
    pub(super) paths: BTreeSet<String>,
}

impl Source {
    /// A file of this path, relative to the root, with this text.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let mut items = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
        items.items.retain(|item| !is_test(attributes(item)));
        let mut imports = Imports { module: module(path), paths: BTreeSet::new() };
        imports.visit_file(&items);
        let paths = imports.paths;
        Self { path: path.to_owned(), text: text.to_owned(), items, paths }
    }

    /// The top-level module that the file belongs to.
    pub(super) fn room(&self) -> &str {
        let inside = self.path.split_once("src/").map_or("", |(_, inside)| inside);
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The rooms that the file imports from.
    pub(super) fn rooms(&self) -> BTreeSet<&str> {
        let inside = self.paths.iter().filter_map(|path| path.strip_prefix("crate::"));
        inside
            .filter_map(|path| path.split("::").next())
            .filter(|room| *room != self.room())
            .collect()
    }
}

/// Every file of the program and of its core, without files that only tests use.
pub(super) fn tree() -> Vec<Source> {
    static TREE: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let texts = TREE.get_or_init(|| texts(&["core/src", "src"], &["rs"]));
    let all: Vec<Source> = texts.iter().map(|(path, text)| Source::new(path, text)).collect();
    let only_tests: BTreeSet<String> = all.iter().flat_map(test_files).collect();
    let of_tests = |path: &str| only_tests.iter().any(|module| path.starts_with(module.as_str()));
    all.into_iter().filter(|source| !of_tests(&source.path)).collect()
}

/// The paths, from the root of the repository, and texts of all files in these places (folders or
/// files) that end in one of these extensions.
pub(super) fn texts(places: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in places {
        collect(&root.join(place), extensions, &mut found);
    }
    let short = |path: PathBuf| path.strip_prefix(root).map(|path| path.display().to_string());
    let texts = found.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a file of the repository can be read");
        (short(path).expect("the file is below the root"), text)
    });
    texts.collect()
}

fn collect(place: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    if place.is_dir() {
        if place.ends_with("target") {
            return;
        }
        for entry in fs::read_dir(place).expect("a folder of the repository can be read") {
            collect(&entry.expect("an entry can be read").path(), extensions, found);
        }
    } else if place.extension().is_some_and(|found| extensions.iter().any(|e| found == *e)) {
        found.push(place.to_owned());
    }
}

/// The beginnings of the paths of the files that a file includes for tests alone.
fn test_files(source: &Source) -> Vec<String> {
    let all = syn::parse_file(&source.text).expect("it was parsed before");
    let stem = source.path.trim_end_matches(".rs").trim_end_matches("/lib");
    let modules = all.items.iter().filter(|item| is_test(attributes(item)));
    let names = modules.filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
        _ => None,
    });
    names.flat_map(|name| [format!("{stem}/{name}.rs"), format!("{stem}/{name}/")]).collect()
}

/// Whether the attributes say `#[cfg(test)]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The module of a file, from the root of its crate.
fn module(path: &str) -> Vec<String> {
    let inside = path.split_once("src/").map_or("", |(_, inside)| inside).trim_end_matches(".rs");
    let mut module = vec!["crate".to_owned()];
    module.extend(inside.split('/').filter(|part| *part != "lib").map(str::to_owned));
    module
}

/// Collects the paths of a file.
struct Imports {
    module: Vec<String>,
    paths: BTreeSet<String>,
}

impl Imports {
    /// Takes in a path, with `self` and `super` resolved. A path of one segment names something of
    /// the same file.
    fn add(&mut self, path: &[String]) {
        let mut resolved = Vec::new();
        for segment in path {
            match segment.as_str() {
                "self" if resolved.is_empty() => resolved.clone_from(&self.module),
                "super" if resolved.is_empty() => {
                    resolved.extend_from_slice(&self.module[..self.module.len() - 1]);
                }
                "super" => drop(resolved.pop()),
                segment => resolved.push(segment.to_owned()),
            }
        }
        if resolved.len() > 1 {
            self.paths.insert(resolved.join("::"));
        }
    }

    fn flatten(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.flatten(&path.tree, before);
                before.pop();
            }
            UseTree::Name(name) if name.ident == "self" => self.add(before),
            UseTree::Name(name) => self.add_last(before, name.ident.to_string()),
            UseTree::Rename(rename) => self.add_last(before, rename.ident.to_string()),
            UseTree::Glob(_) => self.add_last(before, "*".to_owned()),
            UseTree::Group(group) => {
                for item in &group.items {
                    self.flatten(item, before);
                }
            }
        }
    }

    fn add_last(&mut self, before: &mut Vec<String>, last: String) {
        before.push(last);
        self.add(before);
        before.pop();
    }

    /// Finds the paths in the arguments of a macro, which the parser leaves as tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 || path.is_empty() => {
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && colons < 2 => colons += 1,
                other => {
                    self.add(&path);
                    path.clear();
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        _ => {}
                    }
                }
            }
        }
        self.add(&path);
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            self.module.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.flatten(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.add(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }
}

#[test]
fn every_form_of_import_is_seen() {
    let text = r#"
        use crate::{store::{Store, log::Log as Journal}, bus};
        pub use super::sibling::Thing;
        #[cfg(test)] use crate::fixtures::listener;
        #[cfg(test)] mod tests { use crate::hidden::Secret; }
        fn f() -> crate::amqp::Amqp { tracing::info!(of = %crate::clock::now(), "x"); self::inner::g() }
        mod inner { pub use super::super::other::Deep; }
    "#;
    let source = Source::new("src/room/file.rs", text);
    for seen in [
        "crate::store::Store",
        "crate::store::log::Log",
        "crate::bus",
        "crate::room::sibling::Thing",
        "crate::amqp::Amqp",
        "crate::clock::now",
        "crate::room::file::inner::g",
        "crate::room::other::Deep",
    ] {
        assert!(source.paths.contains(seen), "{seen} is not among {:?}", source.paths);
    }
    assert!(!source.paths.iter().any(|path| path.contains("hidden") || path.contains("fixtures")));
    assert_eq!(source.room(), "room");
    assert!(source.rooms().contains("store") && !source.rooms().contains("room"));
}
