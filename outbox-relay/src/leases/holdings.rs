//! The shards this instance holds, shared by those who take, renew and publish them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::shard::Shard;

use super::repo::{Held, Lease};
use crate::shard::fence::StreamSeq;

/// What is held, and what is known of each. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Holdings(Arc<Mutex<BTreeMap<Shard, Held>>>);

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
        self.lock().insert(lease.shard, held);
    }

    /// A lease is over; gives what was known.
    #[must_use]
    pub fn remove(&self, shard: Shard) -> Option<Held> {
        self.lock().remove(&shard)
    }

    /// The shard's own fence stands at `at`, under that generation.
    pub fn note_fence(&self, shard: Shard, generation: i64, at: StreamSeq) {
        if let Some(held) = self.lock().get_mut(&shard) {
            held.generation = generation;
            held.fence_seq = at;
        }
    }

    /// No row of the shard up to `low_id` is pending or can become so.
    pub fn raise_low(&self, shard: Shard, low_id: i64) {
        if let Some(held) = self.lock().get_mut(&shard) {
            held.low_id = held.low_id.max(low_id);
        }
    }

    /// From which id on the shard may have pending rows.
    #[must_use]
    pub fn low_id(&self, shard: Shard) -> i64 {
        self.lock().get(&shard).map_or(0, |held| held.low_id)
    }

    /// All of it.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        self.lock().values().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Shard, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
