//! One leased shard: the protocol as a state machine ([`machine`]), what its fence says
//! ([`fence`]), and the job that does what the machine asks ([`job`]).

pub mod fence;
pub mod job;
pub mod machine;
