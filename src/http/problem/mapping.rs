//! Problem of each error.

use super::{Problem, kinds};
use crate::{
    bus::{
        DispatchError,
        codec::{DecodeError, EncodeError},
    },
    dispatch::{BatchError, NotAccepted},
    domain::{admission::NotAdmitted, deletion::QueueRefusal, name::NameError, roster::Refusal},
    error_chain::error_chain,
    http::{body, events},
    reconcile::{BrokerError, PassError},
    roster::ExecuteError,
    store::StoreError,
};

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(&kinds::INVALID_NAME, error.to_string()).with("value", error.value)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => {
                let detail = "the database does not answer; try again in a moment";
                Self::new(&kinds::STORE_UNAVAILABLE, detail).caused_by(&error).retry_after(5)
            }
            StoreError::OutdatedNode { ref node, .. } => {
                let node = node.clone();
                Self::new(&kinds::OUTDATED_NODE, error.to_string()).with("node", node)
            }
            StoreError::Shorter { .. }
            | StoreError::StaleRead
            | StoreError::SchemaTooNew { .. } => {
                Self::new(&kinds::STORE_UNAVAILABLE, error.to_string()).retry_after(5)
            }
            StoreError::LeaseLost { .. } => {
                Self::new(&kinds::BUSY, error.to_string()).retry_after(1)
            }
            StoreError::Unstorable => Self::new(&kinds::INVALID_BODY, error.to_string()),
            _ => Self::internal(error_chain(&error)),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::GroupInUse { group, class } => {
                Self::new(&kinds::GROUP_IN_USE, detail).with("group", group).with("class", class)
            }
            Refusal::BusInUse { bus } => Self::new(&kinds::BUS_IN_USE, detail).with("bus", bus),
            Refusal::CannotChange { group, setting } => Self::new(&kinds::CANNOT_CHANGE, detail)
                .with("group", group)
                .with("setting", setting.name()),
            Refusal::NoSuchBus { known, .. } => {
                Self::new(&kinds::NOT_FOUND, detail).with("known", known)
            }
            Refusal::BusOccupied { bus, users } => {
                Self::new(&kinds::BUS_IN_USE, detail).with("bus", bus).with("users", users)
            }
            Refusal::BusStays { setting, .. } => {
                Self::new(&kinds::CANNOT_CHANGE, detail).with("setting", setting)
            }
            Refusal::PrefixStays { .. } => {
                Self::new(&kinds::CANNOT_CHANGE, detail).with("setting", "prefix")
            }
            Refusal::GenerationInUse { .. } => Self::new(&kinds::NOT_ORPHAN, detail),
            Refusal::NotConfigured { group } => {
                Self::new(&kinds::NOT_CONFIGURED, detail).with("group", group)
            }
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(refusal: NotAdmitted) -> Self {
        let detail = refusal.to_string();
        match refusal {
            NotAdmitted::UnknownClass { class, known } => {
                Self::new(&kinds::UNKNOWN_CLASS, detail).with("class", class).with("known", known)
            }
            NotAdmitted::UnknownBus { bus, known } => {
                Self::new(&kinds::UNKNOWN_BUS, detail).with("bus", bus).with("known", known)
            }
            NotAdmitted::RequiredHere { group } => {
                Self::new(&kinds::REQUIRED_HERE, detail).with("group", group)
            }
            NotAdmitted::BusDefinedHere { bus } => {
                Self::new(&kinds::REQUIRED_HERE, detail).with("bus", bus)
            }
            NotAdmitted::InvalidConfiguration { class, errors } => {
                let problem = Self::new(&kinds::INVALID_CONFIGURATION, detail);
                problem.with("class", class).with("errors", errors)
            }
            NotAdmitted::Setting(setting) => Self::new(&kinds::INVALID_SETTING, detail)
                .with("field", setting.field)
                .with("allowed", setting.allowed),
            NotAdmitted::Bus(_) => Self::new(&kinds::INVALID_BUS, detail),
            NotAdmitted::NameTooLong(name) => {
                Self::new(&kinds::INVALID_NAME, detail).with("value", name.group)
            }
        }
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(refusal) => refusal.into(),
            ExecuteError::NotAdmitted(refusal) => refusal.into(),
            ExecuteError::StaleVersion { expected, found } => {
                let detail =
                    format!("If-Match names version {expected}; the roster has version {found}");
                Self::new(&kinds::STALE_VERSION, detail)
                    .with("expected", expected)
                    .with("found", found)
            }
            ExecuteError::CommandReused => Self::new(
                &kinds::COMMAND_REUSED,
                "this Idempotency-Key was used with another request; use a new key for a new request",
            ),
            ExecuteError::Contention => {
                Self::new(&kinds::CONTENTION, error.to_string()).retry_after(1)
            }
            ExecuteError::Store(error) => error.into(),
        }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        let detail = "the broker does not answer, or its answer cannot be read";
        Self::new(&kinds::BROKER_UNAVAILABLE, detail).caused_by(&error).retry_after(5)
    }
}

