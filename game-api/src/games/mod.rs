//! Games: what they are, how a command becomes an event, and where both are kept.

pub mod entity;
pub mod feed;
