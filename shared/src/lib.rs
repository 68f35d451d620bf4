//! What both services must agree on, and nothing else may enter: ids, the shard function, the
//! event envelope and its subjects, the outbox table's SQL, telemetry, lifecycle, the ops port and
//! the readers of the environment. Nothing here knows a game or a relay.

pub mod env;
pub mod envelope;
pub mod ids;
pub mod lifecycle;
pub mod ops;
pub mod outbox;
pub mod shard;
pub mod subjects;
pub mod telemetry;
