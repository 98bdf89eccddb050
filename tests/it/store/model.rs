//! The store against a model of it: random scripts of appends, told and retold.

use super::{Bench, audit, event, history};
use hearken::{
    domain::event::{RecordedEvent, Version},
    store::{AppendError, Store},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// One call. Ids and fingerprints come from a small set, so that they meet again.
#[derive(Debug, Clone)]
enum Call {
    Append { offset: i64, events: u8, command: u8, fingerprint: Option<u8> },
    Read { after: u64, limit: usize },
    CatchUp { back: u64, limit: usize },
    Command(u8),
}

fn call() -> impl Strategy<Value = Call> {
    let offset = prop_oneof![6 => Just(0_i64), 1 => -3..=-1_i64, 1 => 1..=3_i64];
    let fingerprint = proptest::option::weighted(0.7, 0..2_u8);
    prop_oneof![
        5 => (offset, 0..=3_u8, 0..12_u8, fingerprint)
            .prop_map(|(offset, events, command, fingerprint)| Call::Append { offset, events, command, fingerprint }),
        1 => (0..20_u64, 1..8_usize).prop_map(|(after, limit)| Call::Read { after, limit }),
        1 => (0..6_u64, 1..8_usize).prop_map(|(back, limit)| Call::CatchUp { back, limit }),
        1 => (0..12_u8).prop_map(Call::Command),
    ]
}

/// What the store should remember.
#[derive(Default)]
struct Model {
    log: Vec<RecordedEvent>,
    claims: BTreeMap<u8, u8>,
}

/// What an append should answer.
#[derive(Debug, PartialEq)]
enum Expected {
    Nothing,
    Appended(u8),
    Conflict,
    Replayed(Vec<Version>),
    Reused,
}

impl Model {
    fn of_command(&self, id: Uuid) -> Vec<Version> {
        self.log.iter().filter(|e| e.audit.command_id == id).map(|e| e.version).collect()
    }

    fn append(&self, expected: u64, events: u8, command: u8, fingerprint: Option<u8>) -> Expected {
        let before = self.of_command(name(command));
        if events == 0 {
            return Expected::Nothing;
        }
        match (fingerprint, self.claims.get(&command)) {
            (Some(asked), Some(taken)) if asked != *taken => return Expected::Reused,
            _ if !before.is_empty() => return Expected::Replayed(before),
            _ => {}
        }
        if expected == self.log.len() as u64 {
            Expected::Appended(events)
        } else {
            Expected::Conflict
        }
    }
}

fn name(command: u8) -> Uuid {
    Uuid::from_u128(0x1000 + u128::from(command))
}

async fn run(store: &Store, model: &mut Model, call: &Call) {
    let head = model.log.len() as u64;
    match *call {
        Call::Append { offset, events, command, fingerprint } => {
            let expected = head.saturating_add_signed(offset);
            let list: Vec<_> = (0..events).map(|n| event(&format!("g{head}-{n}"))).collect();
            let print = fingerprint.map(|f| [f; 32]);
            let answer = store.append(expected, &list, &audit(name(command)), print.as_ref()).await;
            let foreseen = model.append(expected, events, command, fingerprint);
            let seen = match answer {
                Ok(recorded) if recorded.is_empty() => Expected::Nothing,
                Ok(recorded) => {
                    model.log.extend(recorded);
                    if let Some(fingerprint) = fingerprint {
                        model.claims.insert(command, fingerprint);
                    }
                    Expected::Appended(events)
                }
                Err(AppendError::Conflict) => Expected::Conflict,
                Err(AppendError::CommandReused) => Expected::Reused,
                Err(AppendError::Replayed(events)) => {
                    Expected::Replayed(events.iter().map(|e| e.version).collect())
                }
                Err(AppendError::Store(error)) => panic!("{error:?}"),
            };
            assert_eq!(seen, foreseen, "{call:?} at {head}");
        }
        Call::Read { after, limit } => {
            let page = store.events_after(after, limit).await.unwrap();
            let all = model.log.iter().filter(|e| e.version > after).take(limit);
            assert!(page.iter().eq(all), "{call:?} at {head}");
        }
        Call::CatchUp { back, limit } => {
            let mine = head.saturating_sub(back);
            let last = model.log.iter().find(|e| e.version == mine).map(|e| e.event_id);
            let page = store.catch_up(mine, last, limit).await.unwrap();
            assert!(page.iter().eq(model.log.iter().filter(|e| e.version > mine).take(limit)));
        }
        Call::Command(command) => {
            let versions = store.command(name(command)).await.unwrap().map_or_else(Vec::new, |c| {
                assert_eq!(c.fingerprint, model.claims.get(&command).map(|f| vec![*f; 32]));
                c.events.iter().map(|e| e.version).collect()
            });
            assert_eq!(versions, model.of_command(name(command)));
        }
    }
}

pub(crate) async fn the_store_behaves_as_its_model(bench: Bench) {
    let runtime = tokio::runtime::Handle::current();
    let postgres = bench.is_postgres();
    let cases = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config {
            cases: 12,
            max_shrink_iters: 60,
            failure_persistence: None,
            ..Config::default()
        });
        runner.run(&proptest::collection::vec(call(), 1..40), |calls| {
            runtime.block_on(async {
                let bench = if postgres { Bench::postgres().await } else { Bench::sqlite().await };
                let mut model = Model::default();
                for call in &calls {
                    run(&bench.store, &mut model, call).await;
                }
                assert_eq!(history(&bench.store).await, model.log);
                bench.store.close().await;
            });
            Ok(())
        })
    });
    if let Err(error) = cases.await.unwrap() {
        panic!("{error}");
    }
}
