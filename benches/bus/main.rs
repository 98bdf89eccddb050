//! What the bus costs, as ratios against raw drivers in the same run.
//!
//! `cargo xtask bench bus` starts the services and prints the table. Over RabbitMQ, raw is the AMQP
//! client alone on the same broker: the same queues, payload, confirms, `mandatory`, window and
//! prefetch. In the process, raw is SQLite alone, with the same durability. Absolute figures depend
//! on the machine; a ratio above 1 means that hearken is faster.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod in_process;
mod ours;
mod rabbitmq;
mod raw;

use std::time::Duration;

/// Events that are being published at the same time.
const WINDOW: usize = 128;

/// Executions of one group at the same time, and the prefetch of the raw consumer.
const CONCURRENCY: u16 = 10;

/// Each figure is the median of so many rounds, ours and raw in turn.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    hearken::tls::init();
    println!("{:<58} {:>12} {:>12} {:>6}", "", "hearken", "raw", "ratio");
    for (groups, events) in [(1, 6_000), (10, 1_500), (100, 200)] {
        for bytes in [512, 16 * 1024] {
            rabbitmq::throughput(groups, events, bytes).await;
        }
    }
    rabbitmq::latency().await;
    rabbitmq::half_failing().await;
    rabbitmq::redelivery().await;
    in_process::throughput().await;
}

/// Prints how many a second.
fn rate(what: &str, count: usize, ours: Vec<Duration>, raw: Vec<Duration>) {
    let count = f64::from(u32::try_from(count).expect("a small number"));
    let (ours, raw) = (count / median(ours).as_secs_f64(), count / median(raw).as_secs_f64());
    println!("{what:<58} {ours:>10.0}/s {raw:>10.0}/s {:>6.2}", ours / raw);
}

/// Prints how long one takes.
fn time(what: &str, ours: Vec<Duration>, raw: Vec<Duration>) {
    let (ours, raw) = (median(ours), median(raw));
    let ratio = raw.as_secs_f64() / ours.as_secs_f64();
    println!("{what:<58} {ours:>12.2?} {raw:>12.2?} {ratio:>6.2}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn address(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask bench bus"))
}
