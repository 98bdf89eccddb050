use super::{
    follower::{EXECUTIONS, WAITING},
    *,
};
use crate::bus::{
    Failure,
    event::{Data, Event},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

fn meter() -> Meter {
    Meter { metrics: Arc::default(), bus: BusName::parse("mailboxEvent").unwrap() }
}

/// A listener that remembers what it was called with.
struct Recorder {
    mode: Mode,
    calls: Mutex<Vec<(String, BTreeSet<RegistrationKey>)>>,
    resynchronised: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

impl Recorder {
    fn new(mode: Mode, gate: usize) -> Arc<Self> {
        Arc::new(Self {
            mode,
            calls: Mutex::default(),
            resynchronised: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: Semaphore::new(gate),
        })
    }

    fn open(mode: Mode) -> Arc<Self> {
        Self::new(mode, Semaphore::MAX_PERMITS)
    }

    fn ids(&self) -> Vec<String> {
        self.calls.lock().iter().map(|(id, _)| id.clone()).collect()
    }

    fn resynchronised(&self) -> usize {
        self.resynchronised.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyListener for Recorder {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn is_handling(&self, event: &Event) -> bool {
        event.kind != "Unsupported"
    }

    async fn on_notification(
        &self,
        event: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        self.calls.lock().push((event.id.clone(), keys.clone()));
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        match event.kind.as_str() {
            "Fails" => Err(Failure::new("it broke")),
            "Panics" => panic!("on purpose"),
            _ => Ok(()),
        }
    }

    fn resynchronise(&self) {
        self.resynchronised.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) fn event(id: &str, kind: &str) -> Arc<Event> {
    Arc::new(Event {
        id: id.to_owned(),
        kind: kind.to_owned(),
        source: "test".to_owned(),
        user: None,
        time: None,
        noop: false,
        data: Data::None,
        attributes: BTreeMap::new(),
    })
}

fn key(text: &str) -> RegistrationKey {
    RegistrationKey::parse(text).unwrap()
}

fn keys(texts: &[&str]) -> BTreeSet<RegistrationKey> {
    texts.iter().map(|text| key(text)).collect()
}

async fn until(what: &str, met: impl Fn() -> bool) {
    let polling = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reached = timeout(Duration::from_secs(10), polling).await;
    assert!(reached.is_ok(), "not within 10 s: {what}");
}

async fn is_established(registration: &Registration) -> bool {
    timeout(Duration::ZERO, registration.established()).await.is_ok()
}

#[tokio::test]
async fn a_listener_gets_the_events_of_its_keys_once_each() {
    let registry = Registry::immediate(meter());
    let (both, one) = (Recorder::open(Mode::Async), Recorder::open(Mode::Async));
    let _both = registry.register(keys(&["a", "b"]), both.clone());
    let _one = registry.register(keys(&["b"]), one.clone());
    for (id, of) in [("1", &["a", "b", "c"][..]), ("2", &["a"]), ("3", &["c"]), ("4", &[])] {
        registry.enqueue(&event(id, "Any"), &keys(of), Audience::All);
    }
    until("both events", || both.ids().len() == 2 && one.ids().len() == 1).await;
    let expected = [("1".to_owned(), keys(&["a", "b"])), ("2".to_owned(), keys(&["a"]))];
    assert_eq!(*both.calls.lock(), expected);
    assert_eq!(*one.calls.lock(), [("1".to_owned(), keys(&["b"]))]);
}

#[tokio::test]
async fn a_listener_registered_twice_is_called_once_and_ends_with_the_first_end() {
    let registry = Registry::immediate(meter());
    let listener = Recorder::open(Mode::Sync);
    let first = registry.register(keys(&["a", "b"]), listener.clone());
    let second = registry.register(keys(&["a"]), listener.clone());
    registry.call_sync(&event("1", "Any"), &keys(&["a"])).await;
    assert_eq!(listener.ids(), ["1"]);
    drop(second);
    registry.call_sync(&event("2", "Any"), &keys(&["a"])).await;
    registry.call_sync(&event("3", "Any"), &keys(&["b"])).await;
    assert_eq!(listener.ids(), ["1", "3"]);
    drop(first);
    registry.call_sync(&event("4", "Any"), &keys(&["a", "b"])).await;
    assert_eq!(listener.ids(), ["1", "3"]);
    assert_eq!((registry.followed(), registry.book().followers().len()), (0, 0));
}

#[tokio::test]
async fn noop_and_unhandled_events_reach_no_listener() {
    let registry = Registry::immediate(meter());
    let listener = Recorder::open(Mode::Sync);
    let _registration = registry.register(keys(&["a"]), listener.clone());
    let noop = Arc::new(Event { noop: true, ..Event::clone(&event("1", "Any")) });
    for event in [&noop, &event("2", "Unsupported")] {
        registry.call_sync(event, &keys(&["a"])).await;
        registry.enqueue(event, &keys(&["a"]), Audience::All);
    }
    registry.enqueue(&event("3", "Any"), &keys(&["a"]), Audience::All);
    until("the third event", || listener.ids() == ["3"]).await;
}

#[tokio::test]
async fn dispatch_waits_only_for_synchronous_listeners() {
    let registry = Registry::immediate(meter());
    let (sync, lazy) = (Recorder::open(Mode::Sync), Recorder::new(Mode::Async, 0));
    let _one = registry.register(keys(&["a"]), sync.clone());
    let _other = registry.register(keys(&["a"]), lazy.clone());
    registry.call_sync(&event("1", "Any"), &keys(&["a"])).await;
    assert_eq!((sync.ids(), lazy.ids()), (vec!["1".to_owned()], vec![]));
    registry.enqueue(&event("1", "Any"), &keys(&["a"]), Audience::AsyncOnly);
    until("the asynchronous call", || lazy.ids() == ["1"]).await;
    assert_eq!(sync.ids(), ["1"]);
}

#[tokio::test]
async fn a_failure_or_a_panic_ends_only_its_own_event() {
    let registry = Registry::immediate(meter());
    let (bad, good) = (Recorder::open(Mode::Sync), Recorder::open(Mode::Sync));
    let _bad = registry.register(keys(&["a"]), bad.clone());
    let _good = registry.register(keys(&["a"]), good.clone());
    for (id, kind) in [("1", "Fails"), ("2", "Panics"), ("3", "Any")] {
        registry.call_sync(&event(id, kind), &keys(&["a"])).await;
        registry.enqueue(&event(id, kind), &keys(&["a"]), Audience::All);
    }
    until("all six calls", || bad.ids().len() == 6 && good.ids().len() == 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_executions_run_at_a_time_in_the_order_of_events() {
    let registry = Registry::immediate(meter());
    let listener = Recorder::new(Mode::Async, 0);
    let _registration = registry.register(keys(&["a"]), listener.clone());
    for id in 0..50 {
        registry.enqueue(&event(&id.to_string(), "Any"), &keys(&["a"]), Audience::All);
    }
    until("ten executions", || listener.ids().len() == EXECUTIONS).await;
    listener.gate.add_permits(50);
    until("all events", || listener.ids().len() == 50).await;
    assert_eq!(listener.most.load(Ordering::SeqCst), EXECUTIONS);
    assert_eq!(listener.ids(), (0..50).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_listener_too_slow_loses_the_newest_and_is_told_when_it_has_caught_up() {
    let registry = Registry::immediate(meter());
    let (slow, quick) = (Recorder::new(Mode::Async, 0), Recorder::open(Mode::Async));
    let _slow = registry.register(keys(&["a"]), slow.clone());
    let _quick = registry.register(keys(&["a"]), quick.clone());
    let (fits, lost) = (WAITING + EXECUTIONS, 7);
    for id in 0..fits + lost {
        registry.enqueue(&event(&id.to_string(), "Any"), &keys(&["a"]), Audience::All);
        // The other listener keeps up, and the slow one fills its executions.
        until("the quick listener", || quick.ids().len() == id + 1).await;
    }
    assert_eq!(slow.resynchronised(), 0);
    slow.gate.add_permits(fits);
    until("the slow listener", || slow.ids().len() == fits).await;
    until("its resynchronisation", || slow.resynchronised() == 1).await;
    slow.gate.add_permits(1);
    registry.enqueue(&event("again", "Any"), &keys(&["a"]), Audience::All);
    until("a later event", || slow.ids().last().is_some_and(|id| id == "again")).await;
    assert_eq!((slow.resynchronised(), quick.resynchronised()), (1, 0));
}

#[tokio::test]
async fn events_that_wait_for_a_listener_that_left_are_dropped() {
    let registry = Registry::immediate(meter());
    let listener = Recorder::new(Mode::Async, 0);
    let registration = registry.register(keys(&["a"]), listener.clone());
    for id in 0..20 {
        registry.enqueue(&event(&id.to_string(), "Any"), &keys(&["a"]), Audience::All);
    }
    until("ten executions", || listener.ids().len() == EXECUTIONS).await;
    drop(registration);
    listener.gate.add_permits(20);
    until("the ends", || listener.running.load(Ordering::SeqCst) == 0).await;
    // The task that ran them holds the listener until it ends.
    until("the end of its task", || Arc::strong_count(&listener) == 1).await;
    assert_eq!(listener.ids().len(), EXECUTIONS);
}

/// Dispatches another event while it runs.
struct Nested {
    registry: Registry,
    inner: Arc<Recorder>,
}

#[async_trait]
impl KeyListener for Nested {
    fn mode(&self) -> Mode {
        Mode::Sync
    }

    fn is_handling(&self, event: &Event) -> bool {
        event.kind == "Any"
    }

    async fn on_notification(
        &self,
        _: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        self.registry.call_sync(&event("inner", "Inner"), keys).await;
        self.inner.on_notification(&event("outer", "Any"), keys).await
    }
}

#[tokio::test]
async fn listeners_that_dispatch_to_themselves_do_not_wait_for_their_own_places() {
    let registry = Registry::immediate(meter());
    let inner = Recorder::open(Mode::Sync);
    let nested = Arc::new(Nested { registry: registry.clone(), inner: inner.clone() });
    let _registration = registry.register(keys(&["a"]), nested);
    let (outer, keys) = (event("1", "Any"), keys(&["a"]));
    let all = join_all((0..3 * EXECUTIONS).map(|_| registry.call_sync(&outer, &keys)));
    timeout(Duration::from_secs(10), all).await.unwrap();
    assert_eq!(inner.ids().len(), 3 * EXECUTIONS);
}

#[tokio::test]
async fn the_first_and_the_last_follower_of_a_key_are_told_to_the_binder() {
    let (registry, mut touched) = Registry::binding(meter());
    let (one, other) = (Recorder::open(Mode::Async), Recorder::open(Mode::Async));
    let first = registry.register(keys(&["a"]), one);
    assert_eq!(touched.try_recv().ok(), Some(key("a")));
    let second = registry.register(keys(&["a"]), other);
    drop(first);
    assert!(touched.is_empty() && registry.is_followed(&key("a")));
    drop(second);
    assert_eq!(touched.try_recv().ok(), Some(key("a")));
    assert!(touched.is_empty() && !registry.is_followed(&key("a")));
}

#[tokio::test]
async fn a_registration_is_established_when_all_its_keys_are_bound() {
    let (registry, _touched) = Registry::binding(meter());
    let listener = Recorder::open(Mode::Async);
    let registration = registry.register(keys(&["a", "b"]), listener.clone());
    registry.bound(&key("a"));
    registry.bound(&key("a"));
    registry.bound(&key("not followed"));
    assert!(!is_established(&registration).await);
    registry.bound(&key("b"));
    assert!(is_established(&registration).await);
    let late = registry.register(keys(&["a"]), Recorder::open(Mode::Async));
    assert!(is_established(&late).await);
    assert_eq!(listener.resynchronised(), 0, "no event was missed before the first binding");
}

#[tokio::test]
async fn after_an_interruption_a_listener_resynchronises_when_all_its_keys_are_bound() {
    let (registry, _touched) = Registry::binding(meter());
    let (old, new) = (Recorder::open(Mode::Async), Recorder::open(Mode::Async));
    let registration = registry.register(keys(&["a", "b"]), old.clone());
    let again = registry.register(keys(&["b"]), old.clone());
    registry.bound(&key("a"));
    registry.bound(&key("b"));
    registry.interrupted();
    registry.interrupted();
    let _late = registry.register(keys(&["a"]), new.clone());
    assert!(!is_established(&registration).await && !is_established(&again).await);
    registry.bound(&key("a"));
    assert_eq!(old.resynchronised(), 0);
    registry.bound(&key("b"));
    assert!(is_established(&registration).await && is_established(&again).await);
    assert_eq!((old.resynchronised(), new.resynchronised()), (1, 0));
}

#[tokio::test]
async fn a_listener_that_gives_up_its_only_unbound_key_resynchronises() {
    let (registry, _touched) = Registry::binding(meter());
    let listener = Recorder::open(Mode::Async);
    let _kept = registry.register(keys(&["a"]), listener.clone());
    registry.bound(&key("a"));
    registry.interrupted();
    let given_up = registry.register(keys(&["b"]), listener.clone());
    registry.bound(&key("a"));
    assert_eq!(listener.resynchronised(), 0);
    drop(given_up);
    assert_eq!(listener.resynchronised(), 1);
}
