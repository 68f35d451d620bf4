//! A shard between turns, in a turn, and in a batch.

use std::time::{Duration, Instant};

use shared::shard::Shard;
use tokio_util::sync::CancellationToken;

use super::tools::Tools;
use crate::backlog::floor::ReadFrom;
use crate::batch::entity::{BatchLimit, Row};
use crate::leases::repo::Writer;
use crate::shard::fence::{EventRef, Fence, StreamSeq};
use crate::shard::machine::{End, Machine};

/// A leased shard, between jobs.
#[derive(Debug)]
pub struct ShardState {
    /// Which.
    pub shard: Shard,
    /// Where the protocol stands.
    pub machine: Machine,
    /// The stream's generation that the machine was made for.
    pub generation: i64,
    /// How many rows the next batch may have.
    pub limit: BatchLimit,
    /// With how many others its next batch is shared.
    pub company: Company,
    /// An event of it was refused by itself: until a batch is stored, nothing goes one by one. What
    /// becomes of such an event is decided by batches that shrink until it is alone.
    pub wary: bool,
    /// Its rows, if the look that found them has read them.
    pub ahead: Option<Ahead>,
}

/// Rows that were read by a look at the outbox, before their shard's turn.
#[derive(Debug)]
pub struct Ahead {
    /// Where the shard's fence stood then.
    pub at: StreamSeq,
    /// All that waited: fewer than a look reads of a shard at most.
    pub rows: Vec<Row>,
    /// When they were read.
    pub since: Instant,
}

impl Ahead {
    /// After so long, rows are read again: most of what a look finds is sent at once.
    const AGE_MAX: Duration = Duration::from_millis(20);

    /// Whether they are still what the shard has to send next: its fence stands where it stood, so
    /// nothing was sent since, and nothing settled.
    #[must_use]
    pub fn holds_at(&self, holding: Option<StreamSeq>) -> bool {
        holding == Some(self.at) && self.since.elapsed() < Self::AGE_MAX
    }
}

/// How many shards a shard's next batch may have: the more rows wait, the fewer, so that its share
/// holds more of them. Each further shard is a fence more in the batch; each further batch costs the
/// broker a store, and the database a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Company {
    /// All that have few rows.
    #[default]
    All,
    /// So many at most.
    UpTo(usize),
}

impl Company {
    /// None: many rows wait, or one of its events was refused.
    pub const ALONE: Self = Self::UpTo(1);

    /// How many shards it is at most.
    #[must_use]
    pub fn shards_max(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::UpTo(shards) => shards,
        }
    }

    /// What comes after a batch in which the shard's share was full.
    #[must_use]
    pub fn smaller(self) -> Self {
        match self {
            Self::All => Self::UpTo(16),
            Self::UpTo(shards) => Self::UpTo((shards / 4).max(1)),
        }
    }
}

impl ShardState {
    /// Under which lease this instance writes to the shard's rows.
    #[must_use]
    pub fn writer<'a>(&self, tools: &'a Tools) -> Writer<'a> {
        Writer {
            owner: &tools.owner,
            shard: self.shard,
            epoch: self.machine.epoch(),
            generation: self.generation,
        }
    }
}

/// Why a shard's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Nothing waits, as far as was seen.
    Idle,
    /// More waits, but others have their turn.
    More,
    /// It was told to stop, and owes nothing that could be settled now.
    Stopped,
    /// The broker or the database does not do its part now.
    Pause,
    /// The shard may not be published before it is verified.
    Unverified,
    /// The shard is not this instance's to publish.
    Ended(End),
}

/// A shard in a turn.
#[derive(Debug)]
pub struct Member {
    /// The shard.
    pub state: ShardState,
    /// From where on it is read.
    pub from: ReadFrom,
    /// Cancelled when the shard has to be handed over.
    pub stop: CancellationToken,
    /// Why its turn ended, once it has.
    pub end: Option<JobEnd>,
}

/// What a shard is about to send, and where it comes from.
pub(super) struct Sending {
    pub(super) member: usize,
    /// Where the shard's last fence must stand.
    pub(super) expect: StreamSeq,
    /// The fence, if it goes alone.
    pub(super) alone: Option<Fence>,
    pub(super) rows: Vec<Row>,
    pub(super) full: bool,
}

impl Sending {
    pub(super) fn events(&self) -> Vec<EventRef> {
        self.rows.iter().map(Row::event_ref).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::entity::tests::row;

    fn ahead(since: Instant) -> Ahead {
        Ahead {
            at: StreamSeq(7),
            rows: vec![row(1, "events.a.b", 1)],
            since,
        }
    }

    #[test]
    fn rows_that_were_read_ahead_go_only_behind_the_fence_that_stood_then() {
        let ahead = ahead(Instant::now());
        assert!(ahead.holds_at(Some(StreamSeq(7))));
        assert!(!ahead.holds_at(Some(StreamSeq(8))), "something was sent");
        assert!(!ahead.holds_at(None), "it is not known what was");
    }

    #[test]
    fn rows_that_were_read_long_ago_are_read_again() {
        let since = Instant::now().checked_sub(Ahead::AGE_MAX).unwrap();
        assert!(!ahead(since).holds_at(Some(StreamSeq(7))));
    }
}
