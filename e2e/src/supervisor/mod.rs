//! Starts, watches, restarts and ends the processes of a stack, and leaves nothing behind.
//!
//! Every child leads a process group of its own, so that Ctrl-C reaches this program alone, which
//! then ends the children in order. If it cannot (it panics, or is itself killed), its destructors
//! and, on Linux, the kernel kill them.

mod budget;
mod child;
mod interrupt;
mod nats;
mod nats_cluster;
mod nats_monitor;
mod ops;
mod ports;
mod postgres;
mod process;
mod readiness;
mod relays;
mod run_dir;
mod secret;
mod services;
mod stack;
mod staging;

pub use child::{Child, ChildSpec, State, first_given_up};
pub use interrupt::Interrupts;
pub use nats::{Monitoring, Nats, NatsAddresses, NatsPorts, connect as connect_nats};
pub use nats_cluster::{NatsCluster, Replicas};
pub use nats_monitor::NatsMonitor;
pub use ops::Metrics;
pub use ports::{Ports, loopback};
pub use postgres::{Durability, Postgres, PostgresAddresses, RolePasswords};
pub use process::{Ended, Launch, Process, terminate};
pub use readiness::Readiness;
pub use relays::{Relays, RelaysOptions};
pub use run_dir::RunDir;
pub use services::ServiceBinaries;
pub use stack::{Stack, StackOptions};
pub use staging::Staging;
