//! What comes of a fault.

use outbox_relay::identity::entity::Sighting;
use outbox_relay::shard::machine::Answer;

use crate::database::Database;
use crate::faults::Fault;
use crate::mutant::Mutant;
use crate::relay::{Relay, Wire};
use crate::stream::Stream;
use crate::world::World;

impl World {
    /// Whether it may happen now, as far as is easily seen.
    pub(crate) fn may_strike(&self, fault: Fault) -> bool {
        self.left.of(fault) > 0
            && match fault {
                Fault::Crash(nth) => self.relays[nth] != Relay::default(),
                Fault::Freeze => self.is_renewed() && !self.db.shard.lapsed,
                Fault::LoseAnswer(nth) => self.relays[nth].run().is_some(),
                Fault::EvictFence => self.stream.last_fence().is_some() && self.is_settled_in(),
                Fault::CopyStream => self.copies.stream.is_none(),
                Fault::RestoreStream => self.copies.stream.is_some(),
                Fault::CopyDatabase => self.copies.database.is_none(),
                Fault::RestoreDatabase => self.copies.database.is_some(),
                Fault::Spoil => !self.spoiled,
                Fault::Retry => !self.db.dead.is_empty(),
                Fault::WipeStream | Fault::OrderVerification => true,
            }
    }

    /// It happens. `None` if it changes nothing.
    pub(crate) fn strike(&mut self, fault: Fault, mutant: Mutant) -> Option<()> {
        self.left.spend(fault);
        match fault {
            Fault::Crash(nth) => {
                self.drop_shard(nth);
                self.relays[nth] = Relay::default();
            }
            Fault::Freeze => self.db.shard.lapsed = true,
            Fault::LoseAnswer(nth) => return self.lose_answer(nth, mutant),
            Fault::EvictFence => {
                self.stream.evict_fence();
                self.lost.stream = true;
            }
            Fault::WipeStream => self.lose_stream(self.stream.wiped(), mutant),
            Fault::CopyStream => self.copies.stream = Some(self.stream.clone()),
            Fault::RestoreStream => {
                let copy = self.copies.stream.take()?;
                self.lose_stream(copy, mutant);
            }
            Fault::CopyDatabase => self.copies.database = Some(self.db.clone()),
            Fault::RestoreDatabase => {
                let copy = self.copies.database.take()?;
                self.restore_database(copy);
            }
            Fault::Spoil => self.spoiled = true,
            Fault::Retry => {
                self.spoiled = false;
                self.db.retry();
            }
            Fault::OrderVerification => self.order_verification()?,
        }
        Some(())
    }

    /// Whether the database has recorded something of the shard in the stream as it is now.
    fn is_settled_in(&self) -> bool {
        let (generation, _) = self.db.lives();
        let lost = self.db.known().is_lost(&self.stream.sighting());
        self.db.has_recorded() && self.db.shard.generation == generation && !lost
    }

    /// The relay gives up waiting. A batch that has not arrived may do so later.
    fn lose_answer(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let run = self.relays[nth].run_mut()?;
        match std::mem::replace(&mut run.wire, Wire::Quiet) {
            Wire::Sent(parcel) => {
                let sent = parcel.fence.events.clone();
                self.late.push(parcel);
                self.told(nth, Answer::Unclear, sent, mutant)
            }
            Wire::Quiet => {
                // The machine is told nothing, and settles again.
                self.settle_in_database(nth, mutant)?;
                Some(())
            }
            Wire::Judged(_) => None,
        }
    }

    /// The server's connections end with what it has lost: what was on its way does not arrive.
    fn lose_stream(&mut self, stream: Stream, mutant: Mutant) {
        self.stream = stream;
        self.life += 1;
        self.lost.stream = true;
        self.late.clear();
        for nth in 0..self.relays.len() {
            if let Some(run) = self.relays[nth].run_mut()
                && let Wire::Sent(parcel) = &run.wire
            {
                let sent = parcel.fence.events.clone();
                run.wire = Wire::Quiet;
                self.told(nth, Answer::Unclear, sent, mutant);
            }
        }
    }

    /// A copy is older than a lease lasts, and so is what it says of leases.
    fn restore_database(&mut self, copy: Database) {
        self.db = copy;
        self.db.open = None;
        self.db.shard.lapsed = true;
        self.lost.database = true;
        for nth in 0..self.relays.len() {
            self.drop_shard(nth);
        }
    }

    fn order_verification(&mut self) -> Option<()> {
        let known = self.db.known();
        let seen = Sighting {
            created: known.stream_created?,
            last_seq: known.stream_last_seq,
        };
        self.db.declare_lost(known.generation, &seen);
        self.lost.ordered = true;
        Some(())
    }
}
