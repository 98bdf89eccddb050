//! Keeps the bindings of a node's queue equal to the keys that somebody follows on the node.
//!
//! It decides from what is followed when it looks, never from what woke it. A key has one operation
//! on its way at most. The last follower's key stays bound for a while, since a client that comes
//! back would only have it bound again.
//!
//! Binding costs the broker a transaction for each key. A node with very many keys binds the one
//! key that every notification has instead, and passes over those that nobody here follows.

use super::{notifications::Following, notify::EVERY_KEY};
use crate::{
    amqp::{Amqp, AmqpError},
    domain::name::RegistrationKey,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    Channel,
    options::QueueBindOptions,
    types::{FieldTable, ShortString},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How many operations are on their way to the broker at the same time.
const IN_FLIGHT: usize = 64;

/// How long a key stays bound that nobody follows any more.
const LINGER: Duration = Duration::from_secs(30);

/// More keys than these are not bound one by one.
pub(super) const MANY: usize = 20_000;

/// How often what is bound to somebody else's exchange is bound again, beside [`EACH_AGAIN`] for
/// each key. Nobody says when such an exchange was made anew and lost its bindings, and no probe of
/// ours goes through it. Binding what is bound changes nothing.
const AGAIN: Duration = Duration::from_secs(20);

/// What each key adds to [`AGAIN`], so that many keys are not much work for the broker.
const EACH_AGAIN: Duration = Duration::from_millis(10);

/// How many keys are looked at without asking what else happened.
const LOOKS: usize = 1024;

#[derive(Clone, Copy)]
enum Step {
    Bind,
    /// Binds what is bound, to make sure.
    BindAgain,
    Unbind,
}

/// The bindings of one queue.
pub(super) struct Binder<'a> {
    amqp: &'a Amqp,
    channel: Channel,
    queue: ShortString,
    exchange: ShortString,
    following: &'a Following,
    /// Whether notifications have a key in common: those of our own exchanges.
    common: bool,
    /// Whether that one is bound, until the queue is gone.
    all: bool,
    /// What the broker has confirmed, and was not asked to take back.
    bound: HashSet<RegistrationKey>,
    /// What is bound again all the same, because the exchange may have been made anew since.
    stale: HashSet<RegistrationKey>,
    /// How many of them are on their way.
    making_sure: usize,
    /// What is on its way, and whether to look at it again when it has arrived.
    busy: HashMap<RegistrationKey, bool>,
    /// What is to be looked at.
    looks: VecDeque<RegistrationKey>,
    /// Until when keys stay bound that nobody follows.
    lingering: HashMap<RegistrationKey, Instant>,
    /// The same in the order of time, with what was followed again since.
    ends: VecDeque<(Instant, RegistrationKey)>,
    /// When everything is bound again, where the exchange is somebody else's.
    again: Instant,
}

impl<'a> Binder<'a> {
    pub(super) fn new(
        amqp: &'a Amqp,
        channel: Channel,
        queue: ShortString,
        exchange: ShortString,
        following: &'a Following,
        common: bool,
    ) -> Self {
        Self {
            amqp,
            channel,
            queue,
            exchange,
            looks: following.registry.keys().into(),
            following,
            common,
            all: false,
            bound: HashSet::new(),
            stale: HashSet::new(),
            making_sure: 0,
            busy: HashMap::new(),
            lingering: HashMap::new(),
            ends: VecDeque::new(),
            again: Instant::now() + AGAIN,
        }
    }

