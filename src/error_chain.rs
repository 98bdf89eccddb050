//! An error and its causes in one line, for logs, statuses and the command line.

use std::error::Error;

/// Joins an error and its sources with `: `. A source whose text the line already has is left out,
/// since some drivers repeat their source in their own message.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_follows_its_error_once() {
        let inner = Layer { text: "refused", source: None };
        let repeated = Layer { text: "no connection: refused", source: Some(Box::new(inner)) };
        let outer = Layer { text: "the broker is away", source: Some(Box::new(repeated)) };
        assert_eq!(error_chain(&outer), "the broker is away: no connection: refused");
    }
}
