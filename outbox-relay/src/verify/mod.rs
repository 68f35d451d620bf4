//! Brings database and stream into agreement after one of them has lost something: what the stream
//! lost is published again, in order, through the shard's own fence; what the database had
//! forgotten to have published is recorded. Until this has passed over a shard, the shard publishes
//! nothing.
//!
//! The stream is read once, up to this instance's own take-over fences: below those, nothing of its
//! shards can change any more.

pub mod entity;
pub mod job;
pub mod repo;
pub mod scan;
