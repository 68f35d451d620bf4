//! The gateway on a real Postgres and a real NATS: several instances in one process.

mod away;
mod boards;
mod broken;
mod challenge_limits;
mod challenges;
mod crowd;
mod delivery;
mod drain;
mod harness;
mod limits;
#[cfg(target_os = "linux")]
mod memory;
mod presence;
mod reading;
mod reading_together;
mod repair;
mod resume;
mod socket;
mod socket_limits;
mod transports;
