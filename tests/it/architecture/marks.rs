//! The marks of style: how long files and functions are.

use super::{Source, assert_none, holds, source};
use syn::{spanned::Spanned, visit::Visit};

/// Lines of a file that hold code: neither blank, nor a comment, nor part of an inline test.
fn code_lines(source: &Source) -> usize {
    let text = source.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    text.lines().filter(code).count()
}

/// Collects the functions of a file that are too long.
#[derive(Default)]
struct Long(Vec<String>);

/// The most lines of a function, comments included.
const FUNCTION: usize = 60;

impl Long {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line + 1 - signature.span().start().line;
        if lines > FUNCTION {
            self.0.push(format!("{} has {lines} lines", signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Long {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }
}

fn functions_are_short(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        let mut long = Long::default();
        long.visit_file(&source.items);
        broken.extend(long.0.iter().map(|function| format!("{}: {function}", source.path)));
    }
    broken
}

fn files_are_short(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut sizes: Vec<(usize, &str)> =
        sources.iter().map(|source| (code_lines(source), &*source.path)).collect();
    sizes.sort_unstable();
    if let Some((lines, path)) = sizes.last().filter(|(lines, _)| *lines > 500) {
        broken.push(format!("{path} has {lines} lines of code"));
    }
    for (share, most) in [(50, 100), (90, 220)] {
        let (lines, _) = sizes[(sizes.len() - 1) * share / 100];
        if lines > most {
            broken.push(format!("{share} % of the files reach {lines} lines of code, past {most}"));
        }
    }
    broken
}

#[test]
fn no_function_has_more_than_sixty_lines() {
    let text = format!("fn f() {{\n{}}}", "    g();\n".repeat(60));
    holds(functions_are_short, &[&[("src/node.rs", &text)]]);
}

#[test]
fn most_files_are_short_and_none_is_long() {
    let (long, middling) = ("fn f() {}\n".repeat(501), "fn f() {}\n".repeat(101));
    let two = [("src/node.rs", &*middling), ("src/bus.rs", &*middling)];
    holds(files_are_short, &[&[("src/node.rs", &long)], &two]);
}

#[test]
fn no_test_is_switched_off() {
    let ignored = |text: &str| text.lines().any(|line| line.trim_start().starts_with("#[ignore"));
    assert!(ignored("#[test]\n#[ignore = \"slow\"]\nfn f() {}"));
    let found = source::texts(&["core", "src", "tests", "xtask", "benches", "examples"], &["rs"]);
    let found = found.iter().filter(|(_, text)| ignored(text));
    assert_none(&found.map(|(path, _)| path.clone()).collect::<Vec<_>>());
}
