//! The servers of one run.

use anyhow::{Result, anyhow};
use std::{fs, path::Path, process::Command, thread, time::Instant};
use xtask::services::{Postgres, RabbitMq, RabbitMqVersion, Slot, default_dir, install};

/// PostgreSQL and RabbitMQ, with a directory for them and for what uses them.
///
/// They end when the value is dropped, and when we are killed.
pub(super) struct Servers {
    pub(super) postgres: Postgres,
    pub(super) rabbitmq: RabbitMq,
    version: RabbitMqVersion,
    // Released last, when nothing writes there any more.
    slot: Slot,
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Commits {
    Durable,
    Fast,
}

impl Servers {
    /// Starts both at once, installing what is missing.
    pub(super) fn start(name: &str, version: RabbitMqVersion, commits: Commits) -> Result<Self> {
        install(version)?;
        let slot = Slot::acquire(&default_dir(), name)?;
        let begun = Instant::now();
        let (postgres_dir, rabbitmq_dir) =
            (slot.dir().join("postgres"), slot.dir().join("rabbitmq"));
        let (postgres, rabbitmq) = thread::scope(|threads| {
            let postgres = threads.spawn(|| match commits {
                Commits::Durable => Postgres::start_durable(&postgres_dir),
                Commits::Fast => Postgres::start(&postgres_dir),
            });
            let rabbitmq = RabbitMq::start(&rabbitmq_dir, version);
            (postgres.join(), rabbitmq)
        });
        let servers = Self {
            postgres: postgres.map_err(|_| anyhow!("starting PostgreSQL panicked"))??,
            rabbitmq: rabbitmq?,
            version,
            slot,
        };
        fs::create_dir_all(servers.dir().join("private"))?;
        let seconds = begun.elapsed().as_secs_f32();
        eprintln!("servers up in {seconds:.1} s; logs in {}", servers.dir().display());
        Ok(servers)
    }

    /// The directory of this run.
    pub(super) fn dir(&self) -> &Path {
        self.slot.dir()
    }

    /// Tells a command where the servers are, in the variables tests read.
    pub(super) fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("TEST_HEARKEN_POSTGRES", self.postgres.url())
            .env("TEST_HEARKEN_AMQP", self.rabbitmq.amqp_url())
            .env("TEST_HEARKEN_MANAGEMENT", self.rabbitmq.management_url())
            .env("TEST_HEARKEN_RABBITMQ", self.version.name())
            .env("TEST_HEARKEN_SERVICES_DIR", self.dir().join("private"))
    }
}
