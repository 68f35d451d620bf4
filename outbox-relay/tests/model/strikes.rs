//! What comes of a fault.

use outbox_relay::identity::entity::Sighting;
use outbox_relay::shard::fence::StreamSeq;
use outbox_relay::shard::machine::Answer;

use crate::database::Database;
use crate::event::Nth;
use crate::faults::Fault;
use crate::mutant::Mutant;
use crate::relay::{Relay, Wire};
use crate::stream::{Parcel, Stream};
use crate::world::World;

impl World {
    /// Whether it may happen now, as far as is easily seen.
    pub(crate) fn may_strike(&self, fault: Fault) -> bool {
        self.left.of(fault) > 0
            && match fault {
                Fault::Crash(nth) => self.relays[nth] != Relay::default(),
                Fault::Freeze(shard) => self.is_renewed(shard) && !self.db.shards[shard].lapsed,
                Fault::LoseOneAnswer(nth) => self.relays[nth].singles.len() > 1,
                Fault::LoseAnswer(nth, shard) => self.relays[nth].run(shard).is_some(),
                Fault::EvictFence => {
                    let last = self.stream.last_fence(0);
                    self.is_settled_in() && last.is_some_and(|fence| self.is_settled_to(fence.at))
                }
                Fault::CopyStream => self.copies.stream.is_none(),
                Fault::RestoreStream => self.copies.stream.is_some(),
                Fault::CopyDatabase => self.copies.database.is_none(),
                Fault::RestoreDatabase => self.copies.database.is_some(),
                Fault::Spoil => !self.spoiled,
                Fault::Retry => !self.db.dead.is_empty(),
                Fault::RestartBroker => self.relays.iter().any(|relay| !relay.flights.is_empty()),
                Fault::Abandon(nth) => self.relays[nth].flights.iter().any(|parcel| parcel.begun),
                Fault::WipeStream | Fault::OrderVerification => true,
            }
    }

    /// It happens. `None` if it changes nothing.
    pub(crate) fn strike(&mut self, fault: Fault, mutant: Mutant) -> Option<()> {
        self.left.spend(fault);
        match fault {
            Fault::Crash(nth) => {
                self.drop_shard(nth, 0);
                self.drop_shard(nth, 1);
                self.relays[nth] = Relay::default();
            }
            Fault::Freeze(shard) => self.db.shards[shard].lapsed = true,
            Fault::LoseOneAnswer(nth) => return self.lose_one_answer(nth),
            Fault::LoseAnswer(nth, shard) => return self.lose_answer(nth, shard, mutant),
            Fault::EvictFence => {
                self.stream.evict_fence(0);
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
            Fault::RestartBroker => {
                let sent = self.end_connections(mutant);
                self.late.extend(sent);
            }
            Fault::Abandon(nth) => {
                let flights = &mut self.relays[nth].flights;
                let begun = flights.iter().position(|parcel| parcel.begun)?;
                let parcel = flights.remove(begun);
                self.told(nth, &parcel, Answer::Refused, mutant);
            }
        }
        Some(())
    }

    /// Whether the database has recorded something of the shard in the stream as it is now.
    fn is_settled_in(&self) -> bool {
        let (generation, _) = self.db.lives();
        let lost = self.db.known().is_lost(&self.stream.sighting());
        self.db.has_recorded(0) && self.db.shards[0].generation == generation && !lost
    }

    /// Whether nothing stands below this position that still waits in the database.
    fn is_settled_to(&self, to: StreamSeq) -> bool {
        let stored = self.stream.scan(0, to);
        let waits = |id| self.db.pending.iter().any(|row| row.uuid() == id);
        !stored.iter().any(|placed| waits(placed.event_id))
    }

    /// The relay gives up waiting. A batch that has not arrived may do so later.
    fn lose_answer(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        match self.relays[nth].run(shard)?.wire {
            Wire::Sent => {
                // What travels together is lost together: the first shard that waits is enough.
                let mut flights = self.relays[nth].flights.iter();
                let flight = flights.position(|parcel| {
                    let mut relay = self.relays[nth].clone();
                    let waiting = parcel
                        .parts
                        .iter()
                        .find(|part| relay.waiting(part).is_some());
                    waiting.is_some_and(|part| part.shard == shard)
                })?;
                let parcel = self.relays[nth].flights.remove(flight);
                self.told(nth, &parcel, Answer::Unclear, mutant);
                self.late.push(parcel);
                Some(())
            }
            Wire::Quiet => {
                // The machine is told nothing, and settles again.
                self.settle_in_database(nth, shard, mutant)?;
                Some(())
            }
            Wire::Singly(_) => {
                self.lose_answers(nth, mutant);
                Some(())
            }
            Wire::Judged(_) | Wire::Following(..) => None,
        }
    }

    /// The server's connections end with what it has lost: what was on its way does not arrive.
    fn lose_stream(&mut self, stream: Stream, mutant: Mutant) {
        self.stream = stream;
        self.life += 1;
        self.lost.stream = true;
        self.late.clear();
        self.end_connections(mutant);
        self.late_singles.clear();
    }

    /// No answer comes any more to anything; gives what was on its way.
    fn end_connections(&mut self, mutant: Mutant) -> Vec<Parcel> {
        let mut sent = Vec::new();
        for nth in 0..self.relays.len() {
            let flights = std::mem::take(&mut self.relays[nth].flights);
            for parcel in &flights {
                self.told(nth, parcel, Answer::Unclear, mutant);
            }
            sent.extend(flights);
            self.lose_answers(nth, mutant);
        }
        sent
    }

    /// A copy is older than a lease lasts, and so is what it says of leases.
    fn restore_database(&mut self, copy: Database) {
        self.db = copy;
        self.db.open = None;
        self.db
            .shards
            .iter_mut()
            .for_each(|shard| shard.lapsed = true);
        self.lost.database = true;
        for nth in 0..self.relays.len() {
            self.drop_shard(nth, 0);
            self.drop_shard(nth, 1);
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
