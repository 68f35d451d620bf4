//! What follows from the fence that was read.

use std::cmp::Ordering;

use super::{End, Machine, Phase};
use crate::shard::fence::{StoredFence, StreamSeq};

impl Machine {
    pub(super) fn judge(&mut self, found: Option<StoredFence>) -> Result<Phase, End> {
        if let Some(found) = &found
            && found.fence.outbox != self.claim.outbox
        {
            return Err(End::Foreign(found.fence.outbox));
        }
        if let Some(found) = &found
            && found.fence.generation > self.claim.generation
        {
            // Either a loss was declared that this instance has not heard of, or the database does
            // not know of it any more. Declaring it finds out.
            return Err(End::DatabaseWentBack);
        }
        match (self.phase.clone(), found) {
            (Phase::TakingOver, found) => self.judge_take_over(found),
            (Phase::Doubting { at, .. }, None) if at > StreamSeq(0) => Err(End::StreamLost),
            (Phase::Doubting { at, .. }, None) => Ok(Phase::Claiming { at, open: None }),
            (Phase::Doubting { .. }, Some(found)) if self.is_behind(&found) => Err(End::StreamLost),
            (
                Phase::Doubting {
                    at,
                    claimed,
                    on_its_way,
                },
                Some(found),
            ) if found.at == at => self.judge_as_it_was(&found, claimed, on_its_way),
            (Phase::Doubting { at, claimed, .. }, Some(found)) => {
                self.judge_doubt(at, claimed, &found)
            }
            (phase, _) => Ok(phase),
        }
    }

    /// Whether the database has recorded what lies behind the last batch of the stream, or an event
    /// where the fence stands.
    fn is_behind(&self, found: &StoredFence) -> bool {
        let claim = &self.claim;
        claim.verified && (found.end() < claim.recorded || found.at == claim.event)
    }

    /// Whether the database does not know what it knew when the fence of an earlier lease was written.
    fn has_forgotten(&self, found: &StoredFence) -> bool {
        let is_earlier = found.fence.epoch < self.claim.epoch;
        self.claim.verified && is_earlier && found.fence.settled > self.claim.recorded
    }

    fn judge_take_over(&mut self, found: Option<StoredFence>) -> Result<Phase, End> {
        let claim = &self.claim;
        let Some(found) = found else {
            if claim.verified && claim.recorded > StreamSeq(0) {
                return Err(End::StreamLost);
            }
            let at = StreamSeq(0);
            return Ok(Phase::Claiming { at, open: None });
        };
        if claim.verified {
            if self.is_behind(&found) {
                return Err(End::StreamLost);
            }
            if found.fence.epoch >= claim.epoch {
                return Err(End::Outrun);
            }
            if self.has_forgotten(&found) {
                return Err(End::DatabaseWentBack);
            }
        }
        self.settled = found.fence.settled;
        Ok(owed(&found, false))
    }

    /// The last fence stands where it stood: what was sent is not stored. If it is still on its way
    /// it is shut out by writing the own fence anew, so that its events can be given up.
    fn judge_as_it_was(
        &self,
        found: &StoredFence,
        claimed: bool,
        on_its_way: bool,
    ) -> Result<Phase, End> {
        let at = found.at;
        if claimed && found.fence.epoch != self.claim.epoch {
            // Another one's fence at the same place: the stream is not what it was.
            return Err(End::StreamLost);
        }
        Ok(match (claimed, on_its_way) {
            (true, false) => Phase::Holding {
                at,
                apart: !found.fence.announced.is_empty(),
            },
            (true, true) => Phase::Claiming { at, open: None },
            (false, _) => owed(found, false),
        })
    }

    fn judge_doubt(&self, at: StreamSeq, claimed: bool, found: &StoredFence) -> Result<Phase, End> {
        if found.at < at {
            return Err(End::StreamLost);
        }
        if self.has_forgotten(found) {
            return Err(End::DatabaseWentBack);
        }
        match found.fence.epoch.cmp(&self.claim.epoch) {
            Ordering::Equal => Ok(owed(found, true)),
            Ordering::Greater if claimed || self.claim.verified => Err(End::Deposed),
            Ordering::Less if claimed => Err(End::StreamLost),
            _ => Ok(owed(found, false)),
        }
    }
}

/// A fence was found whose events may still be pending in the database, or may still be stored.
fn owed(found: &StoredFence, claimed: bool) -> Phase {
    let at = found.at;
    let open = found.announced();
    match (found.fence.events.is_empty(), claimed) {
        _ if open.is_some() => Phase::Claiming { at, open },
        (false, _) => Phase::Settling {
            at,
            owed: found.owed(),
            claimed,
            apart: false,
        },
        (true, true) => Phase::Holding { at, apart: false },
        (true, false) => Phase::Claiming { at, open: None },
    }
}
