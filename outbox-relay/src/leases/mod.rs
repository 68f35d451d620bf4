//! Who publishes which shard: leases on `outbox_shards`, spread evenly over the living relays.

pub mod holdings;
pub mod keeper;
pub mod repo;
pub mod spread;
