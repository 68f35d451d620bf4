//! How a relay comes by a shard, and how it loses it.

use outbox_relay::shard::machine::{End, Remedy, Todo};

use crate::event::Nth;
use crate::relay::{Held, Job};
use crate::world::World;

impl World {
    pub(crate) fn take(&mut self, nth: usize, shard: Nth) -> Option<()> {
        if !self.db.is_free(shard) {
            return None;
        }
        let lease = self.db.take(nth, shard);
        let job = Job::Fresh;
        let again = false;
        self.relays[nth].held[shard] = Some(Held { lease, job, again });
        Some(())
    }

    /// Whether the lease's owner still knows of it, and so renews it.
    pub(crate) fn is_renewed(&self, shard: Nth) -> bool {
        let row = &self.db.shards[shard];
        row.owner.is_some_and(|owner| {
            let held = self.relays[owner].held[shard].as_ref();
            held.is_some_and(|held| held.lease.epoch == row.epoch)
        })
    }

    /// The relay's memory of a shard goes; what it has sent may still arrive.
    pub(crate) fn drop_shard(&mut self, nth: usize, shard: Nth) {
        self.relays[nth].held[shard] = None;
        self.forsake(nth);
    }

    /// As `Turn::end`, and what the dispatcher makes of it.
    pub(crate) fn end(&mut self, nth: usize, shard: Nth) -> Option<()> {
        let writer = self.relays[nth].writer(nth, shard)?;
        let Todo::End(mut end) = self.relays[nth].run(shard)?.machine.todo() else {
            return None;
        };
        if end.remedy() == Remedy::AskForLease {
            end = End::outrun(self.db.holds(writer));
        }
        if end.remedy() == Remedy::LetGo {
            self.let_go(nth, shard);
            return Some(());
        }
        let seen = self.stream.sighting();
        self.db.declare_lost(writer.generation, &seen);
        self.relays[nth].held[shard].as_mut()?.job = Job::Stuck(writer.generation);
        Some(())
    }

    /// The shard is given back; the lease with it, if it is still this relay's.
    pub(crate) fn let_go(&mut self, nth: usize, shard: Nth) {
        if let Some(writer) = self.relays[nth].writer(nth, shard) {
            self.db.release(writer);
        }
        self.relays[nth].held[shard] = None;
    }
}
