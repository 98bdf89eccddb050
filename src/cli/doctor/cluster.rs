//! Checks of the database and of the broker of a cluster.

use super::Findings;
use crate::{
    amqp::{Amqp, AmqpUrl, Purpose},
    broker::{
        Broker, Marker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    cli::error::CliError,
    clock::Clock,
    config::{Cluster, Serve},
    domain::layout::{LAYOUT_VERSION, Layout},
    error_chain::error_chain,
    store::{Examined, Schema, Store},
};
use uuid::Uuid;

/// Largest accepted difference between two clocks, in seconds. A larger difference makes the times
/// in the history hard to read.
const CLOCK_DIFFERENCE: i64 = 10;

/// Checks the database, the AMQP connection and the management API.
pub(super) async fn examine(
    settings: &Serve,
    cluster: &Cluster,
    clock: &Clock,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let database = Store::examine_postgres(cluster.database_url.expose()).await;
    let id = match &database {
        Ok(examined) => {
            findings.note("database", Ok(format!("PostgreSQL {}", examined.server)))?;
            findings.note("schema", schema(examined))?;
            findings.note("clock", difference(examined, clock))?;
            let most = cluster.database_connections;
            findings.note("connections", connections(examined, &settings.node_id, most))?;
            examined.cluster
        }
        Err(error) => {
            findings.note("database", Err(error_chain(error)))?;
            None
        }
    };
    let url = match AmqpUrl::parse(cluster.amqp_url.expose()) {
        Ok(url) => url,
        Err(error) => return findings.note("amqp", Err(error.to_string())),
    };
    // The cluster keeps the prefix of its first node.
    let recorded = database.ok().and_then(|examined| examined.prefix);
    let prefix = recorded.unwrap_or_else(|| settings.prefix.clone());
    let settings = &Serve { prefix, ..settings.clone() };
    findings.note("amqp", amqp(settings, url.clone()).await)?;
    management(settings, cluster, url, id, findings).await
}

fn schema(examined: &Examined) -> Result<String, String> {
    match (&examined.schema, examined.cluster) {
        (Schema::Empty, _) => Ok("empty; the first node that starts creates the schema".into()),
        (Schema::Pending(names), _) => Err(format!(
            "lacks {}; run hearken migrate with the same --database-url",
            names.join(", ")
        )),
        (Schema::Current, Some(id)) => Ok(format!("up to date, of cluster {id}")),
        (Schema::Current, None) => Ok("up to date".into()),
    }
}

fn difference(examined: &Examined, clock: &Clock) -> Result<String, String> {
    let seconds = (clock.now() - examined.clock).whole_seconds();
    if seconds.abs() <= CLOCK_DIFFERENCE {
        return Ok("this machine's clock agrees with the database's".into());
    }
    let ahead = if seconds > 0 { "ahead of" } else { "behind" };
    Err(format!(
        "this machine's clock is {} s {ahead} the database's; keep both on time with a service such as NTP",
        seconds.abs()
    ))
}

/// Checks that the server has connections for this node and the nodes that live, if each may open
/// as many as this node.
fn connections(examined: &Examined, node: &str, most: u32) -> Result<String, String> {
    let others = examined.live_nodes.iter().filter(|id| *id != node).count();
    let nodes = i64::try_from(others).unwrap_or(i64::MAX).saturating_add(1);
    let (needed, found) = (nodes.saturating_mul(most.into()), examined.connections);
    let plural = if nodes == 1 { "node needs" } else { "nodes need" };
    let needs = format!(
        "{nodes} {plural} {needed} (--database-connections {most} each), and PostgreSQL has {found} for all its users"
    );
    if needed <= found {
        return Ok(needs);
    }
    Err(format!("{needs}; raise its max_connections, or lower --database-connections of the nodes"))
}

/// Connects, and declares a queue that ends with the connection. The reconciler needs the same
/// rights.
async fn amqp(settings: &Serve, url: AmqpUrl) -> Result<String, String> {
    let (address, host) = (url.address().to_owned(), url.virtual_host().to_owned());
    let connection = Amqp::new(url, &settings.node_id, Purpose::Admin);
    let name = format!("{}.doctor.{}", settings.prefix, Uuid::new_v4());
    let declared = connection.try_declaring(&name).await;
    connection.close().await;
    match declared {
        Ok(()) => Ok(format!("{address}, virtual host {host}, may declare queues")),
        Err(error) => Err(format!(
            "{error}; the user needs configure, write and read on ^{}\\. in virtual host {host}",
            settings.prefix
        )),
    }
}

async fn management(
    settings: &Serve,
    cluster: &Cluster,
    amqp_url: AmqpUrl,
    id: Option<Uuid>,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let layout = Layout {
        prefix: settings.prefix.clone(),
        cluster: id.unwrap_or_default(),
        queue_type: settings.queue_type,
        ..Layout::default()
    };
    let management_url = cluster.management_url.as_ref().map(|url| url.expose().to_owned());
    let node = settings.node_id.clone();
    let broker = RabbitMqBroker::new(RabbitMqConfig { amqp_url, management_url, layout, node });
    let broker = match broker {
        Ok(broker) => broker,
        Err(error) => return findings.note("management", Err(error.to_string())),
    };
    let version = match broker.version().await {
        Ok(version) => version,
        Err(error) => return findings.note("management", Err(error_chain(&error))),
    };
    findings.note("broker version", tested(&version))?;
    let seen = broker.observe().await.map_err(|error| error_chain(&error));
    let seen =
        seen.map(|seen| format!("reads the topology; {} objects under our prefix", seen.len()));
    findings.note("management", seen)?;
    let same = broker.check_undivided().await.map_err(|error| error_chain(&error));
    findings.note(
        "one broker",
        same.map(|()| "management API and AMQP reach the same broker".into()),
    )?;
    let marker = broker.marker().await.map_err(|error| error_chain(&error));
    findings.note("marker", marker.and_then(|marker| same_cluster(marker, id)))
}

/// Checks that hearken is tested with this version of RabbitMQ: 3.10 to 4.x.
fn tested(version: &str) -> Result<String, String> {
    let number = version.split_whitespace().last().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(3), Some(10..)) | (Some(4), _) => Ok(version.to_owned()),
        _ => Err(format!("{version}; hearken is tested with RabbitMQ 3.10 to 4.x")),
    }
}

