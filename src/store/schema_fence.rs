//! The end of all writes after a newer hearken changed the schema.

use super::{
    failure::{DriverFailure, NewerSchema},
    migrations::known_step,
};
use std::sync::OnceLock;

/// Keeps a running program from writing a schema that it may not write any more. Migrations go
/// forward only, so the fence stays up until the program ends.
#[derive(Default)]
pub(super) struct SchemaFence(OnceLock<NewerSchema>);

impl SchemaFence {
    /// Takes note of the step that writers must know.
    pub(super) fn note(&self, needed: i64) {
        let known = known_step();
        if needed > known && self.0.set(NewerSchema { known, needed }).is_ok() {
            tracing::error!(
                known,
                needed,
                "a newer hearken migrated the database, and writers must know step {needed} of its schema; this program knows step {known}, so this node writes nothing any more: upgrade hearken on this node"
            );
        }
    }

    pub(super) fn check(&self) -> Result<(), DriverFailure> {
        self.0.get().map_or(Ok(()), |newer| Err(DriverFailure::schema_too_new(*newer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_needs_a_newer_program_ends_all_writes() {
        let fence = SchemaFence::default();
        fence.note(known_step());
        assert!(fence.check().is_ok());
        fence.note(known_step() + 1);
        fence.note(known_step());
        assert!(fence.check().is_err());
    }
}
