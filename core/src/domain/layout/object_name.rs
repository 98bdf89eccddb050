//! Reading the names of hearken's objects, and the words that keep those names apart.
//!
//! A name is the prefix, then the bus, then a word that says what the object is. No bus has such a
//! word among its dot-separated parts, so the first such word ends the bus. The text after the word
//! may contain dots, so a generation and a connection attempt are read from the right.

use super::Layout;
use crate::domain::{
    event::Generation,
    name::{BusName, GroupName},
    roster::QueueId,
};
use uuid::Uuid;

/// The words that follow the bus in a name. No part of a bus name is one of these words.
pub(crate) const OBJECT_WORDS: [&str; 7] =
    ["keys", "return", "parked", "wait", "work", "node", "shared"];
/// The words that stand in the place of a bus: `meta` in the marker exchange, and `push` in objects
/// of the cluster. No bus name begins with one of these words.
pub(crate) const CLUSTER_WORDS: [&str; 2] = ["meta", "push"];

/// Meaning of the name of an exchange or a queue of hearken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// The main exchange of a bus.
    Main {
        /// The bus.
        bus: BusName,
    },
    /// The key exchange of a bus.
    Keys {
        /// The bus.
        bus: BusName,
    },
    /// The return exchange of a bus.
    Return {
        /// The bus.
        bus: BusName,
    },
    /// The `parked` exchange and queue of a bus.
    Parked {
        /// The bus.
        bus: BusName,
    },
    /// The exchange and queue of one wait level of a bus.
    Wait {
        /// The bus.
        bus: BusName,
        /// Time that an event waits, in milliseconds.
        millis: u64,
    },
    /// A group's work queue.
    Work {
        /// The bus.
        bus: BusName,
        /// The group, and the generation of its queue.
        queue: QueueId,
    },
    /// A queue that belongs to one connection of a node.
    Node {
        /// The bus.
        bus: BusName,
        /// The node's id, cut to the room that the name has.
        node: String,
        /// The connection attempt.
        attempt: Uuid,
    },
    /// The exchange whose arguments name the cluster.
    Marker,
}

impl ObjectName {
    /// The bus that the object belongs to. The marker belongs to no bus.
    #[must_use]
    pub fn bus(&self) -> Option<&BusName> {
        match self {
            Self::Main { bus }
            | Self::Keys { bus }
            | Self::Return { bus }
            | Self::Parked { bus }
            | Self::Wait { bus, .. }
            | Self::Work { bus, .. }
            | Self::Node { bus, .. } => Some(bus),
            Self::Marker => None,
        }
    }
}

impl Layout {
    /// Reads a name that this layout writes. `None` for every other name, with or without the
    /// prefix. A name that can be read does not show that the object is ours.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<ObjectName> {
        let read = parse(name.strip_prefix(&self.prefix)?.strip_prefix('.')?)?;
        // Other spellings of the same number or identifier are other names.
        (self.write(&read) == name).then_some(read)
    }

    /// The name of an object.
    #[must_use]
    pub fn write(&self, name: &ObjectName) -> String {
        match name {
            ObjectName::Main { bus } => self.main(bus),
            ObjectName::Keys { bus } => self.keys(bus),
            ObjectName::Return { bus } => self.returns(bus),
            ObjectName::Parked { bus } => self.parked(bus),
            ObjectName::Wait { bus, millis } => self.wait(bus, *millis),
            ObjectName::Work { bus, queue } => self.work(bus, &queue.group, queue.generation),
            ObjectName::Node { bus, node, attempt } => self.node_queue(bus, node, *attempt),
            ObjectName::Marker => self.marker(),
        }
    }
}

fn parse(text: &str) -> Option<ObjectName> {
    if text == "meta" {
        return Some(ObjectName::Marker);
    }
    let Some((bus, word, tail)) = split_at_word(text) else {
        return Some(ObjectName::Main { bus: BusName::parse(text).ok()? });
    };
    let bus = BusName::parse(bus).ok()?;
    match (word, tail) {
        ("keys", None) => Some(ObjectName::Keys { bus }),
        ("return", None) => Some(ObjectName::Return { bus }),
        ("parked", None) => Some(ObjectName::Parked { bus }),
        ("wait", Some(millis)) => Some(ObjectName::Wait { bus, millis: millis.parse().ok()? }),
        ("work", Some(tail)) => {
            let (group, generation) = tail.rsplit_once(".v")?;
            let generation: Generation = generation.parse().ok()?;
            let queue = QueueId::new(GroupName::parse(group).ok()?, generation);
            Some(ObjectName::Work { bus, queue })
        }
        ("node", Some(tail)) => {
            let (node, attempt) = tail.rsplit_once('.')?;
            let (node, attempt) = (node.to_owned(), Uuid::parse_str(attempt).ok()?);
            Some(ObjectName::Node { bus, node, attempt })
        }
        _ => None,
    }
}

