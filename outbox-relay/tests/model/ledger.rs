//! What the database knows of the stream: what a look at the stream and a verification ask of it and
//! write to it.

use std::collections::BTreeSet;

use outbox_relay::identity::entity::{Identity, Sighting};
use outbox_relay::shard::fence::StreamSeq;
use outbox_relay::verify::entity::Placed;
use uuid::Uuid;

use crate::database::{Database, PublishedRow, Writer};
use crate::event::{Event, Nth, shard};

impl Database {
    /// `identity::repo::load`: the stream has surely reached what is recorded.
    pub(crate) fn known(&self) -> Identity {
        let generation = self.identity.generation;
        let rows = self.published.iter();
        let recorded = rows.filter(|row| row.generation == generation);
        let mut known = self.identity.clone();
        for row in recorded {
            known.stream_last_seq = known.stream_last_seq.max(row.seq.to_db());
        }
        known
    }

    /// `identity::repo::note`, or `declare_lost`, as a look at the stream decides.
    pub(crate) fn look(&mut self, seen: &Sighting) {
        if self.known().is_lost(seen) {
            self.declare_lost(self.identity.generation, seen);
        } else {
            self.identity.stream_last_seq = seen.last_seq;
        }
    }

    /// `identity::repo::declare_lost`.
    pub(crate) fn declare_lost(&mut self, generation: i64, seen: &Sighting) {
        if self.identity.generation != generation {
            return;
        }
        self.identity.generation += 1;
        if self.identity.stream_created.as_ref() != Some(&seen.created) {
            self.since = self.identity.generation;
        }
        self.identity.stream_created = Some(seen.created.clone());
        self.identity.stream_last_seq = seen.last_seq;
    }

    /// `verify::repo::lives`: the present generation, and the first of this life of the stream.
    pub(crate) fn lives(&self) -> (i64, i64) {
        (self.identity.generation, self.since)
    }

    /// `verify::repo::recorded`.
    pub(crate) fn recorded(&self, nth: Nth, from: StreamSeq, to: StreamSeq) -> Vec<Placed> {
        let (generation, since) = self.lives();
        self.published
            .iter()
            .filter(|row| row.event.key.shard() == nth)
            .filter(|row| (since..=generation).contains(&row.generation))
            .filter(|row| (from..=to).contains(&row.seq))
            .map(|row| Placed {
                seq: row.seq,
                shard: shard(nth),
                event_id: row.event.uuid(),
            })
            .collect()
    }

    /// `verify::repo::place`: gives whether the lease was held.
    pub(crate) fn place(&mut self, writer: Writer, places: &[(Uuid, StreamSeq)]) -> bool {
        if !self.holds(writer) {
            return false;
        }
        for row in &mut self.published {
            if let Some((_, seq)) = places.iter().find(|(id, _)| *id == row.event.uuid()) {
                row.seq = *seq;
                row.generation = writer.generation;
            }
        }
        true
    }

    /// `verify::repo::next_missing`, from the beginning: what was published again has the present
    /// generation.
    pub(crate) fn next_missing(
        &self,
        nth: Nth,
        lives: (i64, i64),
        compared_to: StreamSeq,
        absent: &BTreeSet<Uuid>,
        limit: usize,
    ) -> Vec<Event> {
        let (generation, since) = lives;
        let mut rows: Vec<&PublishedRow> = self
            .published
            .iter()
            .filter(|row| row.event.key.shard() == nth && row.generation < generation)
            .filter(|row| {
                row.generation < since
                    || row.seq > compared_to
                    || absent.contains(&row.event.uuid())
            })
            .collect();
        rows.sort_by_key(|row| (row.generation, row.seq));
        rows.into_iter().take(limit).map(|row| row.event).collect()
    }

    /// `verify::repo::pass`: gives whether the lease was held.
    pub(crate) fn pass(&mut self, writer: Writer, fence: StreamSeq) -> bool {
        let held = self.holds(writer);
        if held {
            let shard = &mut self.shards[writer.shard];
            shard.generation = writer.generation;
            shard.fence_seq = fence;
        }
        held
    }
}
