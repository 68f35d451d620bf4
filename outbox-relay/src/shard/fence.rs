//! What a shard's fence says: who wrote it, and which rows it makes published.
//!
//! A fence is the last message on `events.fence.<shard>`. As message 1 of a batch it lists what is
//! stored with it: whoever reads it back knows what became of the batch, because a batch is stored
//! whole or not at all. Few events may also come one by one behind a fence that announces them (ADR
//! 124): which of those are stored has to be looked up, once nothing that was sent behind that fence
//! can be stored any more.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
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

    /// Whether it is before the first message.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == 0
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
    /// The stream's generation, as the writer knew it.
    #[serde(default)]
    pub generation: i64,
    /// The last fence whose events the database had recorded when this one was written. A database
    /// that knows less has lost commits.
    pub settled: StreamSeq,
    /// The events of the same batch, in stream order; none in a take-over.
    pub events: Vec<EventRef>,
    /// Events that come one by one behind this fence, or behind an earlier one of which it is not
    /// known yet what was stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<EventRef>,
    /// The fence that announced them first; 0 if that is this one.
    #[serde(default, skip_serializing_if = "StreamSeq::is_zero")]
    pub behind: StreamSeq,
    /// The stream's maximum age when it announced them, in ms; 0 if it was not said. It may be raised
    /// later, which brings nothing back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_age_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Events of which some may stand in the stream: each was sent on the condition that a certain fence
/// is its shard's last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announced {
    /// Which.
    pub events: Vec<EventRef>,
    /// They stand somewhere behind this position.
    pub behind: StreamSeq,
}

/// Events of a shard that stand in the stream, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owed {
    /// The fence behind which they were published: what the database has recorded of the shard, once
    /// they are, is above it.
    pub at: StreamSeq,
    /// Each with its position.
    pub placed: Vec<(EventRef, StreamSeq)>,
}

impl Owed {
    /// The last position.
    #[must_use]
    pub fn end(&self) -> StreamSeq {
        let last = self.placed.iter().map(|(_, seq)| *seq).max();
        last.unwrap_or(self.at).max(self.at)
    }
}

/// A fence with its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredFence {
    /// Where it stands; the events of its batch follow it.
    pub at: StreamSeq,
    /// What it says.
    pub fence: Fence,
    /// The highest position at which an event that it announces is known to stand, or to have stood
    /// until it expired; 0 if none is known.
    pub seen: StreamSeq,
    /// When the server stored it, by its clock, if that was asked.
    pub time: Option<OffsetDateTime>,
}

impl StoredFence {
    /// A fence that was read at this position.
    #[must_use]
    pub fn new(at: StreamSeq, fence: Fence) -> Self {
        Self {
            at,
            fence,
            seen: StreamSeq(0),
            time: None,
        }
    }

    /// The last position that is known to be of its batch, or of what it announces.
    #[must_use]
    pub fn end(&self) -> StreamSeq {
        self.at.after(self.fence.events.len()).max(self.seen)
    }

    /// The events of its batch with the position of each.
    #[must_use]
    pub fn owed(&self) -> Owed {
        let events = self.fence.events.iter().enumerate();
        let placed = events.map(|(index, event)| (*event, self.at.after(index + 1)));
        Owed {
            at: self.at,
            placed: placed.collect(),
        }
    }

    /// What it announces, if it does.
    #[must_use]
    pub fn announced(&self) -> Option<Announced> {
        let fence = &self.fence;
        let behind = if fence.behind.is_zero() {
            self.at
        } else {
            fence.behind
        };
        (!fence.announced.is_empty()).then(|| Announced {
            events: fence.announced.clone(),
            behind,
        })
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
            generation: 2,
            settled: StreamSeq(41),
            events: vec![
                EventRef(1, Uuid::from_u128(1)),
                EventRef(5, Uuid::from_u128(2)),
            ],
            announced: Vec::new(),
            behind: StreamSeq(0),
            max_age_ms: 0,
        };
        let text = serde_json::to_string(&fence).unwrap();
        assert!(text.contains(r#""events":[[1,"00000000-0000-0000-0000-000000000001"],[5,"#));
        assert!(!text.contains("announced") && !text.contains("behind"));
        assert_eq!(serde_json::from_str::<Fence>(&text).unwrap(), fence);

        let announcing = Fence {
            events: Vec::new(),
            announced: fence.events,
            behind: StreamSeq(40),
            ..fence
        };
        let text = serde_json::to_string(&announcing).unwrap();
        assert_eq!(serde_json::from_str::<Fence>(&text).unwrap(), announcing);
    }

    #[test]
    fn events_stand_behind_their_fence() {
        let stored = StoredFence::new(
            StreamSeq(10),
            Fence {
                outbox: Uuid::nil(),
                epoch: Epoch(1),
                generation: 0,
                settled: StreamSeq(0),
                events: vec![EventRef(1, Uuid::nil()), EventRef(2, Uuid::nil())],
                announced: Vec::new(),
                behind: StreamSeq(0),
                max_age_ms: 0,
            },
        );
        let places: Vec<u64> = stored.owed().placed.iter().map(|(_, seq)| seq.0).collect();
        assert_eq!(places, [11, 12]);
        assert_eq!(
            (stored.end(), stored.owed().end()),
            (StreamSeq(12), StreamSeq(12))
        );
        assert_eq!(stored.announced(), None);
    }
}
