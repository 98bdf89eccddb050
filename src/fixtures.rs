//! Values that the unit tests of several rooms start from.

use crate::domain::{
    listener::ListenerSpec,
    name::{BusName, ClassName, GroupName},
};

/// A listener of class `log` on bus `mailboxEvent`, with every setting at its default.
pub(crate) fn listener(group: &str) -> ListenerSpec {
    ListenerSpec::new(
        GroupName::parse(group).unwrap(),
        ClassName::parse("log").unwrap(),
        BusName::parse("mailboxEvent").unwrap(),
    )
}
