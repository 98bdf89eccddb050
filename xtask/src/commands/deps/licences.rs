//! Licences: each crate is offered under licences that Apache-2.0 code may be built with.

use super::BuiltCrate;
use std::{iter::Peekable, str::SplitWhitespace};

/// Licences that ask for no more than attribution, by their SPDX identifiers.
const ALLOWED: [&str; 8] =
    ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];

type Tokens<'a> = Peekable<SplitWhitespace<'a>>;

/// Refuses the crates whose licence is missing, or demands a licence that is not allowed.
pub(super) fn refused(built: &[BuiltCrate]) -> Vec<String> {
    let refused = built.iter().filter(|each| !is_allowed(&each.licence));
    let refusals = refused.map(|each| {
        let BuiltCrate { name, version, licence } = each;
        format!("{name} {version} has the licence {licence:?}, which is not allowed")
    });
    refusals.collect()
}

/// Evaluates an SPDX expression. A slash, as in old manifests, means OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens = spaced.split_whitespace().peekable();
    let allowed = any_of(&mut tokens);
    allowed && tokens.next().is_none()
}

fn any_of(tokens: &mut Tokens<'_>) -> bool {
    let mut allowed = all_of(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        let other = all_of(tokens);
        allowed = allowed || other;
    }
    allowed
}

fn all_of(tokens: &mut Tokens<'_>) -> bool {
    let mut allowed = licence(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        let other = licence(tokens);
        allowed = allowed && other;
    }
    allowed
}

/// A licence, or an expression in parentheses. An exception (WITH) only adds permissions.
fn licence(tokens: &mut Tokens<'_>) -> bool {
    match tokens.next() {
        Some("(") => {
            let allowed = any_of(tokens);
            let closed = tokens.next() == Some(")");
            allowed && closed
        }
        Some(id) => {
            if tokens.next_if_eq(&"WITH").is_some() {
                tokens.next();
            }
            ALLOWED.contains(&id)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_under_another_licence_or_under_none_is_refused() {
        for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND AGPL-3.0", ""] {
            let refusals = refused(&[BuiltCrate::new("a", "1.0.0", expression)]);
            assert_eq!(refusals.len(), 1, "{expression:?}");
        }
    }

    #[test]
    fn a_choice_of_licences_needs_one_that_is_allowed() {
        for expression in [
            "MIT",
            "Unlicense OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(is_allowed(expression), "{expression}");
        }
    }
}
