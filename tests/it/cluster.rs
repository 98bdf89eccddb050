//! Whole nodes, as processes, on PostgreSQL and RabbitMQ.

mod attached;
mod degraded;
mod drift;
mod dry_run;
mod faults;
mod health;
mod leases;
mod main_job;
mod misconfigured;
mod races;
mod removal;
mod wires;