    /// Binds and unbinds until the broker refuses or is gone, and returns its words.
    pub(super) async fn run(
        mut self,
        touched: &mut mpsc::UnboundedReceiver<RegistrationKey>,
    ) -> String {
        let mut running = FuturesUnordered::new();
        let mut keys = Vec::new();
        loop {
            if self.common && !self.all && self.following.registry.followed() > MANY {
                if let Err(error) = self.bind_all().await {
                    return error.to_string();
                }
                self.all = true;
            }
            let mut looks = LOOKS;
            while running.len() < IN_FLIGHT
                && looks > 0
                && let Some(key) = self.looks.pop_front()
            {
                looks -= 1;
                if let Some(step) = self.decide(&key) {
                    self.making_sure += usize::from(matches!(step, Step::BindAgain));
                    self.busy.insert(key.clone(), false);
                    running.push(self.perform(key, step));
                }
            }
            let sound = self.stale.len() + self.making_sure;
            self.following.behind((self.looks.len() + running.len()).saturating_sub(sound));
            self.following.registry.bindings(self.bound.len());
            let idle = self.looks.is_empty() || running.len() == IN_FLIGHT;
            let end = self.ends.front().map(|(end, _)| *end);
            tokio::select! {
                Some((key, step, outcome)) = running.next(), if !running.is_empty() => match outcome {
                    Ok(()) => self.done(key, step),
                    Err(error) => return error.to_string(),
                },
                count = touched.recv_many(&mut keys, LOOKS) => {
                    if count == 0 {
                        return "the bus was closed".to_owned();
                    }
                    self.looks.extend(keys.drain(..));
                }
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => self.expire(),
                () = sleep_until(self.again), if !self.common => self.bind_again(),
                () = tokio::task::yield_now(), if !idle => {}
            }
        }
    }

    async fn bind_all(&self) -> Result<(), AmqpError> {
        let (queue, exchange) = (self.queue.clone(), self.exchange.clone());
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let binding = self.channel.queue_bind(queue, exchange, EVERY_KEY.into(), options, none);
        self.amqp.answer(binding).await
    }

    /// What a key needs.
    fn decide(&mut self, key: &RegistrationKey) -> Option<Step> {
        if let Some(again) = self.busy.get_mut(key) {
            *again = true;
            return None;
        }
        let stale = self.stale.remove(key);
        match (self.following.registry.is_followed(key), self.bound.contains(key)) {
            (true, false) if !self.all => Some(Step::Bind),
            (true, true) if stale && !self.all => Some(Step::BindAgain),
            (true, _) => {
                self.lingering.remove(key);
                self.following.registry.bound(key);
                None
            }
            (false, true) => {
                let now = Instant::now();
                match self.lingering.get(key) {
                    Some(end) if *end <= now => {
                        self.lingering.remove(key);
                        self.bound.remove(key);
                        return Some(Step::Unbind);
                    }
                    Some(_) => {}
                    None => {
                        let end = now + LINGER;
                        self.lingering.insert(key.clone(), end);
                        self.ends.push_back((end, key.clone()));
                    }
                }
                None
            }
            (false, false) => None,
        }
    }

    fn perform(
        &self,
        key: RegistrationKey,
        step: Step,
    ) -> impl Future<Output = (RegistrationKey, Step, Result<(), AmqpError>)> + use<'a> {
        let (amqp, channel) = (self.amqp, self.channel.clone());
        let (queue, exchange) = (self.queue.clone(), self.exchange.clone());
        async move {
            let routing = match crate::amqp::name(key.as_str()) {
                Ok(routing) => routing,
                Err(error) => return (key, step, Err(error)),
            };
            let none = FieldTable::default();
            let outcome = match step {
                Step::Bind | Step::BindAgain => {
                    let options = QueueBindOptions::default();
                    amqp.answer(channel.queue_bind(queue, exchange, routing, options, none)).await
                }
                Step::Unbind => {
                    amqp.answer(channel.queue_unbind(queue, exchange, routing, none)).await
                }
            };
            (key, step, outcome)
        }
    }

    fn done(&mut self, key: RegistrationKey, step: Step) {
        match step {
            Step::Bind => {
                self.bound.insert(key.clone());
                self.following.registry.bound(&key);
            }
            Step::BindAgain => self.making_sure -= 1,
            Step::Unbind => {}
        }
        if self.busy.remove(&key) == Some(true) {
            self.looks.push_back(key);
        }
    }

    /// Binds every key once more that somebody follows.
    fn bind_again(&mut self) {
        let keys = self.following.registry.keys();
        let many = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        for key in keys {
            self.stale.insert(key.clone());
            self.looks.push_back(key);
        }
        self.again = Instant::now() + AGAIN + EACH_AGAIN * many;
    }

    /// Looks at the keys whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((end, key)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            if self.lingering.get(&key) == Some(&end) {
                self.looks.push_back(key);
            }
        }
    }
}
