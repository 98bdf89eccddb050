//! A run: load, faults, quiet, judgement.

use super::{
    checker::{Evidence, FaultSpan},
    groups::{Execution, GROUPS, Rule, SLOWEST},
    load::{Load, Outcome},
    quiet::DISPATCH_FAILURE,
    schedule::{Size, Step},
    world::World,
};
use crate::support::wait;
use reqwest::Method;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xtask::services::RabbitMq;

/// Events a second that the load sends.
const RATE: usize = 25;

/// Time that the system may take to become quiet after the last fault.
const SETTLE: Duration = Duration::from_mins(2);

/// Time that a group may take for events that are sent after the last fault.
const CALM: Duration = Duration::from_secs(30);

/// A run under way.
pub(super) struct Scenario {
    pub(super) world: World,
    seed: u64,
    begin: Instant,
    load: Load,
    sending: JoinHandle<()>,
    stop: CancellationToken,
    away: Vec<(Instant, Instant)>,
    faults: Vec<FaultSpan>,
}

impl Scenario {
    /// Starts everything, and the load.
    pub(super) async fn start(name: &str, seed: u64, size: Size) -> Self {
        println!("chaos: seed {seed}, {size:?}");
        let world = World::start(name, size, seed).await;
        let load = Load::new(world.urls.clone());
        let stop = CancellationToken::new();
        let sending = tokio::spawn(load.clone().run(seed, RATE, stop.clone()));
        let begin = Instant::now();
        Self { world, seed, begin, load, sending, stop, away: Vec::new(), faults: Vec::new() }
    }

    /// Time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// One step of a schedule, to its end.
    pub(super) async fn step(&mut self, step: &Step) {
        wait::pace(step.pause).await;
        println!("chaos: {:7.3} s {step}", self.elapsed().as_secs_f32());
        let begun = Instant::now();
        self.away.extend(self.world.suffer(step).await);
        let fault = FaultSpan { begun, mended: Instant::now() };
        self.faults.extend(step.faults.iter().map(|_| fault));
        println!("chaos: {:7.3} s mended", self.elapsed().as_secs_f32());
    }

    /// Kills one broker of several, and restarts it once every node is healthy without it and has
    /// run events.
    pub(super) async fn without_broker(&mut self, broker: usize) {
        self.wait_accepted().await;
        println!("chaos: {:7.3} s broker {broker} killed", self.elapsed().as_secs_f32());
        // The broker dies before the call that kills it returns.
        let begun = Instant::now();
        self.world.broker(broker, RabbitMq::kill).await;
        let killed = Instant::now();
        for index in 0..self.world.nodes() {
            wait::within(SETTLE, &format!("n{index} is well without a broker"), async || {
                let node = self.world.node(index).await;
                let check = "/healthcheck/checks/RabbitMQ%20backend";
                let health = node.try_call(Method::GET, check, None).await.ok()?;
                let worked = |one: &Execution| {
                    one.node == format!("n{index}") && one.worked && one.at > killed
                };
                let works = self.world.receiver.executions().iter().any(worked);
                (health.status == 200 && health.body["status"] == "healthy" && works).then_some(())
            })
            .await;
        }
        println!("chaos: {:7.3} s every node is well without it", self.elapsed().as_secs_f32());
        self.wait_accepted().await;
        let restart = |broker: &mut RabbitMq| broker.restart().expect("RabbitMQ starts again");
        self.world.broker(broker, restart).await;
        self.faults.push(FaultSpan { begun, mended: Instant::now() });
        println!("chaos: {:7.3} s mended", self.elapsed().as_secs_f32());
    }

    /// Kills brokers until no majority is left, and restarts them once events that are sent
    /// meanwhile were accepted and are kept in the database.
    pub(super) async fn without_quorum(&mut self, brokers: &[usize]) {
        self.wait_accepted().await;
        println!("chaos: {:7.3} s brokers {brokers:?} killed", self.elapsed().as_secs_f32());
        let killed = Instant::now();
        for broker in brokers {
            self.world.broker(*broker, RabbitMq::kill).await;
        }
        self.wait_accepted().await;
        wait::within(SETTLE, "events are kept in the database", async || {
            let kept = self.world.dead_letters(DISPATCH_FAILURE).await?;
            (!kept.is_empty()).then_some(())
        })
        .await;
        println!("chaos: {:7.3} s events are kept", self.elapsed().as_secs_f32());
        for broker in brokers {
            let restart = |broker: &mut RabbitMq| broker.restart().expect("RabbitMQ starts again");
            self.world.broker(*broker, restart).await;
        }
        self.faults.push(FaultSpan { begun: killed, mended: Instant::now() });
        println!("chaos: {:7.3} s mended", self.elapsed().as_secs_f32());
    }

