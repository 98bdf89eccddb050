//! Whole nodes, as processes, on PostgreSQL and RabbitMQ.

mod adopt;
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
mod long_history;
mod main_job;
mod metrics;
mod misconfigured;
mod planted;
mod races;
mod removal;
mod restore;
mod series;
mod supervision;
mod twins;
mod upgrades;
mod wires;
