//! `hearken adopt`: a new identity for the log, after a restore or a loss of the database.

mod facts;

use super::{
    error::{CliError, CommandEnd, DONE},
    output::print,
    serve::open_store,
};
use crate::{
    config::{self, Serve},
    domain::{
        adoption::{self, LogAdoption},
        event::{Audit, NodeRef, RecordedEvent, Version},
    },
    error_chain::error_chain,
    store::{AppendError, LeaseName, Schema, Store},
};
use clap::Args;
use facts::{BrokerFacts, read_broker, read_store};
use std::time::Duration;
use uuid::Uuid;

/// Longest wait for the pass of a node to end. No pass runs while the identity changes.
const LEASE_LIMIT: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Run it after the database was restored from a backup, or was lost and laid out again. The log gets
a new identity, so that cursors of the earlier history are refused. If the marker on the broker
names another cluster, whose database is lost, this cluster takes its place: the queues of the lost
database become orphans, which their groups take over when they are added again.

Reads the settings of serve from the same places. Without --yes it changes nothing and shows what
it would do. Nodes that run take the new identity up by themselves, within seconds. The embedded
store cannot be adopted while its node runs.

Examples:
  hearken adopt --reason 'restored from the backup of Monday'
  hearken adopt --reason 'restored from the backup of Monday' --yes";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AdoptCommand {
    #[command(flatten)]
    flags: config::Flags,
    /// Reason, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Name of the operator, kept in the history
    #[arg(long, env = "USER", value_name = "NAME", default_value = "operator")]
    by: String,
    /// Do it; without this flag the command only shows what it would do
    #[arg(long)]
    yes: bool,
}

impl AdoptCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let settings = Serve::load(&self.flags)?;
        if !self.yes && is_empty(&settings).await? {
            print(
                "the database is empty: --yes creates its schema first; run the command with --yes, or start a node and repeat this command",
            )?;
            return Ok(DONE);
        }
        let store = open_store(&settings).await?;
        let end = self.adopt(&settings, &store).await;
        store.close().await;
        end
    }

    async fn adopt(&self, settings: &Serve, store: &Store) -> CommandEnd {
        let broker = match &settings.cluster {
            Some(cluster) => read_broker(settings, cluster, store).await?,
            None => BrokerFacts::none(),
        };
        let facts = read_store(store, broker).await?;
        let adoption = adoption::decide(&facts, Uuid::new_v4())
            .map_err(|refusal| CliError::Failed(format!("nothing was changed: {refusal}")))?;
        if !self.yes {
            return show_plan(adoption, facts.head);
        }
        let recorded = self.record(settings, store, adoption, facts.head).await?;
        show_done(adoption, recorded.version)
    }

    /// Changes the identity while no pass runs.
    async fn record(
        &self,
        settings: &Serve,
        store: &Store,
        adoption: LogAdoption,
        head: Version,
    ) -> Result<RecordedEvent, CliError> {
        let taking = store.take(LeaseName::Passes, "adopt");
        let lease = tokio::time::timeout(LEASE_LIMIT, taking).await.map_err(|_| {
            CliError::Failed(format!(
                "nothing was changed: a node has made a pass for {} seconds; repeat the command when it has ended",
                LEASE_LIMIT.as_secs()
            ))
        })?;
        let lease = lease.map_err(anyhow::Error::from)?;
        let audit = Audit {
            actor: self.by.clone(),
            node: NodeRef { id: settings.node_id.clone(), host: config::host_name() },
            reason: Some(self.reason.clone()),
            command_id: Uuid::now_v7(),
            request_id: None,
        };
        let recorded = lease.adopt(adoption, head, &audit).await;
        lease.release().await;
        recorded.map_err(|error| {
            CliError::Failed(match error {
                AppendError::Store(error) => {
                    format!("whether the identity was changed is not known; repeat the command without --yes, which shows it: {}", error_chain(&error))
                }
                _ => "nothing was changed: another command changed the roster at the same time; repeat the command".to_owned(),
            })
        })
    }
}

/// Whether the database of a cluster has no schema yet.
async fn is_empty(settings: &Serve) -> Result<bool, CliError> {
    let Some(cluster) = &settings.cluster else { return Ok(false) };
    let examined = Store::examine_postgres(cluster.database_url.expose()).await;
    Ok(examined.map_err(anyhow::Error::from)?.schema == Schema::Empty)
}

fn show_plan(adoption: LogAdoption, head: Version) -> CommandEnd {
    let LogAdoption { identity, former } = adoption;
    print(&format!(
        "the log, which ends at version {head}, would get a new identity (it is {})",
        former.log
    ))?;
    print(&if adoption.takes_over_cluster() {
        format!(
            "this database, of cluster {}, would take over cluster {}, which the marker on the broker names; its work queues become orphans until their groups are added again",
            former.cluster, identity.cluster
        )
    } else {
        format!("the cluster stays {}", identity.cluster)
    })?;
    print("nothing was changed; add --yes to do it")?;
    Ok(DONE)
}

fn show_done(adoption: LogAdoption, version: Version) -> CommandEnd {
    let LogAdoption { identity, former } = adoption;
    print(&format!("version {version}: the log is {} now; it was {}", identity.log, former.log))?;
    if adoption.takes_over_cluster() {
        print(&format!("the cluster is {} now; it was {}", identity.cluster, former.cluster))?;
    }
    print(
        "nodes that run take it up by themselves within seconds; hearken topology queues --kind orphan lists the queues that ask for a decision",
    )?;
    Ok(DONE)
}
