//! The database: what each statement of the relay does to it, under the names that the statements
//! have in the production code.

use outbox_relay::identity::entity::{Identity, Sighting};
use outbox_relay::leases::repo::Lease;
use outbox_relay::shard::fence::{Epoch, EventRef, StreamSeq};

use crate::event::{Event, Key, Nth, OUTBOX, shard};
use crate::mutant::Mutant;

/// A row of `outbox_shards`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShardRow {
    pub(crate) owner: Option<usize>,
    pub(crate) epoch: Epoch,
    /// Whether `lease_until` has passed.
    pub(crate) lapsed: bool,
    pub(crate) fence_seq: StreamSeq,
    pub(crate) generation: i64,
}

/// A row of `outbox_published`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PublishedRow {
    pub(crate) event: Event,
    pub(crate) seq: StreamSeq,
    pub(crate) generation: i64,
}

/// Under which lease a statement writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) owner: usize,
    pub(crate) shard: Nth,
    pub(crate) epoch: Epoch,
    pub(crate) generation: i64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    /// `outbox_events`, by id.
    pub(crate) pending: Vec<Event>,
    /// The row of a transaction that runs.
    pub(crate) open: Option<Event>,
    pub(crate) published: Vec<PublishedRow>,
    pub(crate) dead: Vec<Event>,
    pub(crate) shards: [ShardRow; 2],
    pub(crate) identity: Identity,
    /// `outbox_identity.stream_since`.
    pub(crate) since: i64,
    /// The sequence's last id.
    last_id: i64,
    /// Every event that this database's history has committed, in order; for the properties alone.
    pub(crate) committed: Vec<Event>,
}

impl Database {
    pub(crate) fn new(stream: &Sighting) -> Self {
        let shard = ShardRow {
            owner: None,
            epoch: Epoch(0),
            lapsed: false,
            fence_seq: StreamSeq(0),
            generation: 0,
        };
        Self {
            pending: Vec::new(),
            open: None,
            published: Vec::new(),
            dead: Vec::new(),
            shards: [shard.clone(), shard],
            identity: Identity {
                outbox: OUTBOX,
                stream_created: Some(stream.created.clone()),
                stream_last_seq: stream.last_seq,
                generation: 0,
            },
            since: 0,
            last_id: 0,
            committed: Vec::new(),
        }
    }

    /// `outbox_append`, up to its commit.
    pub(crate) fn append(&mut self, number: u8, key: Key) {
        self.last_id += 1;
        let event = Event {
            id: self.last_id,
            number,
            key,
        };
        match key {
            Key::Prompt | Key::Other => self.commit(event),
            Key::Late => self.open = Some(event),
        }
    }

    pub(crate) fn commit(&mut self, event: Event) {
        self.committed.push(event);
        self.insert(event);
    }

    fn insert(&mut self, event: Event) {
        self.pending.push(event);
        self.pending.sort_unstable();
    }

    pub(crate) fn is_free(&self, nth: Nth) -> bool {
        self.shards[nth].owner.is_none() || self.shards[nth].lapsed
    }

    /// `leases::repo::take`.
    pub(crate) fn take(&mut self, owner: usize, nth: Nth) -> Lease {
        let row = &mut self.shards[nth];
        row.owner = Some(owner);
        row.epoch.0 += 1;
        row.lapsed = false;
        Lease {
            shard: shard(nth),
            epoch: row.epoch,
            generation: row.generation,
            recorded: self.reached(nth),
            event: self.last_recorded(nth),
            low_id: 0,
        }
    }

    /// The highest position recorded for a shard in the generation that it was verified for.
    fn reached(&self, nth: Nth) -> StreamSeq {
        self.last_recorded(nth).max(self.shards[nth].fence_seq)
    }

    /// The highest of these that is an event's.
    fn last_recorded(&self, nth: Nth) -> StreamSeq {
        let shard = &self.shards[nth];
        let rows = self.published.iter();
        let of_shard = rows.filter(|row| row.event.key.shard() == nth);
        let of_generation = of_shard.filter(|row| row.generation == shard.generation);
        let recorded = of_generation.map(|row| row.seq).max();
        recorded.unwrap_or_default()
    }

    pub(crate) fn has_recorded(&self, nth: Nth) -> bool {
        self.reached(nth) > StreamSeq(0)
    }

    /// `leases::repo::holds`, the lease's time aside.
    pub(crate) fn holds(&self, writer: Writer) -> bool {
        let shard = &self.shards[writer.shard];
        shard.owner == Some(writer.owner) && shard.epoch == writer.epoch
    }

    /// `leases::repo::release`.
    pub(crate) fn release(&mut self, writer: Writer) {
        if self.holds(writer) {
            self.shards[writer.shard].owner = None;
        }
    }

    /// `batch::repo::next_rows`: rows of blocked keys left out, and none for a zombie.
    pub(crate) fn next_rows(&self, reader: Writer, limit: usize, mutant: Mutant) -> Vec<Event> {
        if !self.holds(reader) && mutant != Mutant::NoReadGuard {
            return Vec::new();
        }
        let blocked = |key| self.dead.iter().any(|letter| letter.key == key);
        self.pending
            .iter()
            .filter(|event| event.key.shard() == reader.shard && !blocked(event.key))
            .take(limit)
            .copied()
            .collect()
    }

    /// `batch::repo::settle`: gives whether the lease was held.
    pub(crate) fn settle(
        &mut self,
        writer: Writer,
        placed: &[(EventRef, StreamSeq)],
        mutant: Mutant,
    ) -> bool {
        let held = self.holds(writer);
        if !held && mutant != Mutant::NoEpochGuard {
            return false;
        }
        let highest = placed.iter().map(|(event, _)| event.0).max().unwrap_or(0);
        let (gone, left): (Vec<Event>, Vec<Event>) =
            self.pending.iter().partition(|row| match mutant {
                _ if row.key.shard() != writer.shard => false,
                Mutant::DeleteUpToMaxId => row.id <= highest,
                Mutant::DeleteByRowId => placed.iter().any(|(event, _)| event.0 == row.id),
                _ => placed.iter().any(|(event, _)| *event == row.event_ref()),
            });
        self.pending = left;
        for event in gone {
            let place = placed.iter().find(|(other, _)| other.0 == event.id);
            self.published.push(PublishedRow {
                event,
                seq: place.map_or(StreamSeq(0), |(_, seq)| *seq),
                generation: writer.generation,
            });
        }
        true
    }

    /// `dead::repo::bury`: gives whether the lease was held.
    pub(crate) fn bury(&mut self, writer: Writer, event: Event, mutant: Mutant) -> bool {
        if !self.holds(writer) && mutant != Mutant::NoEpochGuard {
            return false;
        }
        if self.pending.contains(&event) {
            self.pending.retain(|row| *row != event);
            self.dead.push(event);
        }
        true
    }

    /// `dead::repo::retry`: ends the lease with it.
    pub(crate) fn retry(&mut self) {
        for event in std::mem::take(&mut self.dead) {
            self.insert(event);
            let shard = &mut self.shards[event.key.shard()];
            shard.owner = None;
            shard.epoch.0 += 1;
        }
    }
}
