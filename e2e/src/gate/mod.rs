//! The gate: proof by experiment that the fog does not leak.
//!
//! Two games that differ in nothing that a viewer may see are played through the whole stack, and
//! everything that the viewer is sent, byte for byte, must be the same in both.

mod afterwards;
mod again;
mod attended;
pub mod bed;
mod boards;
mod census;
mod challenge;
mod clockwork;
mod digests;
mod dress;
mod facts;
mod generate;
pub mod mutants;
mod normalise;
mod notes;
mod openings;
mod pair;
mod play;
mod probes;
mod reveal;
mod run;
mod socket;
pub mod timing;
mod track;
mod transcript;
mod viewer;
mod wire;

pub use census::Verdict;
pub use facts::Fact;
pub use generate::fog_chess;
pub use normalise::{DECLARED, Declared, HEADERS, How};
pub use notes::private_notes;
pub use pair::{At, Ending, Fall, Pair, Step, Way, digest};
pub use run::{Games, Plan, Report, run};
pub use transcript::Difference;

/// Pairs that are played at a time: enough to keep two cores busy.
pub const AT_ONCE: usize = 16;
/// The same where the first difference ends the run: all that are being played are played on.
pub const AT_ONCE_UNTIL_FIRST: usize = 8;
