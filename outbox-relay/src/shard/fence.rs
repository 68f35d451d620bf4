//! What a shard's fence says: who wrote it, and which rows it makes published.
//!
//! A fence is message 1 of each batch, the last message on `events.fence.<shard>`. Whoever reads
//! it back knows what became of the batch, because a batch is stored whole or not at all.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How often a shard's lease has changed hands. A higher one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// A position in the stream; 0 is before the first message.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StreamSeq(pub u64);

impl StreamSeq {
    /// The position `count` messages further on.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }

    /// As the database holds it. Positions never come near the sign.
    #[must_use]
    pub fn to_db(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From the database.
    #[must_use]
    pub fn from_db(seq: i64) -> Self {
        Self(u64::try_from(seq).unwrap_or(0))
    }
}

impl std::fmt::Display for StreamSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One row of the outbox. Both halves must match: a database restored from a backup gives the row
/// ids of lost rows to new events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventRef(
    /// The row's id within the outbox.
    pub i64,
    /// The event's id, `ce-id` on the stream.
    pub Uuid,
);

/// A fence, as its JSON payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Which outbox wrote it.
    pub outbox: Uuid,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The last fence whose events the database had recorded when this one was written. A database
    /// that knows less has lost commits.
    pub settled: StreamSeq,
    /// The events of the same batch, in stream order; none in a take-over.
    pub events: Vec<EventRef>,
}

/// A fence with its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredFence {
    /// Where it stands; its events follow it.
    pub at: StreamSeq,
    /// What it says.
    pub fence: Fence,
}

impl StoredFence {
    /// The last position of its batch.
    #[must_use]
    pub fn end(&self) -> StreamSeq {
        self.at.after(self.fence.events.len())
    }

    /// The events with the position of each.
    pub fn placed(&self) -> impl Iterator<Item = (EventRef, StreamSeq)> + '_ {
        self.fence
            .events
            .iter()
            .enumerate()
            .map(|(index, event)| (*event, self.at.after(index + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_comes_back_as_it_was() {
        let fence = Fence {
            outbox: Uuid::from_u128(7),
            epoch: Epoch(3),
            settled: StreamSeq(41),
            events: vec![
                EventRef(1, Uuid::from_u128(1)),
                EventRef(5, Uuid::from_u128(2)),
            ],
        };
        let text = serde_json::to_string(&fence).unwrap();
        assert!(text.contains(r#""events":[[1,"00000000-0000-0000-0000-000000000001"],[5,"#));
        assert_eq!(serde_json::from_str::<Fence>(&text).unwrap(), fence);
    }

    #[test]
    fn events_stand_behind_their_fence() {
        let stored = StoredFence {
            at: StreamSeq(10),
            fence: Fence {
                outbox: Uuid::nil(),
                epoch: Epoch(1),
                settled: StreamSeq(0),
                events: vec![EventRef(1, Uuid::nil()), EventRef(2, Uuid::nil())],
            },
        };
        let places: Vec<u64> = stored.placed().map(|(_, seq)| seq.0).collect();
        assert_eq!(places, [11, 12]);
        assert_eq!(stored.end(), StreamSeq(12));
    }
}
