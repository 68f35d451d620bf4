//! The protocol of one leased shard, as a state machine without IO.
//!
//! The shell asks [`Machine::todo`], does that one thing, and reports what came of it. The order
//! of steps is what holds the invariants:
//!
//! - a take-over reads the fence, settles what it lists, writes its own fence at that position,
//!   and only then reads rows;
//! - one batch is in flight, and what it published is settled before the next fence is sent;
//! - whatever is not known is read back from the fence, never guessed.

use std::cmp::Ordering;

use uuid::Uuid;

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

/// What the shell has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Read the shard's fence from the stream, then [`Machine::fence_read`].
    ReadFence,
    /// Delete the rows of these events and record them as published, then [`Machine::settled`].
    Settle(StoredFence),
    /// Write this fence alone, if the shard's last is still at `expect`; then
    /// [`Machine::answered`].
    WriteFence {
        /// Where the shard's last fence must stand.
        expect: StreamSeq,
        /// The fence to write.
        fence: Fence,
    },
    /// Read rows and publish them with a fence from [`Machine::begin_batch`], then
    /// [`Machine::answered`].
    Publish,
    /// Nothing more: the shard is not this instance's to publish.
    End(End),
}

/// What the broker said to a fence, with or without events behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, the fence at this position.
    Stored(StreamSeq),
    /// Refused, or no answer came: what holds must be read back.
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
    /// The fence at `at` is this instance's own and settled.
    Holding {
        at: StreamSeq,
    },
    /// Something was sent behind `at` and it is not known what became of it.
    Doubting {
        at: StreamSeq,
        claimed: bool,
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
            Phase::Holding { at } | Phase::Doubting { at, claimed: true } => *at,
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
            Answer::Unclear => Phase::Doubting { at, claimed },
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

    fn judge(&mut self, found: Option<StoredFence>) -> Result<Phase, End> {
        if let Some(found) = &found
            && found.fence.outbox != self.claim.outbox
        {
            return Err(End::Foreign(found.fence.outbox));
        }
        match (self.phase.clone(), found) {
            (Phase::TakingOver, found) => self.judge_take_over(found),
            (Phase::Doubting { at, .. }, None) if at > StreamSeq(0) => Err(End::StreamLost),
            (Phase::Doubting { at, .. }, None) => Ok(Phase::Claiming { at }),
            (Phase::Doubting { at, claimed }, Some(found)) => self.judge_doubt(at, claimed, found),
            (phase, _) => Ok(phase),
        }
    }

    fn judge_take_over(&mut self, found: Option<StoredFence>) -> Result<Phase, End> {
        let claim = &self.claim;
        let Some(found) = found else {
            if claim.verified && claim.recorded > StreamSeq(0) {
                return Err(End::StreamLost);
            }
            return Ok(Phase::Claiming { at: StreamSeq(0) });
        };
        if claim.verified {
            if found.end() < claim.recorded {
                return Err(End::StreamLost);
            }
            if found.fence.epoch >= claim.epoch {
                return Err(End::Outrun);
            }
            if found.fence.settled > claim.recorded {
                return Err(End::DatabaseWentBack);
            }
        }
        self.settled = found.fence.settled;
        Ok(owed(found, false))
    }

    fn judge_doubt(&self, at: StreamSeq, claimed: bool, found: StoredFence) -> Result<Phase, End> {
        if found.at < at {
            return Err(End::StreamLost);
        }
        if found.at == at {
            return Ok(if claimed {
                Phase::Holding { at }
            } else {
                Phase::Claiming { at }
            });
        }
        match found.fence.epoch.cmp(&self.claim.epoch) {
            Ordering::Equal => Ok(owed(found, true)),
            Ordering::Greater if claimed || self.claim.verified => Err(End::Deposed),
            Ordering::Less if claimed => Err(End::StreamLost),
            _ => Ok(owed(found, false)),
        }
    }
}