    /// Waits until some more events were sent and accepted.
    async fn wait_accepted(&self) {
        let now = Instant::now();
        wait::within(SETTLE, "events are accepted", async || {
            let ledger = self.load.ledger();
            let since = ledger.posted.iter().filter(|one| one.sent > now);
            let accepted = since.filter(|one| one.outcome == Outcome::Accepted);
            (accepted.count() > RATE * 2).then_some(())
        })
        .await;
    }

    /// Ends the load, waits until the system is quiet, and fails when a guarantee was broken.
    pub(super) async fn finish(mut self) {
        self.stop.cancel();
        (&mut self.sending).await.expect("the load does not panic");
        let mut wrong = Vec::new();
        let settling = Instant::now();
        if let Err(cause) = self.world.settle(SETTLE).await {
            wrong.push(format!("it does not become quiet: {cause}"));
            self.world.tell_what_is_left().await;
        } else {
            println!("chaos: quiet after {:.1} s", settling.elapsed().as_secs_f32());
            wrong.extend(self.calm().await.err());
            wrong.extend(self.world.settle(SETTLE).await.err());
        }
        let evidence = self.evidence().await;
        let verdict = evidence.judge();
        wrong.extend(verdict.wrong);
        let accepted = evidence.posted.iter().filter(|one| one.outcome == Outcome::Accepted);
        println!(
            "chaos: seed {}: {} faults, {} events sent, {} accepted, {} executions",
            self.seed,
            self.faults.len(),
            evidence.posted.len(),
            accepted.count(),
            evidence.executions.len(),
        );
        for (group, counts) in &verdict.counts {
            println!("chaos:   {group}: {counts}");
        }
        for (answer, events) in &self.load.ledger().refusals {
            println!("chaos:   not accepted: {answer} ({events} events)");
        }
        let answers = std::mem::take(&mut self.load.ledger().wrong);
        wrong.extend(answers.into_iter().map(|answer| format!("a client was told {answer}")));
        if wrong.is_empty() {
            self.world.clean();
            return;
        }
        let named = |event: &&String| wrong.iter().any(|wrong| wrong.contains(event.as_str()));
        let ids: BTreeSet<&String> = evidence.posted.iter().map(|one| &one.event).collect();
        for event in ids.into_iter().filter(named).take(20) {
            println!("{}", evidence.story(event, self.begin));
        }
        let logs = self.world.dir().display();
        panic!("seed {}: {}\nlogs in {logs}", self.seed, wrong.join("\n"));
    }

    /// Sends events when nothing is wrong: groups that work run them at once, even if others
    /// fail beside them, and those that run everywhere do so once on each node.
    async fn calm(&self) -> Result<(), String> {
        let mut events = BTreeSet::new();
        for round in 0..20 {
            events.extend(self.load.send(round % self.world.nodes(), 3, None).await);
        }
        let deadline = Instant::now() + CALM + SLOWEST * 2;
        loop {
            let missing = self.missing(&events);
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("these did not run soon when nothing was wrong: {missing:?}"));
            }
            wait::look_again().await;
        }
    }

    /// The group, node and event of each execution that should have worked by now.
    fn missing(&self, events: &BTreeSet<String>) -> Vec<String> {
        let executions = self.world.receiver.executions();
        let worked: BTreeSet<(&str, &str, &str)> = (executions.iter())
            .filter(|one| one.worked)
            .flat_map(|one| {
                [(&*one.group, &*one.node, &*one.event), (&*one.group, "", &*one.event)]
            })
            .collect();
        let nodes: Vec<String> = (0..self.world.nodes()).map(|node| format!("n{node}")).collect();
        let mut missing = Vec::new();
        for group in GROUPS.iter().filter(|group| !matches!(group.rule, Rule::Fails | Rule::Chance))
        {
            let places = if group.every_node { nodes.clone() } else { vec![String::new()] };
            for event in events.iter().filter(|event| !group.is_poison(self.seed, event)) {
                let absent = places
                    .iter()
                    .filter(|node| !worked.contains(&(group.name, node.as_str(), event.as_str())));
                missing.extend(absent.map(|node| format!("{} {node} {event}", group.name)));
            }
        }
        missing
    }

    async fn evidence(&self) -> Evidence {
        let posted = self.load.ledger().posted.clone();
        Evidence {
            seed: self.seed,
            groups: GROUPS.to_vec(),
            posted,
            executions: self.world.receiver.executions(),
            dead: self.world.dead().await,
            away: self.away.clone(),
            faults: self.faults.clone(),
        }
    }
}
