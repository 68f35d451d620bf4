//! The moves of a verification: compare, publish again, pass.

use outbox_relay::shard::fence::StreamSeq;
use outbox_relay::verify::entity::compare;
use uuid::Uuid;

use crate::event::Nth;
use crate::mutant::Mutant;
use crate::relay::Check;
use crate::world::World;

/// Events published again in one batch, at most.
const BATCH_MAX: usize = 2;

impl World {
    /// Reads the stream up to the own fence and records what stands there. In one step: below that
    /// fence nothing of the shard changes any more, and nobody else may write under the lease.
    pub(crate) fn compare(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let writer = self.relays[nth].writer(nth, shard)?;
        let lives = self.db.lives();
        if lives.0 != writer.generation {
            return None;
        }
        let to = self.relays[nth].run(shard)?.machine.holding()?;
        let found = self.stream.scan(shard, to);
        let recorded = self.db.recorded(shard, self.stream.first(), to);
        let difference = compare(&found, &recorded);
        let places: Vec<(Uuid, StreamSeq)> = difference
            .unrecorded
            .iter()
            .map(|placed| (placed.event_id, placed.seq))
            .collect();
        let seq_of = |id: Uuid| places.iter().find(|(other, _)| *other == id);
        let waiting: Vec<_> = self
            .db
            .pending
            .iter()
            .filter_map(|row| seq_of(row.uuid()).map(|(_, seq)| (row.event_ref(), *seq)))
            .collect();
        let held = places.is_empty()
            || self.db.settle(writer, &waiting, mutant) && self.db.place(writer, &places);
        if !held {
            return None;
        }
        let absent = difference.absent.iter().map(|placed| placed.event_id);
        let absent = absent.filter(|id| seq_of(*id).is_none()).collect();
        self.relays[nth].run_mut(shard)?.check = Some(Check { lives, to, absent });
        Some(())
    }

    /// The next events that the stream lacks; if there are none, the shard passes.
    pub(crate) fn republish(&mut self, nth: usize, shard: Nth, _mutant: Mutant) -> Option<()> {
        let writer = self.relays[nth].writer(nth, shard)?;
        let check = self.relays[nth].run(shard)?.check.clone()?;
        let rows = self
            .db
            .next_missing(shard, check.lives, check.to, &check.absent, BATCH_MAX);
        if !rows.is_empty() {
            let part = self.part(nth, shard, rows)?;
            return self.dispatch(nth, vec![part]);
        }
        let at = self.relays[nth].run(shard)?.machine.holding()?;
        if !self.db.pass(writer, at) {
            return None;
        }
        let run = self.relays[nth].run_mut(shard)?;
        run.check = None;
        run.machine.pass_verification();
        Some(())
    }
}
