//! The gateway on a real Postgres and a real NATS: several instances in one process.

mod delivery;
mod harness;
mod presence;
mod reading;
mod repair;
mod resume;
mod socket;
