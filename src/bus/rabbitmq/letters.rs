//! Dead letters on their way into the database.

use super::{consumer::Consuming, headers};
use crate::{
    bus::{codec, event::Event},
    clock,
    domain::dead_letter::DeadLetter,
    metrics::Metrics,
    store::Store,
};
use lapin::{BasicProperties, message::Delivery, types::ShortString};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use time::OffsetDateTime;
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

/// How long the database may take to keep an entry. An execution's place is taken meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest cause that is kept, in bytes.
const MAX_CAUSE: usize = 4096;

/// Keeps dead letters, and says once for each outage that the database does not take them.
///
/// While it does not, one entry at a time is tried and the others fail at once: a group's places
/// are for events that can run.
pub(super) struct Keeper {
    store: Store,
    metrics: Arc<Metrics>,
    away: AtomicBool,
    trying: Semaphore,
}

impl Keeper {
    pub(super) fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, away: AtomicBool::new(false), trying: Semaphore::new(1) }
    }

    /// Keeps an entry. `false` when it is kept already. On an error it may be kept or not.
    pub(super) async fn keep(&self, letter: &DeadLetter, body: &[u8]) -> Result<bool, String> {
        let _turn = if self.away.load(Ordering::Relaxed) {
            let busy = |_| "the database is away".to_owned();
            Some(self.trying.try_acquire().map_err(busy)?)
        } else {
            None
        };
        let kept = self.seen(self.store.keep_dead_letter(letter, body)).await?;
        if kept {
            self.metrics.dead_lettered(&letter.bus, &letter.group);
        }
        Ok(kept)
    }

    /// Whether the database answers. Only an entry that is kept shows that it can be written.
    pub(super) async fn ready(&self) -> Result<(), String> {
        answer(self.store.ping()).await
    }

    async fn seen<T, E: ToString>(
        &self,
        asking: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        let outcome = answer(asking).await;
        let was_away = self.away.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Err(cause) if !was_away => tracing::warn!(
                cause,
                "dead letters cannot be kept, and their events run again until they can: {cause}"
            ),
            Ok(_) if was_away => tracing::info!("dead letters can be kept again"),
            _ => {}
        }
        outcome
    }
}

async fn answer<T, E: ToString>(asking: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(LIMIT, asking).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the database did not answer within {} s", LIMIT.as_secs())),
    }
}

/// A cause as it is kept.
pub(super) fn bounded(cause: &str) -> String {
    cause[..cause.floor_char_boundary(MAX_CAUSE)].to_owned()
}

/// The parts that name an entry, each with its length before it, so that no two lists of parts are
/// the same bytes.
pub(super) fn name<const N: usize>(parts: [&[u8]; N]) -> Uuid {
    let mut seed = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        seed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        seed.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &seed)
}

/// What the identifiers of dead letters are made in (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f5d_6a3e_3d0c_4f1b_9a52_7c1f_0e7d_2b41);

/// What tells two failures of one event apart, in bytes: the time of the first failure, else of
/// its publication, and the entry that it was redelivered from.
pub(super) fn occasion(properties: &BasicProperties) -> ([u8; 8], [u8; 16]) {
    let first = headers::first_failed_at(properties).map(clock::to_micros);
    let published = || headers::published_at(properties).map(clock::to_micros);
    let previous = headers::id(properties, headers::PREVIOUS).unwrap_or_default();
    (first.or_else(published).unwrap_or_default().to_be_bytes(), previous.into_bytes())
}

impl Consuming {
    /// The dead letter of an event, and its body: as it travelled, unless it travelled together
    /// with others. The same failure has the same id whoever meets it again after a crash.
    pub(super) fn letter<'a>(
        &self,
        delivery: &'a Delivery,
        (event, alone): (&Event, bool),
        cause: &str,
        first_failed_at: OffsetDateTime,
    ) -> (DeadLetter, Cow<'a, [u8]>) {
        let (listener, properties) = (&self.consumption.listener, &delivery.properties);
        let (first, previous) = occasion(properties);
        let group = listener.group.as_str().as_bytes();
        let (content_type, body) = if alone {
            let content_type = properties.content_type().as_ref().map(ShortString::to_string);
            (content_type, Cow::Borrowed(delivery.data.as_slice()))
        } else {
            let body = codec::encode_cloudevent(event);
            (Some(codec::CLOUDEVENTS_JSON.to_owned()), Cow::Owned(body))
        };
        let id = headers::id(properties, headers::LETTER)
            .unwrap_or_else(|| name([group, event.id.as_bytes(), &first, &previous, &body]));
        let letter = DeadLetter {
            id,
            bus: listener.bus.clone(),
            group: listener.group.clone(),
            origin: None,
            event_id: Some(event.id.clone()),
            event_type: Some(event.kind.clone()),
            user: event.user.clone(),
            content_type,
            keys: BTreeSet::new(),
            cause: bounded(cause),
            attempts: headers::attempt(properties).saturating_add(1),
            first_failed_at,
            last_failed_at: clock::now(),
            node: self.shared.node.clone(),
            previous: headers::id(properties, headers::PREVIOUS),
        };
        (letter, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_its_parts_and_not_of_their_sum() {
        assert_eq!(name([b"a", b"b"]), name([b"a", b"b"]));
        assert_ne!(name([b"a", b"b"]), name([b"ab", b""]));
        assert_ne!(name([b"a", b"b"]), name([b"b", b"a"]));
    }

    #[test]
    fn an_occasion_is_the_first_failure_else_the_publication() {
        let published = BasicProperties::default().with_timestamp(7);
        assert_eq!(occasion(&published).0, 7_000_000_i64.to_be_bytes());
        assert_eq!(occasion(&BasicProperties::default()), ([0; 8], [0; 16]));
    }

    #[test]
    fn a_long_cause_is_cut_between_characters() {
        let long = bounded(&format!("x{}", "é".repeat(4_000)));
        assert_eq!(long.len(), 4_095);
        assert_eq!(bounded("short"), "short");
    }
}
