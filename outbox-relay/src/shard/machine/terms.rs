//! What a machine asks of the shell, what it is told, and how it ends.

use uuid::Uuid;

#[cfg(doc)]
use super::Machine;
use crate::shard::fence::{Announced, Fence, Owed, StreamSeq};

/// What the shell has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Read the shard's fence from the stream, then [`Machine::fence_read`].
    ReadFence,
    /// Delete the rows of these events and record them as published, then [`Machine::settled`].
    Settle(Owed),
    /// Find out which of the announced events stand in the stream below the own fence at `to`, then
    /// [`Machine::found`]. None of them can come any more.
    Search {
        /// The events.
        announced: Announced,
        /// The own fence, which shut out those that had not come.
        to: StreamSeq,
    },
    /// Write this fence alone, if the shard's last is still at `expect`; then
    /// [`Machine::answered`].
    WriteFence {
        /// Where the shard's last fence must stand.
        expect: StreamSeq,
        /// The fence to write.
        fence: Fence,
    },
    /// Read rows and publish them: in one batch behind a fence from [`Machine::begin_batch`], then
    /// [`Machine::answered`]; or behind one from [`Machine::begin_announcement`], then
    /// [`Machine::announced`] and, once each has been answered, [`Machine::stored_singly`].
    Publish,
    /// Nothing more: the shard is not this instance's to publish.
    End(End),
}

/// What the broker said to a fence, with or without events behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, the fence at this position.
    Stored(StreamSeq),
    /// Refused as a whole, now and for good: which fence is the last must be read back.
    Refused,
    /// No answer came: it may be stored, or not, or be stored later.
    Unclear,
    /// It never left this process.
    NotSent,
}

/// Why a shard cannot be published by this instance any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum End {
    /// Another instance has it.
    #[error("another instance has taken the shard over")]
    Deposed,
    /// The fence has an epoch that the database has not given yet: another instance is ahead, or
    /// the database has lost commits. Whoever still has the lease knows that it is the latter.
    #[error("the shard's fence was written under an epoch that is not below this lease's")]
    Outrun,
    /// The stream does not hold what the database knows it to have held.
    #[error("the stream has lost the shard's fence or went back behind it")]
    StreamLost,
    /// The database does not know what it knew when the fence was written.
    #[error("the database went back behind what it had recorded when the fence was written")]
    DatabaseWentBack,
    /// The fence is of another outbox.
    #[error("the shard's fence was written by the outbox {0}")]
    Foreign(Uuid),
}

/// What has to be done about an [`End`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Let go of the shard, or of everything: it is not this instance's.
    LetGo,
    /// Raise the stream's generation, so that nothing is published before it is verified.
    DeclareLost,
    /// Ask the database whether the lease is still held, and go by [`End::outrun`].
    AskForLease,
}

impl End {
    /// What has to be done.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Deposed | Self::Foreign(_) => Remedy::LetGo,
            Self::StreamLost | Self::DatabaseWentBack => Remedy::DeclareLost,
            Self::Outrun => Remedy::AskForLease,
        }
    }

    /// What [`Self::Outrun`] comes down to, once it is known whether the lease is `held`.
    #[must_use]
    pub fn outrun(held: bool) -> Self {
        if held {
            Self::DatabaseWentBack
        } else {
            Self::Deposed
        }
    }
}
