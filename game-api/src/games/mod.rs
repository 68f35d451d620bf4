//! Games: what they are, how a command becomes an event, and where both are kept.

mod committer;
pub mod entity;
pub mod feed;
mod flags;
pub mod repo;
pub mod service;
mod wake;
