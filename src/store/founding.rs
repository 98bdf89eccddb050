//! The settings with which a cluster begins: those of its first node.

use super::{
    Store,
    engine::{args, json, statements},
    error::StoreError,
};
use crate::domain::cluster::{ClusterSettings, RecordedSettings};

statements! {
    /// Changes nothing when another node was first.
    FOUND = "UPDATE identity SET settings = $1, settings_by = $2, settings_at = (SELECT now FROM clock) WHERE settings IS NULL";
    FOUNDING = "SELECT settings, settings_by, settings_at FROM identity WHERE settings IS NOT NULL";
}

impl Store {
    /// The settings with which the cluster begins. A cluster without settings gets `own`, by
    /// `author`; of two nodes that start at the same time, one is the author.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn found_cluster(
        &self,
        own: &ClusterSettings,
        author: &str,
    ) -> Result<RecordedSettings, StoreError> {
        if let Some(founding) = self.founding().await? {
            return Ok(founding);
        }
        self.inner.engine.write(FOUND, args![json(own), author]).await?;
        let lacking = || StoreError::Corrupt { what: "the cluster has no settings".into() };
        self.founding().await?.ok_or_else(lacking)
    }

    /// The settings with which the cluster begins; `None` before its first node has started.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn founding(&self) -> Result<Option<RecordedSettings>, StoreError> {
        let rows = self.inner.engine.read(FOUNDING, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(RecordedSettings {
            settings: row.record("settings")?,
            version: 0,
            at: row.time("settings_at")?,
            by: row.text("settings_by")?,
            reason: None,
        }))
    }
}
