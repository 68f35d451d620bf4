//! An outbox from both of its ends: a producer that knows no game, and an audit of the whole stream
//! against what was committed.

mod audit;
#[cfg(test)]
mod audit_tests;
mod backlog;
mod copies;
mod counters;
mod ledger;
mod producer;
mod stream;

pub use audit::{Audit, Faults, Verdict, Wait};
pub use backlog::{Backlog, pending_now};
pub use copies::differing_copies;
pub use counters::Counters;
pub use ledger::{Entry, Standing, read_ledger};
pub use producer::{Pace, Produced, Producer, ProducerPlan};
pub use stream::{Message, MessageKind, read_whole_stream};

/// The stream of all events.
pub const STREAM: &str = "EVENTS";
