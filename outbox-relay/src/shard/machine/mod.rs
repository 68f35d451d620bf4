//! The protocol of one leased shard, as a state machine without IO.
//!
//! The shell asks [`Machine::todo`], does that one thing, and reports what came of it. The order
//! of steps is what holds the invariants:
//!
//! - a take-over reads the fence, settles what it lists, writes its own fence at that position,
//!   and only then reads rows;
//! - one batch is in flight, and what it published is settled before the next fence is sent;
//! - whatever is not known is read back from the fence, never guessed; and what may still arrive is
//!   shut out by a fence of its own, before anything is decided that it could belie.

mod judge;
mod terms;
#[cfg(test)]
mod tests;

use uuid::Uuid;

pub use self::terms::{Answer, End, Remedy, Todo};
use super::fence::{Epoch, EventRef, Fence, StoredFence, StreamSeq};

/// Under which name a shard is held, and what the database has recorded of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The outbox's identity.
    pub outbox: Uuid,
    /// The lease's epoch.
    pub epoch: Epoch,
    /// The highest stream position that the database has recorded for the shard under the
    /// stream's present generation.
    pub recorded: StreamSeq,
    /// Whether `verify` has passed over the shard since the stream was last *lost*. If not, what
    /// the database has recorded proves nothing about the stream.
    pub verified: bool,
}

/// The state of one leased shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    claim: Claim,
    /// The last fence whose events the database has recorded.
    settled: StreamSeq,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The lease is new: the stream has not been looked at.
    TakingOver,
    /// To write this instance's own fence behind the one at `at`.
    Claiming {
        at: StreamSeq,
    },
    /// The fence at `at` is this instance's own and settled, and nothing that was sent behind it is
    /// on its way.
    Holding {
        at: StreamSeq,
    },
    /// Something was sent behind `at` and it is not known which fence is the last by now. If no
    /// answer came, what was sent may still be on its way.
    Doubting {
        at: StreamSeq,
        claimed: bool,
        on_its_way: bool,
    },
    /// What `found` lists is in the stream and may still be pending in the database.
    Settling {
        found: StoredFence,
        claimed: bool,
    },
    Ended(End),
}

impl Machine {
    /// A shard whose lease was just taken.
    #[must_use]
    pub fn new(claim: Claim) -> Self {
        Self {
            settled: StreamSeq(0),
            claim,
            phase: Phase::TakingOver,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn todo(&self) -> Todo {
        match &self.phase {
            Phase::TakingOver | Phase::Doubting { .. } => Todo::ReadFence,
            Phase::Claiming { at } => Todo::WriteFence {
                expect: *at,
                fence: self.fence(Vec::new()),
            },
            Phase::Holding { .. } => Todo::Publish,
            Phase::Settling { found, .. } => Todo::Settle(found.clone()),
            Phase::Ended(end) => Todo::End(*end),
        }
    }

    /// The lease's epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.claim.epoch
    }

    /// Whether `verify` has passed over the shard, or never had to.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.claim.verified
    }

    /// Whether what [`Todo::Settle`] names was sent by this machine, not found by its take-over.
    #[must_use]
    pub fn owes_its_own(&self) -> bool {
        matches!(self.phase, Phase::Settling { claimed: true, .. })
    }

    /// `verify` has passed over the shard, whose own fence stands last.
    pub fn pass_verification(&mut self) {
        if let Phase::Holding { at } = self.phase {
            self.claim.verified = true;
            self.claim.recorded = at;
            self.settled = self.settled.min(at);
        }
    }

    /// The position of this instance's own fence, if it holds the shard and owes nothing.
    #[must_use]
    pub fn holding(&self) -> Option<StreamSeq> {
        match self.phase {
            Phase::Holding { at } => Some(at),
            _ => None,
        }
    }

    /// The highest fence position that is surely this shard's, to be recorded with the lease.
    #[must_use]
    pub fn fence_seq(&self) -> StreamSeq {
        match &self.phase {
            Phase::Holding { at }
            | Phase::Doubting {
                at, claimed: true, ..
            } => *at,
            _ => StreamSeq(0),
        }
    }

    /// The fence of a batch of `events`, and where the last one must stand. `None` unless
    /// [`Self::todo`] says [`Todo::Publish`].
    #[must_use]
    pub fn begin_batch(&self, events: Vec<EventRef>) -> Option<(StreamSeq, Fence)> {
        let at = self.holding()?;
        Some((at, self.fence(events)))
    }

    /// To write the own fence anew, so that limits of the stream do not evict it.
    pub fn renew_fence(&mut self) {
        if let Phase::Holding { at } = self.phase {
            self.phase = Phase::Claiming { at };
        }
    }

    /// The stream's last message on the shard's fence subject.
    pub fn fence_read(&mut self, found: Option<StoredFence>) {
        self.phase = match self.judge(found) {
            Ok(phase) => phase,
            Err(end) => Phase::Ended(end),
        };
    }

    /// The broker's answer to the fence, or batch, that was sent.
    pub fn answered(&mut self, answer: Answer, sent: Vec<EventRef>) {
        let (at, claimed) = match self.phase {
            Phase::Claiming { at } => (at, false),
            Phase::Holding { at } => (at, true),
            _ => return,
        };
        self.phase = match answer {
            Answer::NotSent => return,
            Answer::Refused | Answer::Unclear => Phase::Doubting {
                at,
                claimed,
                on_its_way: answer == Answer::Unclear,
            },
            Answer::Stored(seq) if sent.is_empty() => Phase::Holding { at: seq },
            Answer::Stored(seq) => Phase::Settling {
                found: StoredFence {
                    at: seq,
                    fence: self.fence(sent),
                },
                claimed: true,
            },
        };
    }

    /// What [`Todo::Settle`] named is recorded, if the lease was still `held` when it was.
    pub fn settled(&mut self, held: bool) {
        let Phase::Settling { found, claimed } = &self.phase else {
            return;
        };
        let (at, claimed) = (found.at, *claimed);
        if !held {
            self.phase = Phase::Ended(End::Deposed);
            return;
        }
        self.settled = at;
        self.claim.recorded = self.claim.recorded.max(found.end());
        self.phase = if claimed {
            Phase::Holding { at }
        } else {
            Phase::Claiming { at }
        };
    }

    /// The fence of a batch of `events`.
    #[must_use]
    pub fn fence(&self, events: Vec<EventRef>) -> Fence {
        Fence {
            outbox: self.claim.outbox,
            epoch: self.claim.epoch,
            settled: self.settled,
            events,
        }
    }
}
