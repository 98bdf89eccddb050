//! Reading rows. A column with an unexpected value is an error, and is never replaced by a default.

use super::error::StoreError;
use crate::clock::from_micros;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{
    Decode, Postgres, Row as _, Sqlite, Type, postgres::PgRow, sqlite::SqliteRow, types::Json,
};
use time::OffsetDateTime;
use uuid::Uuid;

/// A row of either database.
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

fn corrupt(column: &str, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: format!("column {column}: {problem}") }
}

impl Row {
    fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Postgres>
            + Type<Postgres>
            + for<'r> Decode<'r, Sqlite>
            + Type<Sqlite>,
    {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
        .map_err(|error| corrupt(column, error))
    }

    pub(super) fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.get(column)
    }

    /// Reads a count, which is never negative.
    pub(super) fn count(&self, column: &str) -> Result<u64, StoreError> {
        let value = self.int(column)?;
        value.try_into().map_err(|_| corrupt(column, format_args!("{value} is negative")))
    }

    /// Reads a count that fits 32 bits.
    pub(super) fn small(&self, column: &str) -> Result<u32, StoreError> {
        let value = self.int(column)?;
        value.try_into().map_err(|_| corrupt(column, format_args!("{value} is out of range")))
    }

    pub(super) fn opt_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }

    pub(super) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub(super) fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    pub(super) fn uuid(&self, column: &str) -> Result<Uuid, StoreError> {
        self.get(column)
    }

    pub(super) fn opt_uuid(&self, column: &str) -> Result<Option<Uuid>, StoreError> {
        self.get(column)
    }

    pub(super) fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        self.get(column)
    }

    pub(super) fn json(&self, column: &str) -> Result<Value, StoreError> {
        Ok(self.get::<Json<Value>>(column)?.0)
    }

    /// Reads a record that was stored as JSON.
    pub(super) fn record<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_value(self.json(column)?).map_err(|error| corrupt(column, error))
    }

    /// Reads a value that was stored as the text of its JSON form, such as a state.
    pub(super) fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_value(Value::String(self.text(column)?))
            .map_err(|error| corrupt(column, error))
    }

    pub(super) fn time(&self, column: &str) -> Result<OffsetDateTime, StoreError> {
        Ok(from_micros(self.int(column)?))
    }

    pub(super) fn opt_time(&self, column: &str) -> Result<Option<OffsetDateTime>, StoreError> {
        Ok(self.opt_int(column)?.map(from_micros))
    }
}

/// Writes a state as the text of its JSON form.
pub(super) fn word(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(Value::String(word)) => word,
        other => unreachable!("a state is written as one word, not {other:?}"),
    }
}
