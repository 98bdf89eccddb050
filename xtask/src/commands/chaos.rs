//! `chaos`: the test that breaks things at random, for longer.

use super::{cargo, code, status};
use crate::arguments::Chaos;
use anyhow::Result;
use std::process::ExitCode;
use xtask::services::install;

/// The test, by its whole name. It starts its own servers, since it kills them.
const TEST: &str = "chaos::under_faults_at_random_nothing_accepted_is_lost_and_no_group_starves";

/// Runs it with what it prints in sight.
pub(super) fn run(chaos: &Chaos) -> Result<ExitCode> {
    install(chaos.version)?;
    let mut command = cargo(&["test", "--test", "it", "--", TEST, "--exact", "--nocapture"]);
    command
        .env("TEST_HEARKEN_RABBITMQ", chaos.version.name())
        .env("CHAOS_HEARKEN_SECONDS", (chaos.minutes * 60).to_string());
    if let Some(seed) = chaos.seed {
        command.env("CHAOS_HEARKEN_SEED", seed.to_string());
    }
    if chaos.cluster {
        command.env("CHAOS_HEARKEN_BROKERS", "3");
    }
    status(&mut command).map(code)
}
