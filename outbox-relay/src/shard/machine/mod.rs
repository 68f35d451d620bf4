//! The protocol of one leased shard, as a state machine without IO.
//!
//! The shell asks [`Machine::todo`], does that one thing, and reports what came of it. The order
//! of steps is what holds the invariants:
//!
//! - a take-over reads the fence, settles what it lists, writes its own fence at that position,
//!   and only then reads rows;
//! - one batch is in flight, and what it published is settled before the next fence is sent;
//! - whatever is not known is read back from the fence, never guessed; and what may still arrive is
//!   shut out by a fence of its own, before anything is decided that it could belie;
//! - events that a fence announces are sent one by one, each on the condition that this fence is the
//!   shard's last. If not all are answered as stored, a fence that carries the announcement on is
//!   written first, by whoever has the shard then; only behind that one is looked up which came.

mod judge;
mod terms;
#[cfg(test)]
mod tests;

use uuid::Uuid;

pub use self::terms::{Answer, End, Remedy, Todo};
use super::fence::{Announced, Epoch, EventRef, Fence, Owed, StoredFence, StreamSeq};

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
    /// The highest of these that is an event's, 0 if none is known.
    pub event: StreamSeq,
    /// The stream's generation, as the holder knows it.
    pub generation: i64,
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
    /// To write this instance's own fence behind the one at `at`, which carries on what may have
    /// been published one by one.
    Claiming {
        at: StreamSeq,
        open: Option<Announced>,
    },
    /// The own fence at `at` has shut out what is announced and had not come; what has is not known.
    Searching {
        at: StreamSeq,
        open: Announced,
    },
    /// The fence at `at` is this instance's own and settled, and nothing that was sent behind it is
    /// on its way. If events came one by one behind it, they are `apart` from it: a stream may have
    /// lost them and not the fence.
    Holding {
        at: StreamSeq,
        apart: bool,
    },
    /// Something was sent behind `at` and it is not known which fence is the last by now. If no
    /// answer came, what was sent may still be on its way.
    Doubting {
        at: StreamSeq,
        claimed: bool,
        on_its_way: bool,
    },
    /// What is owed is in the stream and may still be pending in the database. The last fence, which
    /// is this instance's own if `claimed`, is at `at`.
    Settling {
        at: StreamSeq,
        owed: Owed,
        claimed: bool,
        apart: bool,
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
            Phase::Claiming { at, open } => Todo::WriteFence {
                expect: *at,
                fence: self.carrying(open.as_ref()),
            },
            Phase::Searching { at, open } => Todo::Search {
                announced: open.clone(),
                to: *at,
            },
            Phase::Holding { .. } => Todo::Publish,
            Phase::Settling { owed, .. } => Todo::Settle(owed.clone()),
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
        if let Phase::Holding { at, .. } = self.phase {
            self.claim.verified = true;
            self.claim.recorded = at;
            self.claim.event = StreamSeq(0);
            self.settled = self.settled.min(at);
        }
    }

    /// The position of this instance's own fence, if it holds the shard and owes nothing.
    #[must_use]
    pub fn holding(&self) -> Option<StreamSeq> {
        match self.phase {
            Phase::Holding { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The highest stream position that the database has recorded for the shard.
    #[must_use]
    pub fn recorded(&self) -> StreamSeq {
        self.claim.recorded
    }

    /// The highest fence position that is surely this shard's, to be recorded with the lease.
    #[must_use]
    pub fn fence_seq(&self) -> StreamSeq {
        match &self.phase {
            Phase::Holding { at, .. }
            | Phase::Doubting {
                at, claimed: true, ..
            } => *at,
            _ => StreamSeq(0),
        }
    }

    /// The fence of a batch of `events`, and where the last one must stand. `None` unless
    /// [`Self::todo`] says [`Todo::Publish`], or if the fence is to be renewed before
    /// ([`Self::is_apart`]).
    #[must_use]
    pub fn begin_batch(&self, events: Vec<EventRef>) -> Option<(StreamSeq, Fence)> {
        let at = self.holding()?;
        (!self.is_apart()).then(|| (at, self.fence(events)))
    }

    /// Whether events stand apart from the own fence, so that it has to be renewed before a batch:
    /// had the stream lost them, a batch would be stored all the same. A fence alone is as well, but
    /// where it then stands shows the loss before any event follows.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        matches!(self.phase, Phase::Holding { apart: true, .. })
    }

    /// The fence that announces `events`, and where the last one must stand. `None` unless
    /// [`Self::todo`] says [`Todo::Publish`].
    #[must_use]
    pub fn begin_announcement(&self, events: Vec<EventRef>) -> Option<(StreamSeq, Fence)> {
        let at = self.holding()?;
        let fence = Fence {
            announced: events,
            ..self.fence(Vec::new())
        };
        Some((at, fence))
    }

    /// To write the own fence anew, so that limits of the stream do not evict it.
    pub fn renew_fence(&mut self) {
        if let Phase::Holding { at, .. } = self.phase {
            self.phase = Phase::Claiming { at, open: None };
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
        let (claimed, open) = match &self.phase {
            Phase::Claiming { open, .. } => (false, open.clone()),
            Phase::Holding { .. } => (true, None),
            _ => return,
        };
        let Some(at) = self.stored_at(answer, claimed) else {
            return;
        };
        self.phase = match open {
            Some(open) => Phase::Searching { at, open },
            None if sent.is_empty() => Phase::Holding { at, apart: false },
            None => Phase::Settling {
                at,
                owed: StoredFence::new(at, self.fence(sent)).owed(),
                claimed: true,
                apart: false,
            },
        };
    }

    /// The broker's answer to the fence that announces `events`. If it is stored, they are to be sent
    /// one by one, each on the condition that the shard's last fence stands where the answer says;
    /// what is done if that is left out, or does not come to its end, is to shut them out.
    ///
    /// Gives where that is; nothing if they are not to be sent.
    pub fn announced(&mut self, answer: Answer, events: Vec<EventRef>) -> Option<StreamSeq> {
        if !matches!(self.phase, Phase::Holding { .. }) {
            return None;
        }
        let at = self.stored_at(answer, true)?;
        let open = Some(Announced { events, behind: at });
        self.phase = Phase::Claiming { at, open };
        Some(at)
    }

    /// All that the fence at `fence` announced was answered as stored.
    pub fn stored_singly(&mut self, fence: StreamSeq, placed: Vec<(EventRef, StreamSeq)>) {
        let Phase::Claiming {
            at,
            open: Some(open),
        } = &self.phase
        else {
            return;
        };
        let is_all = open.behind == fence
            && *at == fence
            && (open.events.iter()).all(|event| placed.iter().any(|(other, _)| other == event));
        if is_all {
            let owed = Owed { at: fence, placed };
            self.phase = Phase::Settling {
                at: fence,
                owed,
                claimed: true,
                apart: true,
            };
        }
    }

    /// What [`Todo::Search`] has found in the stream.
    pub fn found(&mut self, placed: Vec<(EventRef, StreamSeq)>) {
        let Phase::Searching { at, open } = &self.phase else {
            return;
        };
        let (at, behind) = (*at, open.behind);
        self.phase = if placed.is_empty() {
            Phase::Holding { at, apart: false }
        } else {
            Phase::Settling {
                at,
                owed: Owed { at: behind, placed },
                claimed: true,
                apart: false,
            }
        };
    }

    /// The search came to no end, and may be too late by the next time: the fence is read again.
    pub fn search_failed(&mut self) {
        if let Phase::Searching { at, .. } = self.phase {
            self.phase = Phase::Doubting {
                at,
                claimed: false,
                on_its_way: false,
            };
        }
    }

    /// Where the fence that was sent is stored. If it is not, or that is not known, the phase says
    /// so from now on; and if it stands where the database has recorded an event, or below, that the
    /// stream is lost.
    fn stored_at(&mut self, answer: Answer, claimed: bool) -> Option<StreamSeq> {
        let (Phase::Claiming { at, .. } | Phase::Holding { at, .. }) = self.phase else {
            return None;
        };
        match answer {
            Answer::Stored(seq) if self.claim.verified && seq <= self.claim.recorded => {
                self.phase = Phase::Ended(End::StreamLost);
            }
            Answer::Stored(seq) => return Some(seq),
            Answer::NotSent => {}
            Answer::Refused | Answer::Unclear => {
                self.phase = Phase::Doubting {
                    at,
                    claimed,
                    on_its_way: answer == Answer::Unclear,
                }
            }
        }
        None
    }

    /// What [`Todo::Settle`] named is recorded, if the lease was still `held` when it was.
    pub fn settled(&mut self, held: bool) {
        let Phase::Settling {
            at,
            owed,
            claimed,
            apart,
        } = &self.phase
        else {
            return;
        };
        let (at, claimed, apart) = (*at, *claimed, *apart);
        if !held {
            self.phase = Phase::Ended(End::Deposed);
            return;
        }
        self.settled = owed.at;
        self.claim.recorded = self.claim.recorded.max(owed.end());
        let last = owed.placed.iter().map(|(_, seq)| *seq).max();
        self.claim.event = last.unwrap_or(self.claim.event);
        self.phase = if claimed {
            Phase::Holding { at, apart }
        } else {
            Phase::Claiming { at, open: None }
        };
    }

    /// A fence without events that carries on what was announced.
    fn carrying(&self, open: Option<&Announced>) -> Fence {
        let fence = self.fence(Vec::new());
        match open {
            None => fence,
            Some(open) => Fence {
                announced: open.events.clone(),
                behind: open.behind,
                ..fence
            },
        }
    }

    /// The fence of a batch of `events`.
    #[must_use]
    pub fn fence(&self, events: Vec<EventRef>) -> Fence {
        Fence {
            outbox: self.claim.outbox,
            epoch: self.claim.epoch,
            generation: self.claim.generation,
            settled: self.settled,
            events,
            announced: Vec::new(),
            behind: StreamSeq(0),
            max_age_ms: 0,
        }
    }
}
