//! Parsers of values. An error is a text that continues the sentence `--flag …`, because settings
//! come from several sources and only the caller knows the origin.

use crate::domain::{
    name::{GroupName, NameError},
    retention::{DeadLetterQuota, HistoryLimit},
    span::Span,
};
use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf};

/// Length of the longest prefix, in bytes. The prefix is part of every queue's name, which has at
/// most 255 bytes, and bus and group need most of them.
const MAX_PREFIX: usize = 32;

/// Reads an address with its port.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("is {text:?}, not an address and a port such as 127.0.0.1:8000 or [::]:8000")
    })
}

/// Reads a path: any text is one.
#[expect(clippy::unnecessary_wraps, reason = "parsers of settings have one signature")]
pub(super) fn parse_path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// Reads a name. `kind` is what the error calls it.
pub(super) fn parse_name(kind: &'static str, text: &str) -> Result<String, String> {
    // All kinds of names have the same rules and differ only in what the error calls them.
    GroupName::parse(text)
        .map(String::from)
        .map_err(|error| format!("is refused: {}", NameError { kind, ..error }))
}

/// Reads the prefix of the names on the broker.
pub(super) fn parse_prefix(text: &str) -> Result<String, String> {
    if text.contains('.') {
        return Err(format!("is {text:?}; dots separate the prefix from what follows it"));
    }
    if text.len() > MAX_PREFIX {
        return Err(format!("has {} bytes; {MAX_PREFIX} are allowed", text.len()));
    }
    parse_name("prefix", text)
}

/// Fewest and most connections of a node to PostgreSQL. With fewer, requests and the loops of the
/// node would wait for each other.
const DATABASE_CONNECTIONS: RangeInclusive<u32> = 4..=1_000;

/// Reads the most connections of a node to PostgreSQL.
pub(super) fn parse_database_connections(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| DATABASE_CONNECTIONS.contains(number));
    let (fewest, most) = (DATABASE_CONNECTIONS.start(), DATABASE_CONNECTIONS.end());
    number.ok_or_else(|| format!("is {text:?}; it must be a number from {fewest} to {most}"))
}

/// Reads one of several words.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
        format!("is {text:?}; it must be {names}")
    })
}

/// Reads a time span between two limits.
pub(super) fn span_within(text: &str, least: &str, most: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("is refused: {error}"))?;
    let limit = |text: &str| text.parse::<Span>().expect("limits are written as spans");
    if (limit(least)..=limit(most)).contains(&span) {
        return Ok(span);
    }
    Err(format!("is {span}; it must be between {least} and {most}"))
}

/// Reads an age of records: at least an hour, so that a wrong unit does not empty a table.
pub(super) fn parse_age(text: &str) -> Result<Span, String> {
    span_within(text, "1h", "36500d")
}

/// Reads an age and a number of records.
pub(crate) fn parse_history_limit(text: &str) -> Result<HistoryLimit, String> {
    let wrong = || format!("is {text:?}; it must be an age and a number, such as 30d,10000");
    let (age, count) = text.split_once(',').ok_or_else(wrong)?;
    let count = count.trim().parse().map_err(|_| wrong())?;
    Ok(HistoryLimit { age: parse_age(age.trim())?, count })
}

/// Reads a number of dead letters and their size.
pub(crate) fn parse_quota(text: &str) -> Result<DeadLetterQuota, String> {
    let wrong = || format!("is {text:?}; it must be a number and a size, such as 1000000,1GiB");
    let (entries, size) = text.split_once(',').ok_or_else(wrong)?;
    let entries = entries.trim().parse().ok().filter(|entries| *entries > 0).ok_or_else(wrong)?;
    let bytes = parse_size(size.trim()).filter(|bytes| *bytes > 0).ok_or_else(wrong)?;
    Ok(DeadLetterQuota { entries, bytes })
}

/// Units of a size, with their bytes.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
