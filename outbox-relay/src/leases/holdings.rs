//! The shards this instance holds, shared by those who take, renew and publish them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::shard::Shard;

use super::repo::{Held, Lease};
use crate::backlog::floor::ReadFrom;
use crate::shard::fence::{Epoch, StreamSeq};

/// What is held, and what is known of each. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Holdings(Arc<Mutex<BTreeMap<Shard, Holding>>>);

#[derive(Clone, Debug)]
struct Holding {
    held: Held,
    floor_id: i64,
    witnesses: Arc<[i64]>,
}

impl Holdings {
    /// A lease was taken.
    pub fn add(&self, lease: &Lease) {
        let held = Held {
            shard: lease.shard,
            epoch: lease.epoch,
            generation: lease.generation,
            fence_seq: StreamSeq(0),
            low_id: lease.low_id,
        };
        let holding = Holding {
            held,
            floor_id: lease.low_id,
            witnesses: Arc::default(),
        };
        self.lock().insert(lease.shard, holding);
    }

    /// A lease is over; gives what was known.
    #[must_use]
    pub fn remove(&self, shard: Shard) -> Option<Held> {
        self.lock().remove(&shard).map(|holding| holding.held)
    }

    /// The shard's own fence stands at `at`, under that generation.
    pub fn note_fence(&self, shard: Shard, generation: i64, at: StreamSeq) {
        if let Some(holding) = self.lock().get_mut(&shard) {
            holding.held.generation = generation;
            holding.held.fence_seq = at;
        }
    }

    /// No row of the shard up to `low_id` is pending or can become so, if it is still held under
    /// that epoch: a dead letter that was put back is a row of old, and ends the lease.
    pub fn raise_low(&self, shard: Shard, epoch: Epoch, low_id: i64) {
        self.change(shard, epoch, |holding| {
            holding.held.low_id = holding.held.low_id.max(low_id);
        });
    }

    /// No row of the shard up to `floor_id` can be seen as long as all `witnesses` run.
    pub fn set_floor(&self, shard: Shard, epoch: Epoch, floor_id: i64, witnesses: Arc<[i64]>) {
        self.change(shard, epoch, |holding| {
            holding.floor_id = floor_id;
            holding.witnesses = witnesses;
        });
    }

    /// Where the shard is read from.
    #[must_use]
    pub fn read_from(&self, shard: Shard) -> ReadFrom {
        let inner = self.lock();
        let Some(holding) = inner.get(&shard) else {
            return ReadFrom::default();
        };
        let low_id = holding.held.low_id;
        if holding.floor_id <= low_id {
            return ReadFrom {
                low_id,
                floor_id: low_id,
                witnesses: Arc::default(),
            };
        }
        ReadFrom {
            low_id,
            floor_id: holding.floor_id,
            witnesses: Arc::clone(&holding.witnesses),
        }
    }

    /// All of it.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        self.lock().values().map(|holding| holding.held).collect()
    }

    fn change(&self, shard: Shard, epoch: Epoch, change: impl FnOnce(&mut Holding)) {
        if let Some(holding) = self.lock().get_mut(&shard)
            && holding.held.epoch == epoch
        {
            change(holding);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Shard, Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
