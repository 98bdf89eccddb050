//! The buses of the cluster. The first node that names a bus defines it for the cluster.

use super::{
    Store,
    engine::{args, json, statements},
    error::StoreError,
};
use crate::domain::{bus::BusDefinition, event::NodeRef};

statements! {
    RECORD = "INSERT INTO bus (name, definition, recorded_by, recorded_on) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    BY_NAME = "SELECT definition FROM bus WHERE name = $1";
    ALL = "SELECT definition FROM bus ORDER BY name";
}

impl Store {
    /// Records a bus, unless it is recorded already. Returns the cluster's definition of the bus,
    /// which may differ.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn record_bus(
        &self,
        bus: &BusDefinition,
        by: &NodeRef,
    ) -> Result<BusDefinition, StoreError> {
        let name = bus.name.as_str();
        let engine = &self.inner.engine;
        engine.write(RECORD, args![name, json(bus), by.id.as_str(), by.host.as_str()]).await?;
        let rows = engine.read(BY_NAME, args![name]).await?;
        let gone = || StoreError::Corrupt { what: format!("bus {name} was recorded and is gone") };
        rows.first().ok_or_else(gone)?.record("definition")
    }

    /// The buses, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn buses(&self) -> Result<Vec<BusDefinition>, StoreError> {
        let rows = self.inner.engine.read(ALL, &[]).await?;
        rows.iter().map(|row| row.record("definition")).collect()
    }
}
