//! The configuration file: settings by the name of their flag, and the tables `[[bus]]` and
//! `[[required]]`.

use super::{
    DEFAULT_BUS,
    error::{ConfigError, Origin},
    flags::keys,
};
use crate::domain::{bus::BusDefinition, listener::ListenerSpec};
use serde_json::{Map, Number};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Configuration file. Its keys are known, and its tables are checked.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// Settings as text, by name.
    pub(super) settings: BTreeMap<String, Vec<String>>,
    pub(super) buses: Vec<BusDefinition>,
    pub(super) required: Vec<ListenerSpec>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            // Only the message, because the error's own text repeats the line and may so show a
            // password.
            let problem = error.message().to_owned();
            ConfigError::NotToml { path: path.to_owned(), line, problem }
        })?;
        let mut file = Self {
            path: path.to_owned(),
            settings: BTreeMap::new(),
            buses: Vec::new(),
            required: Vec::new(),
        };
        for (key, value) in table {
            match key.as_str() {
                "bus" => file.buses = file.tables(&key, value, bus)?,
                "required" => file.required = file.tables(&key, value, required)?,
                known if keys().any(|name| name == known) => {
                    let values = texts(value).map_err(|problem| file.invalid(&key, problem))?;
                    file.settings.insert(key, values);
                }
                _ => {
                    let known = keys().collect::<Vec<_>>().join(", ");
                    let known = format!("{known}, and the tables [[bus]] and [[required]]");
                    return Err(ConfigError::UnknownKey { origin: file.origin(&key), known });
                }
            }
        }
        Ok(file)
    }

    fn tables<T>(
        &self,
        key: &str,
        value: Value,
        read: fn(Map<String, serde_json::Value>) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let Value::Array(entries) = value else {
            return Err(self.invalid(key, format!("must be tables; write [[{key}]]")));
        };
        let entries = entries.into_iter().enumerate().map(|(index, entry)| {
            let Value::Table(table) = entry else {
                return Err(self.invalid(key, format!("must be tables; write [[{key}]]")));
            };
            let name =
                ["group", "class", "name"].iter().find_map(|member| table.get(*member)?.as_str());
            let place = format!("[[{key}]] {}", name.unwrap_or(&format!("number {}", index + 1)));
            json_object(table)
                .and_then(read)
                .map_err(|problem| self.invalid(&place, format!("is refused: {problem}")))
        });
        entries.collect()
    }

    fn origin(&self, key: &str) -> Origin {
        Origin::File { key: key.to_owned(), path: self.path.clone() }
    }

    fn invalid(&self, key: &str, problem: String) -> ConfigError {
        ConfigError::Invalid { origin: self.origin(key), problem }
    }
}

fn texts(value: Value) -> Result<Vec<String>, String> {
    let refused = |found: &Value| {
        format!("is of type {}; write every setting as a text in quotes", found.type_str())
    };
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                other => Err(refused(&other)),
            })
            .collect(),
        other => Err(refused(&other)),
    }
}

fn bus(table: Map<String, serde_json::Value>) -> Result<BusDefinition, String> {
    let bus: BusDefinition =
        serde_json::from_value(table.into()).map_err(|error| error.to_string())?;
    bus.check().map_err(|error| error.to_string())?;
    Ok(bus)
}

fn required(mut table: Map<String, serde_json::Value>) -> Result<ListenerSpec, String> {
    if let Some(class) = table.get("class").cloned() {
        table.entry("group").or_insert(class);
    }
    table.entry("bus").or_insert_with(|| DEFAULT_BUS.into());
    let listener: ListenerSpec =
        serde_json::from_value(table.into()).map_err(|error| error.to_string())?;
    listener.check().map_err(|error| error.to_string())?;
    Ok(listener)
}

fn json_object(table: Table) -> Result<Map<String, serde_json::Value>, String> {
    table.into_iter().map(|(key, value)| Ok((key, json(value)?))).collect()
}

fn json(value: Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Boolean(flag) => flag.into(),
        // JSON has no dates, so a date becomes a text.
        Value::Datetime(time) => time.to_string().into(),
        Value::Float(number) => Number::from_f64(number)
            .ok_or_else(|| format!("{number} cannot be written in JSON"))?
            .into(),
        Value::Array(values) => values.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Table(table) => json_object(table)?.into(),
    })
}