impl From<PassError> for Problem {
    fn from(error: PassError) -> Self {
        let detail = error.to_string();
        match error {
            PassError::Busy | PassError::LeaseLost(_) => {
                Self::new(&kinds::BUSY, detail).retry_after(1)
            }
            PassError::Stopping => Self::new(&kinds::BUSY, detail).retry_after(5),
            PassError::Blocked(_) => Self::new(&kinds::BLOCKED, detail),
            PassError::Broker(error) => error.into(),
            PassError::Store(error) => error.into(),
            PassError::Refused(refusal) => refusal.into(),
            PassError::Defect(_) => Self::internal(detail),
        }
    }
}

impl From<QueueRefusal> for Problem {
    fn from(refusal: QueueRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            QueueRefusal::Unknown(_) => Self::new(&kinds::NOT_FOUND, detail),
            QueueRefusal::Foreign(name) => Self::new(&kinds::FOREIGN, detail).with("name", name),
            QueueRefusal::NotOrphan(name) | QueueRefusal::WithoutGroup(name) => {
                Self::new(&kinds::NOT_ORPHAN, detail).with("name", name)
            }
            QueueRefusal::InUse(queue) => Self::new(&kinds::IN_USE, detail).with("queue", queue),
            QueueRefusal::NotEmpty { queue, ready, unacked } => {
                Self::new(&kinds::NOT_EMPTY, detail)
                    .with("queue", queue)
                    .with("ready", ready)
                    .with("unacked", unacked)
            }
        }
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let detail = error.to_string();
        match error {
            DecodeError::TooLarge(_) => {
                Self::new(&kinds::BODY_TOO_LARGE, detail).with("limit", body::LIMIT)
            }
            DecodeError::ContentType(_) => events::unsupported(detail),
            DecodeError::Json(error) => error.into(),
            DecodeError::MsgPack { .. }
            | DecodeError::Shape(_)
            | DecodeError::Attribute { .. }
            | DecodeError::InBatch { .. } => Self::new(&kinds::INVALID_EVENT, detail),
        }
    }
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        let detail = match &error {
            DispatchError::Unavailable { .. } => {
                "neither the broker nor the database confirmed the event, so it may be lost; send it again with the same id".to_owned()
            }
            DispatchError::Unroutable(_) => error.to_string(),
            DispatchError::Unwritable(EncodeError::TooLarge(_)) => {
                return Self::new(&kinds::BODY_TOO_LARGE, error.to_string()).caused_by(&error);
            }
            DispatchError::Unwritable(EncodeError::NotJames { .. }) => {
                return Self::new(&kinds::INVALID_EVENT, error.to_string()).caused_by(&error);
            }
        };
        Self::new(&kinds::NOT_ACCEPTED, detail).caused_by(&error).retry_after(5)
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        let detail = error.to_string();
        match error {
            BatchError::NoSuchBus(_) => Self::new(&kinds::NOT_FOUND, detail),
            BatchError::NotAccepted { accepted, mut failed } => {
                let whole = accepted.is_empty() && failed.len() == 1;
                match failed.pop() {
                    Some(NotAccepted { error, .. }) if whole => Self::from(error),
                    Some(NotAccepted { id, error }) => {
                        let mut ids: Vec<String> =
                            failed.into_iter().map(|other| other.id).collect();
                        ids.push(id);
                        Self::from(error).with("accepted", accepted).with("notAccepted", ids)
                    }
                    None => Self::internal(detail),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::{BusName, GroupName};
    use std::error::Error;

    fn group() -> GroupName {
        GroupName::parse("a").unwrap()
    }

    #[test]
    fn a_refusal_names_the_object_that_conflicts() {
        let refusal = Refusal::NotConfigured { group: group() };
        let problem = Problem::from(ExecuteError::from(refusal));
        assert_eq!(
            (problem.kind(), &problem.body("r")["group"]),
            (&kinds::NOT_CONFIGURED, &"a".into())
        );
        let stale = Problem::from(ExecuteError::StaleVersion { expected: 3, found: 5 });
        assert_eq!((stale.kind().status, &stale.body("r")["found"]), (412, &5.into()));
        let queue = QueueRefusal::NotEmpty { queue: "q".into(), ready: 2, unacked: 1 };
        assert_eq!(Problem::from(queue).body("r")["ready"], 2);
    }

    #[test]
    fn the_message_of_the_broker_is_logged_and_not_sent() {
        let source: Box<dyn Error + Send + Sync> = "amqp://user:secret@host".into();
        let error = BrokerError::Unreachable { what: "queues".into(), source: Some(source) };
        let problem = Problem::from(PassError::from(error));
        assert_eq!(problem.kind().status, 503);
        assert!(!problem.body("r").to_string().contains("secret"));
        assert!(problem.cause().unwrap().contains("secret"));
    }

    #[test]
    fn an_event_that_was_not_accepted_may_be_sent_again() {
        let error = DispatchError::Unroutable(BusName::parse("b").unwrap());
        let answer = Problem::from(error).answer("r");
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }

    #[test]
    fn an_event_that_the_bus_cannot_carry_is_refused_for_good() {
        let large = DispatchError::Unwritable(EncodeError::TooLarge(17));
        assert_eq!(Problem::from(large).answer("r").status(), 413);
        let foreign = EncodeError::NotJames { problem: "its data is no JSON".into() };
        let answer = Problem::from(DispatchError::Unwritable(foreign)).answer("r");
        assert!(answer.status().is_client_error() && !answer.headers().contains_key("retry-after"));
    }
}