/// A fence was found whose events may still be pending in the database.
fn owed(found: StoredFence, claimed: bool) -> Phase {
    let at = found.at;
    match (found.fence.events.is_empty(), claimed) {
        (false, _) => Phase::Settling { found, claimed },
        (true, true) => Phase::Holding { at },
        (true, false) => Phase::Claiming { at },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTBOX: Uuid = Uuid::from_u128(1);

    fn claim(epoch: i64, recorded: u64) -> Claim {
        Claim {
            outbox: OUTBOX,
            epoch: Epoch(epoch),
            recorded: StreamSeq(recorded),
            verified: true,
        }
    }

    fn event(id: i64) -> EventRef {
        EventRef(id, Uuid::from_u128(u128::from(id.unsigned_abs())))
    }

    fn stored(at: u64, epoch: i64, settled: u64, ids: &[i64]) -> StoredFence {
        StoredFence {
            at: StreamSeq(at),
            fence: Fence {
                outbox: OUTBOX,
                epoch: Epoch(epoch),
                settled: StreamSeq(settled),
                events: ids.iter().copied().map(event).collect(),
            },
        }
    }

    /// A machine that holds the shard with its own fence at `at`.
    fn holding(epoch: i64, at: u64) -> Machine {
        let mut machine = Machine::new(claim(epoch, 0));
        machine.fence_read(None);
        machine.answered(Answer::Stored(StreamSeq(at)), Vec::new());
        assert_eq!(machine.todo(), Todo::Publish);
        machine
    }

    #[test]
    fn a_take_over_settles_claims_and_only_then_publishes() {
        let mut machine = Machine::new(claim(5, 10));
        assert_eq!(machine.todo(), Todo::ReadFence);
        let found = stored(20, 4, 9, &[7, 8]);
        machine.fence_read(Some(found.clone()));
        assert_eq!(machine.todo(), Todo::Settle(found));
        machine.settled(true);
        let Todo::WriteFence { expect, fence } = machine.todo() else {
            panic!("{:?}", machine.todo());
        };
        assert_eq!((expect, fence.epoch), (StreamSeq(20), Epoch(5)));
        assert_eq!(fence.settled, StreamSeq(20));
        assert!(fence.events.is_empty());
        machine.answered(Answer::Stored(StreamSeq(30)), Vec::new());
        assert_eq!(machine.todo(), Todo::Publish);
        assert_eq!(machine.holding(), Some(StreamSeq(30)));
    }

    #[test]
    fn what_was_published_is_settled_before_the_next_batch() {
        let mut machine = holding(1, 3);
        let (expect, fence) = machine.begin_batch(vec![event(1), event(2)]).unwrap();
        assert_eq!(expect, StreamSeq(3));
        machine.answered(Answer::Stored(StreamSeq(4)), fence.events);
        assert!(matches!(machine.todo(), Todo::Settle(found) if found.end() == StreamSeq(6)));
        assert!(machine.begin_batch(vec![event(3)]).is_none());
        machine.settled(true);
        assert_eq!(machine.begin_batch(vec![event(3)]).unwrap().0, StreamSeq(4));
    }

    #[test]
    fn a_lost_answer_is_read_back_as_published() {
        let mut machine = holding(1, 3);
        machine.answered(Answer::Unclear, vec![event(1)]);
        assert_eq!(machine.todo(), Todo::ReadFence);
        machine.fence_read(Some(stored(4, 1, 3, &[1])));
        assert!(matches!(machine.todo(), Todo::Settle(_)));
        machine.settled(true);
        assert_eq!(machine.holding(), Some(StreamSeq(4)));
    }

    #[test]
    fn a_lost_batch_is_read_back_as_not_published() {
        let mut machine = holding(1, 3);
        machine.answered(Answer::Unclear, vec![event(1)]);
        machine.fence_read(Some(stored(3, 1, 0, &[])));
        assert_eq!(machine.begin_batch(vec![event(1)]).unwrap().0, StreamSeq(3));
    }

    #[test]
    fn a_zombie_finds_a_higher_epoch_and_ends() {
        let mut machine = holding(1, 3);
        machine.answered(Answer::Unclear, vec![event(1)]);
        machine.fence_read(Some(stored(5, 2, 0, &[])));
        assert_eq!(machine.todo(), Todo::End(End::Deposed));
    }

    #[test]
    fn a_settlement_without_the_lease_ends() {
        let mut machine = holding(1, 3);
        machine.answered(Answer::Stored(StreamSeq(4)), vec![event(1)]);
        machine.settled(false);
        assert_eq!(machine.todo(), Todo::End(End::Deposed));
    }

    #[test]
    fn a_predecessors_last_batch_that_came_between_is_settled_and_claimed_behind() {
        let mut machine = Machine::new(claim(2, 3));
        machine.fence_read(Some(stored(3, 1, 0, &[])));
        machine.answered(Answer::Unclear, Vec::new());
        machine.fence_read(Some(stored(8, 1, 3, &[1, 2])));
        assert!(matches!(machine.todo(), Todo::Settle(_)));
        machine.settled(true);
        assert!(matches!(
            machine.todo(),
            Todo::WriteFence {
                expect: StreamSeq(8),
                ..
            }
        ));
    }

    #[test]
    fn what_the_stream_lost_is_noticed() {
        let mut gone = Machine::new(claim(2, 3));
        gone.fence_read(None);
        assert_eq!(gone.todo(), Todo::End(End::StreamLost));

        let mut back = Machine::new(claim(2, 30));
        back.fence_read(Some(stored(20, 1, 0, &[1, 2])));
        assert_eq!(back.todo(), Todo::End(End::StreamLost));

        let mut held = holding(1, 3);
        held.answered(Answer::Unclear, vec![event(1)]);
        let mut wiped = held.clone();
        wiped.fence_read(None);
        assert_eq!(wiped.todo(), Todo::End(End::StreamLost));
        held.fence_read(Some(stored(2, 1, 0, &[])));
        assert_eq!(held.todo(), Todo::End(End::StreamLost));
    }

    #[test]
    fn what_the_database_lost_is_noticed() {
        let mut machine = Machine::new(claim(5, 10));
        machine.fence_read(Some(stored(40, 4, 30, &[9])));
        assert_eq!(machine.todo(), Todo::End(End::DatabaseWentBack));

        let mut outrun = Machine::new(claim(5, 40));
        outrun.fence_read(Some(stored(40, 5, 30, &[])));
        assert_eq!(outrun.todo(), Todo::End(End::Outrun));
    }

    #[test]
    fn a_fence_of_another_outbox_is_refused() {
        let mut machine = Machine::new(claim(5, 0));
        let mut found = stored(4, 1, 0, &[]);
        found.fence.outbox = Uuid::from_u128(99);
        machine.fence_read(Some(found));
        assert_eq!(machine.todo(), Todo::End(End::Foreign(Uuid::from_u128(99))));
    }

    #[test]
    fn an_unverified_shard_takes_the_stream_as_it_is() {
        let unverified = |recorded| Claim {
            verified: false,
            ..claim(5, recorded)
        };
        let mut wiped = Machine::new(unverified(50));
        wiped.fence_read(None);
        assert!(matches!(
            wiped.todo(),
            Todo::WriteFence {
                expect: StreamSeq(0),
                ..
            }
        ));
        let mut ahead = Machine::new(unverified(5));
        ahead.fence_read(Some(stored(40, 9, 30, &[1])));
        assert!(matches!(ahead.todo(), Todo::Settle(_)));
    }

    #[test]
    fn a_renewed_fence_stands_behind_the_old_one() {
        let mut machine = holding(1, 3);
        machine.renew_fence();
        assert!(matches!(
            machine.todo(),
            Todo::WriteFence {
                expect: StreamSeq(3),
                ..
            }
        ));
        machine.answered(Answer::Stored(StreamSeq(90)), Vec::new());
        assert_eq!(machine.holding(), Some(StreamSeq(90)));
    }
}
