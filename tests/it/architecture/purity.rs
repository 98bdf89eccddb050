//! The core does no I/O, waits for nothing and reads no clock. Its manifest names no library that
//! could; this holds the same of the standard library.

use super::{Source, holds};
use syn::visit::Visit;

/// Parts of the standard library that reach outside.
const OUTSIDE: [&str; 6] =
    ["std::env", "std::fs", "std::io", "std::net", "std::process", "std::thread"];

/// Finds what waits or asks for the time.
#[derive(Default)]
struct Impure(Vec<&'static str>);

impl<'ast> Visit<'ast> for Impure {
    fn visit_expr_await(&mut self, waiting: &'ast syn::ExprAwait) {
        self.0.push("waits");
        syn::visit::visit_expr_await(self, waiting);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() {
            self.0.push("has an async function");
        }
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let last = path.path.segments.last().filter(|_| path.path.segments.len() > 1);
        if last.is_some_and(|last| {
            ["now", "now_utc", "now_v7", "new_v4"].contains(&&*last.ident.to_string())
        }) {
            self.0.push("reads a clock or makes a random number");
        }
        syn::visit::visit_expr_path(self, path);
    }
}

fn core_is_pure(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("core/")) {
        for outside in OUTSIDE {
            if source.paths.iter().any(|path| path.starts_with(outside)) {
                broken.push(format!("{} names {outside}", source.path));
            }
        }
        let mut impure = Impure::default();
        impure.visit_file(&source.items);
        broken.extend(impure.0.iter().map(|what| format!("{} {what}", source.path)));
    }
    broken
}

#[test]
fn the_core_has_no_io_does_not_wait_and_reads_no_clock() {
    let violations = [
        "use std::{fs::File};",
        "async fn f() {}",
        "fn f() { async { g().await }; }",
        "fn f() { OffsetDateTime::now_utc(); }",
    ];
    let violations = violations.map(|text| [("core/src/domain/roster.rs", text)]);
    holds(core_is_pure, &violations.each_ref().map(|files| &files[..]));
}
