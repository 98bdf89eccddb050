//! What the nodes of the cluster report, for callers that wait until the nodes follow a command.

use crate::{clock::Clock, domain::report::NodeStatus, shared_read::SharedRead, store::Store};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// Pause between two reads of the reports. A node reports a change at once.
const REPORT_POLL: Duration = Duration::from_millis(500);

/// Reports of the nodes. All callers of this process that wait share one read for each pause.
pub struct NodeReports {
    store: Store,
    clock: Clock,
    /// Reports; `None` when they could not be read.
    latest: SharedRead<Option<Arc<Vec<NodeStatus>>>>,
}

impl NodeReports {
    /// Reports that were not read yet.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        let latest = SharedRead::new(&clock);
        Self { store, clock, latest }
    }

    /// Waits until the reports meet a condition. Returns whether they did within the limit.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&[NodeStatus]) -> bool,
    ) -> bool {
        let followed = async {
            let mut since = self.clock.monotonic();
            loop {
                let asked = self.clock.monotonic();
                let reading = async { self.store.nodes().await.ok().map(Arc::new) };
                let reports = self.latest.since(since, reading).await;
                if reports.is_some_and(|reports| condition(&reports)) {
                    return;
                }
                sleep(REPORT_POLL).await;
                since = asked + REPORT_POLL / 2;
            }
        };
        timeout(limit, followed).await.is_ok()
    }
}