fn same_cluster(marker: Marker, own: Option<Uuid>) -> Result<String, String> {
    match (marker, own) {
        (Marker::Absent, _) => Ok("no marker yet; the first pass of a new cluster creates it".into()),
        (Marker::Present { layout: Some(layout), .. }, _) if layout > LAYOUT_VERSION => Err(format!(
            "a newer hearken laid out this virtual host (layout {layout}; this program knows {LAYOUT_VERSION}); install that release or a later one"
        )),
        (Marker::Present { cluster: Some(found), .. }, Some(own)) if found == own => {
            Ok("names this cluster".into())
        }
        (Marker::Present { cluster: Some(found), .. }, Some(own)) => Err(format!(
            "this virtual host belongs to cluster {found}, and the database to cluster {own}; check --amqp-url and --database-url, or start a cluster with an empty database and another --prefix"
        )),
        (Marker::Present { cluster: Some(found), .. }, None) => Err(format!(
            "this virtual host belongs to cluster {found}, and whether the database belongs to it is not known; check --amqp-url and --database-url, or start a cluster with an empty database and another --prefix"
        )),
        (Marker::Present { cluster: None, .. }, _) => Err(
            "an exchange that hearken did not create has the marker's name; rename it, or start a cluster with an empty database and another --prefix"
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_outside_the_tested_versions_is_reported() {
        for version in
            ["RabbitMQ 3.10.8", "RabbitMQ 3.13.7", "RabbitMQ 4.0.5", "RabbitMQ 4.2.0-rc.1"]
        {
            assert_eq!(tested(version), Ok(version.into()));
        }
        for version in ["RabbitMQ 3.9.1", "RabbitMQ 5.0.0", "RabbitMQ of unknown version", ""] {
            assert!(tested(version).unwrap_err().contains("3.10 to 4.x"), "{version}");
        }
    }

    #[test]
    fn a_marker_of_another_cluster_is_refused_and_no_marker_is_fine() {
        let [one, two] = [1, 2].map(Uuid::from_u128);
        assert!(same_cluster(Marker::Absent, None).is_ok());
        let present = |cluster| Marker::Present { cluster, layout: Some(LAYOUT_VERSION) };
        assert!(same_cluster(present(Some(one)), Some(one)).is_ok());
        for (marker, own) in [(Some(one), Some(two)), (Some(one), None), (None, Some(one))] {
            assert!(same_cluster(present(marker), own).is_err(), "{marker:?} {own:?}");
        }
        let newer = Marker::Present { cluster: Some(one), layout: Some(LAYOUT_VERSION + 1) };
        assert!(same_cluster(newer, Some(one)).unwrap_err().contains("newer hearken"));
    }

    #[test]
    fn connections_are_counted_for_this_node_and_the_nodes_that_live() {
        let with = |live: &[&str]| Examined {
            server: "15.4".into(),
            schema: Schema::Current,
            cluster: None,
            prefix: None,
            clock: Clock::system().now(),
            connections: 17,
            live_nodes: live.iter().map(ToString::to_string).collect(),
        };
        assert!(connections(&with(&[]), "a", 8).unwrap().starts_with("1 node needs 8 "));
        assert!(connections(&with(&["a", "b"]), "a", 8).unwrap().starts_with("2 nodes need 16 "));
        let refused = connections(&with(&["b", "c"]), "a", 8).unwrap_err();
        assert!(refused.starts_with("3 nodes need 24 "), "{refused}");
        assert!(refused.contains("raise its max_connections"), "{refused}");
    }

    #[test]
    fn clocks_that_differ_are_reported_with_their_difference() {
        let clock = Clock::system();
        let at = |seconds| Examined {
            server: "15.4".into(),
            schema: Schema::Empty,
            cluster: None,
            prefix: None,
            clock: clock.now() + time::Duration::seconds(seconds),
            connections: 97,
            live_nodes: Vec::new(),
        };
        assert!(difference(&at(0), &clock).is_ok());
        assert!(difference(&at(100), &clock).unwrap_err().contains("s behind the database's"));
        assert!(difference(&at(-100), &clock).unwrap_err().contains("s ahead of the database's"));
    }
}
