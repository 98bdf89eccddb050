//! Identity of the database's cluster and log, and its change.

use super::{
    Store,
    engine::{args, statements},
    lease::Lease,
    log::{AppendError, check_forms, insert_all},
};
use crate::domain::{
    adoption::{LogAdoption, LogIdentity},
    event::{Audit, RecordedEvent, RosterEvent, Version},
};

statements! {
    /// A cluster that was taken over has its marker on the broker.
    ADOPT = "UPDATE identity SET cluster_id = $1, log_id = $2, \
             marker_made = CASE WHEN CAST($3 AS BIGINT) = 1 THEN 1 ELSE marker_made END \
             WHERE cluster_id = $4 AND log_id = $5";
}

impl Store {
    /// Identity of the cluster and of its log, as they were when the store was opened.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        LogIdentity { cluster: self.cluster_id(), log: self.log_id() }
    }
}

impl Lease {
    /// Gives the database another identity, and records that after version `head`. No pass runs
    /// meanwhile. Each node notices with its next read of the log.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when the identity or the version is another one by now. Nothing is
    /// changed then.
    pub async fn adopt(
        &self,
        adoption: LogAdoption,
        head: Version,
        audit: &Audit,
    ) -> Result<RecordedEvent, AppendError> {
        let LogAdoption { identity, former } = adoption;
        let taken = i64::from(adoption.takes_over_cluster());
        let values = args![identity.cluster, identity.log, taken, former.cluster, former.log];
        let mut tx = self.begin().await?;
        if tx.execute(ADOPT, values).await? == 0 {
            tx.rollback().await?;
            return Err(AppendError::Conflict);
        }
        let events = [RosterEvent::LogAdopted { adoption }];
        check_forms(&mut tx, &events).await?;
        let mut recorded = insert_all(&mut tx, head, &events, audit).await?;
        tx.ring().await?;
        tx.commit().await?;
        recorded.pop().ok_or(AppendError::Conflict)
    }
}
