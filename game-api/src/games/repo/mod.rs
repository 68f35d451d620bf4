//! The SQL of games. Every query on a hot table gives its shard; nothing joins across shards.

mod challenges;
mod commit;
mod create;
mod lists;
mod read;
mod rows;

pub use challenges::{Challenged, challenge_in_tx, challenges_to};
pub use commit::{CommitRow, Outcome, commit_batch, plan_by_keys};
pub use create::{NewGame, code_taken, create_in_tx};
pub use lists::{LobbyPosition, due_flags, latest_seqs, lobby};
pub use read::{
    by_code, by_command, events_after, events_after_each, events_after_n, load, load_all,
    load_each, names,
};
pub use rows::CorruptRow;
