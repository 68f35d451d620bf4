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