/// The text before the first object word, the word, and the text after it.
fn split_at_word(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut start = 0;
    for part in text.split('.') {
        let end = start + part.len();
        if OBJECT_WORDS.contains(&part) {
            let bus = text[..start].strip_suffix('.')?;
            return Some((bus, part, text[end..].strip_prefix('.')));
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::layout::MAX_QUEUE_NAME;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn layout() -> Layout {
        Layout { prefix: "hearken".into(), ..Layout::default() }
    }

    /// Parts of names that come close to the words, numbers and suffixes of the layout.
    fn part() -> impl Strategy<Value = String> {
        let words = OBJECT_WORDS.iter().chain(&CLUSTER_WORDS).map(|word| (*word).to_owned());
        let near = ["v1", "v2", "v", "100", "worker", "Work", "a", "a-b", "x$y", "nodes", ""];
        let near: Vec<String> = words.chain(near.map(str::to_owned)).collect();
        prop_oneof![proptest::sample::select(near), "[A-Za-z0-9_$-]{1,6}"]
    }

    fn dotted() -> impl Strategy<Value = String> {
        proptest::collection::vec(part(), 1..5).prop_map(|parts| parts.join("."))
    }

    fn bus() -> impl Strategy<Value = BusName> {
        dotted().prop_filter_map("no bus name", |text| BusName::parse(text).ok())
    }

    fn group() -> impl Strategy<Value = GroupName> {
        dotted().prop_filter_map("no group name", |text| GroupName::parse(text).ok())
    }

    fn object() -> impl Strategy<Value = ObjectName> {
        let generation = prop_oneof![Just(1), Just(2), any::<Generation>()];
        let level = (0_u32..20).prop_map(|n| 100 << n);
        let node = prop_oneof![dotted(), "[ -~]{0,20}"];
        prop_oneof![
            Just(ObjectName::Marker),
            bus().prop_map(|bus| ObjectName::Main { bus }),
            bus().prop_map(|bus| ObjectName::Keys { bus }),
            bus().prop_map(|bus| ObjectName::Return { bus }),
            bus().prop_map(|bus| ObjectName::Parked { bus }),
            (bus(), level).prop_map(|(bus, millis)| ObjectName::Wait { bus, millis }),
            (bus(), group(), generation).prop_map(|(bus, group, generation)| {
                ObjectName::Work { bus, queue: QueueId::new(group, generation) }
            }),
            (bus(), node, any::<u128>()).prop_map(|(bus, node, attempt)| {
                ObjectName::Node { bus, node, attempt: Uuid::from_u128(attempt) }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_written_name_reads_as_the_object_it_was_written_for(object in object()) {
            prop_assert_eq!(layout().read(&layout().write(&object)), Some(object));
        }

        #[test]
        fn two_objects_never_have_one_name(objects in proptest::collection::vec(object(), 2..40)) {
            let objects: BTreeSet<ObjectName> = objects.into_iter().collect();
            let names: BTreeSet<String> = objects.iter().map(|one| layout().write(one)).collect();
            prop_assert_eq!(names.len(), objects.len());
        }

        #[test]
        fn a_name_that_can_be_read_is_written_the_same(text in dotted()) {
            let name = format!("hearken.{text}");
            if let Some(object) = layout().read(&name) {
                prop_assert_eq!(layout().write(&object), name);
            }
        }

        #[test]
        fn a_node_queue_of_any_node_reads_with_its_bus_and_attempt(
            wanted in bus(), node in any::<String>(), number in any::<u128>(),
        ) {
            let attempt = Uuid::from_u128(number);
            let name = layout().node_queue(&wanted, &node, attempt);
            prop_assert!(name.len() <= MAX_QUEUE_NAME);
            let read = layout().read(&name);
            let matches = matches!(
                &read,
                Some(ObjectName::Node { bus, attempt: found, .. })
                    if *bus == wanted && *found == attempt
            );
            prop_assert!(matches, "{:?}", read);
        }
    }

    #[test]
    fn a_generation_is_read_from_the_right() {
        let read = layout().read("hearken.m.work.g.v2.v1");
        let queue = QueueId::new(GroupName::parse("g.v2").unwrap(), 1);
        assert_eq!(read, Some(ObjectName::Work { bus: BusName::parse("m").unwrap(), queue }));
    }

    #[test]
    fn a_name_that_the_layout_does_not_write_is_not_read() {
        for name in [
            "",
            "hearken",
            "hearken.",
            "hearkenx.m",
            "hearken.keys",
            "hearken.m.keys.a",
            "hearken.m.wait.0100",
            "hearken.m.wait.a",
            "hearken.m.work.a",
            "hearken.m.work.a.v01",
            "hearken.m.work..v1",
            "hearken.m.node.n1",
            "hearken.m.shared",
            "hearken.push.stream",
            "hearken.meta.a",
        ] {
            assert_eq!(layout().read(name), None, "{name}");
        }
    }
}
