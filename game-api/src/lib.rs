//! Fogline's stateless game server: HTTP, WebSocket and SSE in front of games kept in Postgres.

pub mod games;
pub mod gateway;
pub mod health;
pub mod keys;
pub mod metrics;
pub mod problem;
pub mod rules;
