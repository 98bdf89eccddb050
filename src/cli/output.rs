//! Output of commands: the server's JSON unchanged, or tables for people.

use super::{error::CliError, terminal::clean};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::{self, Write};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// Width of tables when standard output is not a terminal.
const WIDTH: u16 = 100;

/// Form in which a command prints answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    // The help of --output explains the values. Help on each value would make all help verbose.
    #[default]
    Table,
    Json,
}

/// Writes to standard output, and ends the last line if the text does not.
///
/// # Errors
/// [`CliError::Closed`] when the reader closed the output, such as `head`.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    write_to(io::stdout().lock(), text)
}

fn write_to(mut out: impl Write, text: &str) -> Result<(), CliError> {
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CliError::Closed),
        Err(error) => Err(CliError::Failed(format!("the output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// JSON value as a table shows it.
#[must_use]
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => clean(&in_seconds(text).unwrap_or_else(|| text.clone())),
        Value::Array(values) if values.iter().all(|value| !value.is_object()) => {
            values.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => clean(&other.to_string()),
    }
}

/// Time in UTC, cut to seconds. `None` for a text that is not a time.
fn in_seconds(text: &str) -> Option<String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(time::UtcOffset::UTC);
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).ok()
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table
}

fn text_of(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Table with titles, or the text `none` when there are no rows.
#[must_use]
pub(super) fn table<R: Into<Vec<String>>>(
    titles: &[&str],
    rows: impl IntoIterator<Item = R>,
    none: &str,
) -> String {
    let mut table = plain();
    table.set_header(titles);
    for row in rows {
        table.add_row(row.into());
    }
    // People copy ids and compare times, so these two columns never wrap.
    for (title, column) in titles.iter().zip(table.column_iter_mut()) {
        if ["ID", "FAILED"].contains(title) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    if table.is_empty() { none.to_owned() } else { text_of(table) }
}

/// Table of a JSON list. A column is a title and a JSON pointer into an entry.
#[must_use]
pub(super) fn columns(list: &Value, columns: &[(&str, &str)], none: &str) -> String {
    let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    let rows = list.as_array().into_iter().flatten().map(|entry| {
        let cells = columns.iter().map(|(_, pointer)| entry.pointer(pointer).map(cell));
        cells.map(Option::unwrap_or_default).collect::<Vec<_>>()
    });
    table(&titles, rows, none)
}

/// JSON object as names and values: the members of `first`, then the others. A nested member is
/// named by its path with dots; lists of objects follow below as tables.
#[must_use]
pub(super) fn details(object: &Value, first: &[&str]) -> String {
    let mut rows = Vec::new();
    let mut lists = Vec::new();
    let members = object.as_object().into_iter().flatten();
    let others = members.map(|(name, _)| name.as_str()).filter(|name| !first.contains(name));
    for name in first.iter().copied().chain(others) {
        if let Some(value) = object.get(name) {
            flatten(name, value, &mut rows, &mut lists);
        }
    }
    let mut names = plain();
    for row in rows {
        names.add_row(row);
    }
    let mut text = text_of(names);
    for (name, entries) in lists {
        let mut titles: Vec<&str> = Vec::new();
        for key in entries.iter().filter_map(Value::as_object).flat_map(|entry| entry.keys()) {
            if !titles.contains(&key.as_str()) {
                titles.push(key);
            }
        }
        let row = |entry: &Value| titles.iter().map(|name| cell(&entry[*name])).collect::<Vec<_>>();
        let upper: Vec<_> = titles.iter().map(|title| title.to_uppercase()).collect();
        let upper: Vec<_> = upper.iter().map(String::as_str).collect();
        let below = table(&upper, entries.iter().map(row), "");
        text.extend(["\n\n", &clean(&name), "\n", &below]);
    }
    text
}

fn flatten<'a>(
    name: &str,
    value: &'a Value,
    rows: &mut Vec<[String; 2]>,
    lists: &mut Vec<(String, &'a [Value])>,
) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (member, value) in members {
                flatten(&format!("{name}.{member}"), value, rows, lists);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            lists.push((name.to_owned(), entries));
        }
        other => rows.push([clean(name), cell(other)]),
    }
}

#[cfg(test)]
mod tests;
