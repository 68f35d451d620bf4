//! The relay against a real Postgres (a fresh database per test) and a real nats-server (one per
//! test, `FOGLINE_NATS_SERVER` or the one on `PATH`).

#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot do without must be there"
)]

mod announced;
mod commands;
mod delivery;
mod failures;
mod fences;
mod harness;
mod leases;
mod leaves;
mod metrics;
mod outages;
mod permissions;
mod poison;
mod producers;
mod retention;
mod startup;
mod takeover;
mod verify;
