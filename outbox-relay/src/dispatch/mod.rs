//! Gives shards that have something to do to a bounded pool of workers: which are waiting is asked
//! in one query, several are in flight at once, one job a shard.

pub mod dispatcher;
pub mod slots;
