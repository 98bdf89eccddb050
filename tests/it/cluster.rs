//! Whole nodes, as processes, on PostgreSQL and RabbitMQ.

mod attached;
mod buses;
mod changing;
mod degraded;
mod drift;
mod dry_run;
mod faults;
mod health;
mod independence;
mod leases;
mod main_job;
mod metrics;
mod misconfigured;
mod races;
mod removal;
mod restore;
mod twins;
mod wires;
