//! Lists of the management API, read as values of the domain.
//!
//! The structs have only the fields that hearken uses, and ignore all other fields, which differ
//! between versions of RabbitMQ.

use crate::domain::{
    depth::Depth,
    layout::Layout,
    topology::{
        AppliedPolicy, Argument, Arguments, Binding, Destination, Exchange, ExchangeKind, Queue,
        Topology,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Policy keys that decide which events are kept, for how long, and where other events go.
const KEEPING: [&str; 9] = [
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "overflow",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delivery-limit",
];

#[derive(Deserialize)]
pub(super) struct ExchangeRow {
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: ExchangeKind,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    #[serde(default)]
    arguments: Value,
}

/// A queue, without its counters.
#[derive(Deserialize)]
pub(super) struct QueueRow {
    name: String,
    durable: bool,
    auto_delete: bool,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    policy: Option<String>,
    /// Set from RabbitMQ 4.2.5 on. Combines the policy and the operator policy.
    #[serde(default)]
    operator_policy: Option<String>,
    #[serde(default)]
    effective_policy_definition: Value,
}

#[derive(Deserialize)]
pub(super) struct BindingRow {
    source: String,
    destination: String,
    destination_type: Destination,
    routing_key: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
pub(super) struct PolicyRow {
    name: String,
    #[serde(default)]
    definition: Value,
}

/// A queue's counters. They are absent until RabbitMQ has counted.
#[derive(Deserialize)]
pub(super) struct CountRow {
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
    consumers: Option<u64>,
}

impl CountRow {
    /// The counts; `None` when a counter is absent.
    pub(super) fn depth(&self) -> Option<Depth> {
        let (ready, unacked) = (self.messages_ready?, self.messages_unacknowledged?);
        Some(Depth { ready, unacked, consumers: self.consumers? })
    }
}

/// Query that limits a list of queues to the members of [`NamedCountRow`].
pub(super) const COUNT_COLUMNS: &str =
    "columns=name,messages_ready,messages_unacknowledged,consumers";

/// A queue's name and counters.
#[derive(Deserialize)]
pub(super) struct NamedCountRow {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) count: CountRow,
}

/// Product and version of the broker.
#[derive(Deserialize)]
pub(super) struct Overview {
    pub(super) product_name: Option<String>,
    pub(super) product_version: Option<String>,
    pub(super) rabbitmq_version: Option<String>,
}

impl ExchangeRow {
    pub(super) fn into_exchange(self) -> Exchange {
        Exchange {
            name: self.name,
            kind: self.kind,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: arguments(&self.arguments),
        }
    }
}

impl QueueRow {
    fn into_queue(self, policies: &[PolicyRow]) -> Queue {
        let policy = self.applied(policies);
        Queue {
            name: self.name,
            durable: self.durable,
            exclusive: self.exclusive,
            auto_delete: self.auto_delete,
            arguments: arguments(&self.arguments),
            policy,
        }
    }

    /// The applied policy, if it changes which events are kept. Before RabbitMQ 4.2.5 the list has
    /// only the name of the policy, and operator policies cannot be seen.
    fn applied(&self, policies: &[PolicyRow]) -> Option<AppliedPolicy> {
        let name = self.policy.as_ref().filter(|name| !name.is_empty());
        let named = name.and_then(|name| policies.iter().find(|policy| policy.name == *name));
        let none = Map::new();
        let definition = match &self.effective_policy_definition {
            Value::Object(definition) if !definition.is_empty() => definition,
            _ => named.and_then(|policy| policy.definition.as_object()).unwrap_or(&none),
        };
        let keys: Vec<String> =
            definition.keys().filter(|key| KEEPING.contains(&key.as_str())).cloned().collect();
        let name = name.or(self.operator_policy.as_ref())?.clone();
        (!keys.is_empty()).then_some(AppliedPolicy { name, keys })
    }
}

/// Topology of a virtual host, without the objects that do not concern hearken.
pub(super) fn topology(
    layout: &Layout,
    queues: Vec<QueueRow>,
    exchanges: Vec<ExchangeRow>,
    bindings: Vec<BindingRow>,
    policies: &[PolicyRow],
) -> Topology {
    let mut topology = Topology::default();
    for row in exchanges.into_iter().filter(|row| layout.has_prefix(&row.name)) {
        topology.add_exchange(row.into_exchange());
    }
    for row in queues.into_iter().filter(|row| layout.has_prefix(&row.name)) {
        topology.add_queue(row.into_queue(policies));
    }
    // Every queue is bound to the default exchange, which no client can change.
    let ours = |row: &BindingRow| {
        !row.source.is_empty()
            && (layout.has_prefix(&row.source) || layout.has_prefix(&row.destination))
    };
    topology.bindings = bindings
        .into_iter()
        .filter(ours)
        .map(|row| Binding {
            source: row.source,
            destination_kind: row.destination_type,
            destination: row.destination,
            routing_key: row.routing_key,
            arguments: arguments(&row.arguments),
        })
        .collect();
    topology
}

/// Reads arguments. They are an object; some versions of RabbitMQ write an empty list when there
/// are no arguments.
fn arguments(value: &Value) -> Arguments {
    let Value::Object(map) = value else { return Arguments::new() };
    map.iter()
        .map(|(name, value)| {
            let argument = match value {
                Value::Bool(value) => Argument::Bool(*value),
                Value::String(text) => Argument::Text(text.clone()),
                Value::Number(number) => match number.as_i64() {
                    Some(number) => Argument::Int(number),
                    None => Argument::Other(value.to_string()),
                },
                other => Argument::Other(other.to_string()),
            };
            (name.clone(), argument)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows<T: serde::de::DeserializeOwned>(value: Value) -> Vec<T> {
        serde_json::from_value(value).unwrap()
    }

    fn observe(queues: Value, bindings: Value, policies: Value) -> Topology {
        let layout = Layout { prefix: "h".into(), ..Layout::default() };
        let policies: Vec<PolicyRow> = rows(policies);
        topology(&layout, rows(queues), Vec::new(), rows(bindings), &policies)
    }

    fn queue(more: &Value) -> Value {
        let mut queue = json!({"name": "h.q", "durable": true, "auto_delete": false});
        queue.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([queue])
    }

    #[test]
    fn arguments_of_any_kind_are_kept() {
        let arguments =
            json!({"a": true, "b": -1, "c": "x", "d": 1.5, "e": u64::MAX, "f": {"g": 1}});
        let seen = observe(queue(&json!({"arguments": arguments})), json!([]), json!([]));
        let kept: Vec<Argument> = seen.queues["h.q"].arguments.values().cloned().collect();
        let other = |text: &str| Argument::Other(text.to_owned());
        let big = other("18446744073709551615");
        let (float, table) = (other("1.5"), other("{\"g\":1}"));
        assert_eq!(kept, [Argument::Bool(true), (-1).into(), "x".into(), float, big, table]);
        let seen = observe(queue(&json!({"arguments": []})), json!([]), json!([]));
        assert!(seen.queues["h.q"].arguments.is_empty());
    }

    #[test]
    fn a_policy_counts_when_it_decides_which_events_are_kept() {
        let policies = json!([
            {"name": "short", "definition": {"max-length": 1, "queue-leader-locator": "x"}},
            {"name": "tidy", "definition": {"queue-leader-locator": "x"}},
        ]);
        let applied =
            |more| observe(queue(&more), json!([]), policies.clone()).queues["h.q"].policy.clone();
        let short = AppliedPolicy { name: "short".into(), keys: vec!["max-length".into()] };
        assert_eq!(applied(json!({"policy": "short"})), Some(short));
        assert_eq!(applied(json!({"policy": "tidy"})), None);
        assert_eq!(applied(json!({"policy": "unreadable"})), None);
        assert_eq!(applied(json!({"policy": null, "effective_policy_definition": []})), None);
        let operator =
            json!({"operator_policy": "cap", "effective_policy_definition": {"expires": 9}});
        let cap = AppliedPolicy { name: "cap".into(), keys: vec!["expires".into()] };
        assert_eq!(applied(operator), Some(cap));
    }

    #[test]
    fn a_binding_with_one_end_of_ours_is_seen_and_the_default_exchange_is_not() {
        let binding = |source: &str, destination: &str| {
            json!({"source": source, "destination": destination, "destination_type": "queue",
                "routing_key": "k", "arguments": {}, "properties_key": "k"})
        };
        let bindings = json!([
            binding("", "h.q"),
            binding("h.x", "q"),
            binding("x", "h.q"),
            binding("x", "hq")
        ]);
        let seen = observe(json!([]), bindings, json!([]));
        let names: Vec<String> = seen.bindings.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["h.x -> q [k]", "x -> h.q [k]"]);
    }
}
