//! Random faults under load, on servers and nodes that the test starts, and a judge with a record
//! of every execution.
//!
//! The schedule is drawn from a seed, which is printed. `cargo xtask chaos` runs a longer schedule,
//! and repeats one with `--seed`. The timing of the machine is not repeatable.

mod checker;
mod faults;
mod groups;
mod load;
mod quiet;
mod random;
mod scenario;
mod schedule;
mod world;

use scenario::Scenario;
use schedule::{Schedule, Size};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number from an option of `cargo xtask chaos`.
fn given(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}; it must be a number")))
}

fn some_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_faults_at_random_nothing_accepted_is_lost_and_no_group_starves() {
    let seed = given("CHAOS_HEARKEN_SEED").unwrap_or_else(some_seed);
    let long = given("CHAOS_HEARKEN_SECONDS").map(Duration::from_secs);
    let size = match given("CHAOS_HEARKEN_BROKERS") {
        Some(_) => Size { nodes: 3, brokers: 3 },
        None => Size { nodes: 2, brokers: 1 },
    };
    let longest = Duration::from_secs(if long.is_some() { 15 } else { 4 });
    let mut scenario = Scenario::start("chaos", seed, size).await;
    let mut schedule = Schedule::new(seed, size, longest);
    while scenario.elapsed() < long.unwrap_or(Duration::from_secs(25)) {
        scenario.step(&schedule.step()).await;
    }
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_lose_one_under_load_and_get_it_back_and_no_event_is_lost() {
    let size = Size { nodes: 2, brokers: 3 };
    let mut scenario = Scenario::start("chaos-brokers", some_seed(), size).await;
    scenario.without_broker(0).await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_lose_two_and_events_accepted_then_run_when_they_are_back() {
    let size = Size { nodes: 2, brokers: 3 };
    let mut scenario = Scenario::start("chaos-quorum", some_seed(), size).await;
    scenario.without_quorum(&[0, 2]).await;
    scenario.finish().await;
}
