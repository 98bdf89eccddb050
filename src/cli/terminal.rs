//! Text for a person at a terminal: standard error, and text from outside made harmless.

use std::io::{self, Write};

/// Prints an error on standard error. A closed standard error is not a problem of the command.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {text}");
}

/// Prints a hint on standard error, such as that a command waits.
pub(super) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Replaces the control characters of a text from outside, because they could drive the terminal.
#[must_use]
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
