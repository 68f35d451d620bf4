//! game-api against a real Postgres (and a real NATS where a test says so).
mod commits;
