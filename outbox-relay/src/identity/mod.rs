//! Which outbox this is, and what the database knows of the stream it publishes to.

pub mod entity;
pub mod repo;
