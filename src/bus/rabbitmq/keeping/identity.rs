//! Ids of dead letters. One failure has one id on every node and after every crash, so that the
//! same failure is kept once.

use crate::{bus::rabbitmq::headers, clock};
use lapin::BasicProperties;
use uuid::Uuid;

/// Namespace of the ids of dead letters (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f5d_6a3e_3d0c_4f1b_9a52_7c1f_0e7d_2b41);

/// What tells two failures of one event apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailureOccasion {
    /// Time of the first failure, or else of publishing, in microseconds.
    pub(crate) time: [u8; 8],
    /// The dead letter that the event was redelivered from.
    pub(crate) previous: [u8; 16],
}

impl FailureOccasion {
    /// Reads the occasion from a message's properties.
    pub(crate) fn of(properties: &BasicProperties) -> Self {
        let first = headers::first_failed_at(properties).map(clock::to_micros);
        let published = || headers::published_at(properties).map(clock::to_micros);
        let previous = headers::id(properties, headers::PREVIOUS).unwrap_or_default();
        Self {
            time: first.or_else(published).unwrap_or_default().to_be_bytes(),
            previous: previous.into_bytes(),
        }
    }
}

/// The id of the dead letter that these facts tell apart. Each fact is preceded by its length, so
/// that two different lists of facts never have the same bytes.
pub(crate) fn entry_id<const N: usize>(facts: [&[u8]; N]) -> Uuid {
    let mut seed = Vec::with_capacity(facts.iter().map(|fact| fact.len() + 8).sum());
    for fact in facts {
        seed.extend_from_slice(&(fact.len() as u64).to_be_bytes());
        seed.extend_from_slice(fact);
    }
    Uuid::new_v5(&NAMESPACE, &seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_each_fact_and_not_on_their_concatenation() {
        assert_eq!(entry_id([b"a", b"b"]), entry_id([b"a", b"b"]));
        assert_ne!(entry_id([b"a", b"b"]), entry_id([b"ab", b""]));
        assert_ne!(entry_id([b"a", b"b"]), entry_id([b"b", b"a"]));
    }

    #[test]
    fn an_occasion_is_the_first_failure_or_else_the_publication() {
        let published = BasicProperties::default().with_timestamp(7);
        assert_eq!(FailureOccasion::of(&published).time, 7_000_000_i64.to_be_bytes());
        let unknown = FailureOccasion { time: [0; 8], previous: [0; 16] };
        assert_eq!(FailureOccasion::of(&BasicProperties::default()), unknown);
    }
}
