//! A cluster of processes that the test starts, with a proxy on each of its wires.

use super::{
    groups::{ChaosReceiver, GROUPS, NODE_FILE},
    schedule::{Link, Size},
};
use crate::support::{
    node::{Node, Services, Setup, TOKEN},
    proxy::{Proxy, port_of},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as Turn;
use xtask::services::{Postgres, RabbitMq, RabbitMqVersion, Slot, default_dir};

/// Time that a process may take to start on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The wires of one node.
struct Wires {
    broker: Proxy,
    management: Proxy,
    database: Proxy,
}

/// Services, nodes and the wires between them. Everything ends when it is dropped.
pub(super) struct World {
    nodes: Vec<Turn<Node>>,
    wires: Vec<Wires>,
    brokers: Vec<Arc<Mutex<RabbitMq>>>,
    postgres: Arc<Mutex<Postgres>>,
    pub(super) receiver: ChaosReceiver,
    /// URL of each node.
    pub(super) urls: Arc<Mutex<Vec<String>>>,
    managements: Vec<String>,
    // Released last, when nothing writes there any more.
    slot: Slot,
}

impl World {
    /// Starts services and nodes, and adds every group.
    pub(super) async fn start(name: &str, size: Size, seed: u64) -> Self {
        hearken::tls::init();
        let base =
            std::env::var_os("TEST_HEARKEN_SERVICES_DIR").map_or_else(default_dir, PathBuf::from);
        let slot = Slot::acquire(&base, name).expect("a directory for the services");
        println!("chaos: files and logs in {}", slot.dir().display());
        let (postgres, brokers) = services(slot.dir().to_path_buf(), size.brokers).await;
        let managements: Vec<String> = brokers.iter().map(RabbitMq::management_url).collect();
        let mut world = Self {
            nodes: Vec::new(),
            wires: Vec::new(),
            receiver: ChaosReceiver::start(seed).await,
            urls: Arc::default(),
            managements,
            slot,
            brokers: brokers.into_iter().map(|broker| Arc::new(Mutex::new(broker))).collect(),
            postgres: Arc::new(Mutex::new(postgres)),
        };
        for index in 0..size.nodes {
            world.add_node(index).await;
        }
        for group in &GROUPS {
            world.node(0).await.add(group.listener(&world.receiver)).await;
        }
        world.wait_running().await;
        world.wait_known(size.brokers).await;
        world
    }

    async fn add_node(&mut self, index: usize) {
        let wires = self.wire(index).await;
        let directory = self.slot.dir().join(format!("n{index}"));
        let secrets = directory.join("secrets");
        std::fs::create_dir_all(&secrets).expect("the directory can be made");
        std::fs::write(secrets.join(NODE_FILE), format!("n{index}")).expect("it can be written");
        let (database, amqp) = {
            let postgres = self.postgres.lock().expect("no panic");
            (postgres.url(), self.brokers[0].lock().expect("no panic").amqp_url())
        };
        let services = Services {
            database: wires.database.through(&database),
            amqp: wires.broker.through(&amqp),
            management: wires.management.through(&self.managements[0]),
        };
        let setup = Setup {
            id: format!("n{index}"),
            program: PathBuf::from(env!("CARGO_BIN_EXE_hearken")),
            cluster: Some(services),
            directory,
            flags: vec!["--reconcile-interval".into(), "2s".into()],
            file: String::new(),
            environment: Vec::new(),
            admin_token: TOKEN.to_owned(),
        };
        let node = setup.start().await;
        self.urls.lock().expect("no panic").push(node.url.clone());
        self.nodes.push(Turn::new(node));
        self.wires.push(wires);
    }

    /// Proxies for a node. Each node prefers another broker, and goes to the next broker when the
    /// preferred one is away.
    async fn wire(&self, index: usize) -> Wires {
        let mut amqp: Vec<u16> = self
            .brokers
            .iter()
            .map(|broker| broker.lock().expect("no panic").amqp_port())
            .collect();
        let mut management: Vec<u16> = self.managements.iter().map(|url| port_of(url)).collect();
        let turn = index % amqp.len();
        amqp.rotate_left(turn);
        management.rotate_left(turn);
        let database = self.postgres.lock().expect("no panic").port();
        Wires {
            broker: Proxy::before_any(&amqp).await,
            management: Proxy::before_any(&management).await,
            database: Proxy::before(database).await,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        self.slot.dir()
    }

    /// A node, for as long as it is not killed.
    pub(super) async fn node(&self, index: usize) -> tokio::sync::MutexGuard<'_, Node> {
        self.nodes[index].lock().await
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn link(&self, node: usize, link: Link) -> &Proxy {
        let wires = &self.wires[node];
        match link {
            Link::Broker => &wires.broker,
            Link::Management => &wires.management,
            Link::Database => &wires.database,
        }
    }

    /// Does something to the database that may take a while.
    pub(super) async fn postgres(&self, change: impl FnOnce(&mut Postgres) + Send + 'static) {
        let postgres = Arc::clone(&self.postgres);
        let changing = move || change(&mut postgres.lock().expect("no panic"));
        tokio::task::spawn_blocking(changing).await.expect("PostgreSQL starts again");
    }

    /// Does something to a broker that may take a while.
    pub(super) async fn broker(
        &self,
        index: usize,
        change: impl FnOnce(&mut RabbitMq) + Send + 'static,
    ) {
        let broker = Arc::clone(&self.brokers[index]);
        let changing = move || change(&mut broker.lock().expect("no panic"));
        tokio::task::spawn_blocking(changing).await.expect("RabbitMQ starts again");
    }

    /// Starts a node that was killed, again and again until it lives: a node that cannot reach its
    /// database at its start says so and ends, and its operator starts it again.
    pub(super) async fn revive(&self, index: usize) {
        let mut node = self.node(index).await;
        let deadline = Instant::now() + PATIENCE;
        let mut running = false;
        loop {
            if !running {
                *node = node.setup.clone().launch();
                self.urls.lock().expect("no panic")[index].clone_from(&node.url);
            }
            let answer = node.try_call(Method::GET, "/livez", None).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            running = node.process.exited().is_none();
            assert!(Instant::now() < deadline, "n{index} does not live; its log\n{}", node.log());
            wait::look_again().await;
        }
    }

    /// Waits until every group runs on every node.
    pub(super) async fn wait_running(&self) {
        for node in &self.nodes {
            let mut node = node.lock().await;
            node.wait_ready().await;
            for group in &GROUPS {
                node.wait_listener(group.name, "running").await;
            }
        }
    }

    /// Waits until the statistics of the broker have every queue and every queue is on every
    /// broker. RabbitMQ 3.10 and 4.0 leave a quorum queue without a leader when a broker is killed
    /// in the first second of the life of the queue.
    async fn wait_known(&self, brokers: usize) {
        wait::within(PATIENCE, "the broker knows its queues", async || {
            let queues = self.queues().await?;
            let known = |queue: &&Value| {
                let members = queue["members"].as_array().map_or(0, Vec::len);
                queue["messages"].is_number() && members == brokers
            };
            let durable = queues.iter().filter(|queue| queue["durable"] == true);
            (durable.clone().count() > GROUPS.len() && durable.clone().all(|queue| known(&queue)))
                .then_some(())
        })
        .await;
    }

    /// The queues, as a broker that is up lists them.
    pub(super) async fn queues(&self) -> Option<Vec<Value>> {
        let columns = "name,durable,messages,messages_ready,messages_unacknowledged,members,state";
        for management in &self.managements {
            let url = format!("{management}/api/queues/%2f?columns={columns}");
            let asking = reqwest::Client::new().get(url).timeout(Duration::from_secs(5)).send();
            let Ok(answer) = asking.await else { continue };
            if let Ok(queues) = answer.json::<Vec<Value>>().await {
                return Some(queues);
            }
        }
        None
    }

    /// Consumers of a queue, as a broker that is up lists them.
    pub(super) async fn consumers(&self, queue: &Value) -> Value {
        for management in &self.managements {
            let url = format!("{management}/api/queues/%2f/{}", queue.as_str().unwrap_or_default());
            let asking = reqwest::Client::new().get(url).timeout(Duration::from_secs(5)).send();
            let Ok(answer) = asking.await else { continue };
            if let Ok(queue) = answer.json::<Value>().await {
                return json!([queue["leader"], queue["online"], queue["consumer_details"]]);
            }
        }
        Value::Null
    }

    /// Removes every file, after a run that succeeded.
    pub(super) fn clean(self) {
        let directory = self.slot.dir().to_path_buf();
        drop(self);
        // What cannot be removed is cleared by the next run.
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// Starts both at once.
async fn services(directory: PathBuf, brokers: usize) -> (Postgres, Vec<RabbitMq>) {
    let (database, queues) = (directory.join("postgres"), directory.join("rabbitmq"));
    let version = RabbitMqVersion::from_env();
    let postgres = tokio::task::spawn_blocking(move || Postgres::start(&database));
    let rabbit =
        tokio::task::spawn_blocking(move || RabbitMq::start_cluster(&queues, version, brokers));
    let (postgres, rabbit) = tokio::join!(postgres, rabbit);
    let postgres = postgres.expect("no panic").expect("PostgreSQL starts");
    (postgres, rabbit.expect("no panic").expect("RabbitMQ starts"))
}
