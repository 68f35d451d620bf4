//! How a relay comes by the shard, and how it loses it.

use outbox_relay::shard::machine::{End, Remedy, Todo};

use crate::relay::{Held, Job, Wire};
use crate::world::World;

impl World {
    pub(crate) fn take(&mut self, nth: usize) -> Option<()> {
        if !self.db.is_free() {
            return None;
        }
        let lease = self.db.take(nth);
        let job = Job::Fresh;
        let again = false;
        self.relays[nth].held = Some(Held { lease, job, again });
        Some(())
    }

    /// Whether the lease's owner still knows of it, and so renews it.
    pub(crate) fn is_renewed(&self) -> bool {
        self.db.shard.owner.is_some_and(|owner| {
            let held = self.relays[owner].held.as_ref();
            held.is_some_and(|held| held.lease.epoch == self.db.shard.epoch)
        })
    }

    /// The relay's memory of the shard goes; what it has sent may still arrive.
    pub(crate) fn drop_shard(&mut self, nth: usize) {
        if let Some(Wire::Sent(parcel)) = self.relays[nth].run().map(|run| &run.wire) {
            self.late.push(parcel.clone());
        }
        self.relays[nth].held = None;
    }

    /// As `Turn::end`, and what the dispatcher makes of it.
    pub(crate) fn end(&mut self, nth: usize) -> Option<()> {
        let writer = self.relays[nth].writer(nth)?;
        let Todo::End(mut end) = self.relays[nth].run()?.machine.todo() else {
            return None;
        };
        if end.remedy() == Remedy::AskForLease {
            end = End::outrun(self.db.holds(writer));
        }
        if end.remedy() == Remedy::LetGo {
            self.let_go(nth);
            return Some(());
        }
        let seen = self.stream.sighting();
        self.db.declare_lost(writer.generation, &seen);
        self.relays[nth].held.as_mut()?.job = Job::Stuck(writer.generation);
        Some(())
    }

    /// The shard is given back; the lease with it, if it is still this relay's.
    pub(crate) fn let_go(&mut self, nth: usize) {
        if let Some(writer) = self.relays[nth].writer(nth) {
            self.db.release(writer);
        }
        self.relays[nth].held = None;
    }
}
