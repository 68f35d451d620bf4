//! The stack as a user runs it: provisioning, a process supervisor, a client, a load generator, a
//! fault injector and a history checker.
//!
//! It talks to the services as a client does, and looks into Postgres and NATS as an operator
//! would; it shares no code with them.

pub mod client;
pub mod environment;
pub mod faults;
pub mod gate;
pub mod history;
pub mod load;
pub mod otlp;
pub mod outbox;
pub mod provision;
pub mod supervisor;
