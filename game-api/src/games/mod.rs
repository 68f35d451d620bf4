//! Games: what they are, how a command becomes an event, and where both are kept.

pub mod committer;
mod copies;
pub mod entity;
pub mod feed;
pub mod flags;
pub mod handlers;
pub(crate) mod read_lane;
pub mod repo;
pub mod service;
pub mod wake;
