//! The broker: its connection, the stream's settings, reading a fence back, and publishing a
//! fenced atomic batch (`JetStream` ADR-50).

pub mod broker;
pub mod error;
pub mod fsync;
pub mod publisher;
pub mod repo;
pub mod settings;
pub mod watcher;
