//! The relay against a real Postgres (a fresh database per test) and a real nats-server (one per
//! test, `FOGLINE_NATS_SERVER` or the one on `PATH`).

#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot do without must be there"
)]

mod commands;
mod delivery;
mod harness;
mod leases;
mod outages;
mod permissions;
mod poison;
mod retention;
mod takeover;
mod verify;
