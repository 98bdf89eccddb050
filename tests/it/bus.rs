//! The contract of the event bus, held against both buses.
//!
//! Each test is written once against a [`Stage`](crate::support::stage::Stage) and runs over
//! RabbitMQ and in the process. Tests that need several nodes or RabbitMQ itself run over RabbitMQ
//! alone. Where Apache James behaves otherwise, `docs/adr/0014` says why.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

/// Turns each `async fn name(stage: Stage)` into a test over RabbitMQ and a test in the process.
macro_rules! both {
    ($($(#[$note:meta])* async fn $name:ident($stage:ident: Stage) $body:block)*) => {
        $($(#[$note])* async fn $name($stage: $crate::support::stage::Stage) $body)*

        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::stage::Stage::rabbitmq().await).await;
            })*
        }

        mod local {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::stage::Stage::embedded().await).await;
            })*
        }
    };
}

mod batches;
mod dead_letters;
mod dispatch_failure;
mod errors;
mod execution;
mod following;
mod groups;
mod guarantees;
mod keys;
mod lifecycle;
mod nodes;
mod redelivering;
mod vacuous;
