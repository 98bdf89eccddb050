//! Labels of the series. No label comes from user data, except bus and group.

use crate::domain::name::{BusName, GroupName};
use prometheus_client::encoding::EncodeLabelSet;

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    pub(super) outcome: &'static str,
}

/// Kind of a drift.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DriftLabel {
    pub(super) kind: &'static str,
}

/// State of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabel {
    pub(super) state: &'static str,
}

/// Unit of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabel {
    pub(super) limit: &'static str,
}

/// Pattern of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabel {
    pub(super) route: String,
}

/// Kind of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RecordLabel {
    pub(super) record: &'static str,
}

/// A bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BusLabel {
    bus: String,
}

/// A group of a bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GroupLabel {
    bus: String,
    group: String,
}

/// Purpose of a connection to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ConnectionLabel {
    pub(super) connection: &'static str,
}

/// Kind of a request. The route is the pattern, never the path, because a path may hold user data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabel {
    pub(super) method: String,
    pub(super) route: String,
    pub(super) status: u16,
}

impl BusLabel {
    pub(super) fn new(bus: &BusName) -> Self {
        Self { bus: bus.to_string() }
    }

    /// A group of this bus.
    pub(super) fn group(&self, group: &str) -> GroupLabel {
        GroupLabel { bus: self.bus.clone(), group: group.to_owned() }
    }
}

impl GroupLabel {
    pub(super) fn new(bus: &BusName, group: &GroupName) -> Self {
        Self { bus: bus.to_string(), group: group.to_string() }
    }
}
