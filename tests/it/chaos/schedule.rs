//! The schedule of faults.

use super::{groups::TRAVELLER, random::Random};
use crate::support::proxy::Wire;
use std::{fmt, time::Duration};

/// The size of a cluster under test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) brokers: usize,
}

/// Service that a node reaches over a wire of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Broker,
    Management,
    Database,
}

/// A fault, which ends some time later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Wire {
        node: usize,
        link: Link,
        wire: Wire,
    },
    KillNode {
        node: usize,
    },
    KillBroker {
        broker: usize,
    },
    KillDatabase,
    /// The group is removed with `pending=keep`, and added again.
    Remove {
        group: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire { node, link, wire } => {
                write!(out, "{wire:?} between node n{node} and its {link:?}")
            }
            Self::KillNode { node } => write!(out, "node n{node} killed"),
            Self::KillBroker { broker } => write!(out, "broker {broker} killed"),
            Self::KillDatabase => write!(out, "database killed"),
            Self::Remove { group } => write!(out, "group {group} removed"),
        }
    }
}

/// Faults that come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Time without a fault before the step.
    pub(super) pause: Duration,
    pub(super) faults: Vec<Fault>,
    /// Time that the faults last before an operator begins to mend them.
    pub(super) lasts: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        write!(out, "{} for {:.1} s", faults.join(" and "), self.lasts.as_secs_f32())
    }
}

/// Draws one step after the other.
pub(super) struct Schedule {
    random: Random,
    size: Size,
    longest: Duration,
}

impl Schedule {
    /// A schedule whose faults last at most `longest`.
    pub(super) fn new(seed: u64, size: Size, longest: Duration) -> Self {
        Self { random: Random::new(seed), size, longest }
    }

    pub(super) fn step(&mut self) -> Step {
        let first = self.fault();
        let mut faults = vec![first];
        // A group that comes and goes is judged by what was in flight then, so nothing else
        // happens meanwhile.
        if !matches!(faults[0], Fault::Remove { .. }) && self.random.once_in(3) {
            let second = self.fault();
            if !matches!(second, Fault::Remove { .. }) && second != faults[0] {
                faults.push(second);
            }
        }
        let longest = usize::try_from(self.longest.as_millis()).expect("not that long");
        let lasts = self.random.millis(300, longest);
        Step { pause: self.random.millis(200, 2_000), faults, lasts }
    }

    fn fault(&mut self) -> Fault {
        let random = &mut self.random;
        let node = random.below(self.size.nodes);
        match random.below(20) {
            0..10 => {
                let link = [Link::Broker, Link::Broker, Link::Management, Link::Database];
                let link = link[random.below(link.len())];
                let delay = Wire::Delay(random.millis(50, 1_500));
                let wires = [Wire::Cut, Wire::BlackHole, Wire::HalfOpen, Wire::Deaf, delay];
                Fault::Wire { node, link, wire: wires[random.below(wires.len())] }
            }
            10..14 => Fault::KillNode { node },
            14..16 => Fault::KillBroker { broker: random.below(self.size.brokers) },
            16..18 => Fault::KillDatabase,
            _ => Fault::Remove { group: TRAVELLER },
        }
    }
}

mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_schedule_again_and_every_kind_of_fault_in_time() {
        let size = Size { nodes: 3, brokers: 3 };
        let draw = |seed| {
            let mut schedule = Schedule::new(seed, size, Duration::from_secs(5));
            (0..500).map(|_| schedule.step()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let all = format!("{:?}", draw(7));
        for part in [
            "Cut",
            "BlackHole",
            "HalfOpen",
            "Deaf",
            "Delay",
            "KillNode { node: 2",
            "Management",
            "KillBroker { broker: 0",
            "KillBroker { broker: 2",
            "KillDatabase",
            "Remove",
        ] {
            assert!(all.contains(part), "{part} is never drawn");
        }
    }
}
