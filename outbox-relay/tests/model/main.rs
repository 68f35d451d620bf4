//! The protocol of the relay, checked exhaustively.
//!
//! Two relays, one database, one stream and three events, of two keys of one shard or of two shards
//! that share batches; every step that any of them can take, in every order, with faults between any
//! two. What decides is the production code: the
//! shard's machine, its fences, the claim of a lease, what is taken for a loss, and the comparison
//! of a verification. What the database and the broker do is modelled, statement by statement.
//!
//! To learn the protocol, read `relay.rs` (what a relay does next), `protocol.rs` (what comes of
//! it), `properties.rs` (what must hold), and the counterexamples that `mutants.rs` prints.

#![expect(
    clippy::print_stdout,
    reason = "how much was looked at, and the shortest way into each mutant, are there to be read"
)]

mod announced;
mod announced_mutants;
mod checks;
mod database;
mod event;
mod faults;
mod flight;
mod ledger;
mod mutant;
mod mutants;
mod properties;
mod protocol;
mod relay;
mod scope;
mod setting;
mod singly;
mod stream;
mod strikes;
mod tenure;
mod verification;
mod world;
