//! game-api against a real Postgres (and a real NATS where a test says so).
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod commands;
mod commits;
