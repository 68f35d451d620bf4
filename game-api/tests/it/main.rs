//! game-api against a real Postgres (and a real NATS where a test says so).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod commands;
mod commits;
mod gateway;
mod harness;
mod http;
mod players;
mod process;
mod roles;
mod serving;
