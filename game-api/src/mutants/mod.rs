//! Deliberate leaks, by which the gate (`cargo xtask gate`) is shown to catch what it must.
//!
//! No build that is deployed has them. Without the feature `mutants`, which nothing enables but the
//! gate's own build, the hooks below are the identity. With it they are too, until
//! `game-api-mutants`, a program of its own, has armed one; `game-api` never does.
//!
//! A hook stands where a mistake would be made: where a view is drawn, a move refused, an event
//! numbered, a cursor sealed, the past replayed, a list made, a record drawn, a ruleset found, a view
//! hashed, a command answered, a poll woken.

#[cfg(feature = "mutants")]
mod leaks;
#[cfg(not(feature = "mutants"))]
mod none;
#[cfg(feature = "mutants")]
mod private_notes;

#[cfg(feature = "mutants")]
pub use leaks::{Mutant, arm};
#[cfg(feature = "mutants")]
pub(crate) use leaks::{
    answers_whatever_happens, audience, bare_cursor, challenge_seen, challenged, committed, cursor,
    described, digest, drawn, drawn_for, entered, list_cursor, listed, lobby, own_game, presence,
    recorded, refusal, refused, replayed_for, ruleset, told, trace_id, unseen, watched_by,
};
#[cfg(not(feature = "mutants"))]
pub(crate) use none::{
    answers_whatever_happens, audience, bare_cursor, challenge_seen, challenged, committed, cursor,
    described, digest, drawn, drawn_for, entered, list_cursor, listed, lobby, own_game, presence,
    recorded, refusal, refused, replayed_for, ruleset, told, trace_id, unseen, watched_by,
};
