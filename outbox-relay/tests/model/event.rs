//! The events of the model: on two keys of one shard, and on one of another.

use outbox_relay::shard::fence::EventRef;
use shared::shard::Shard;
use uuid::Uuid;

/// The outbox whose relays are modelled.
pub(crate) const OUTBOX: Uuid = Uuid::from_u128(1);

/// Which of the two shards: an index, since the model keeps what belongs to them side by side.
pub(crate) type Nth = usize;

/// What is ordered. Of `Late`'s transactions, another's commit may come between drawing the row id
/// and committing; those of the others commit at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Prompt,
    Late,
    /// Of the other shard.
    Other,
}

/// All of them.
pub(crate) const KEYS: [Key; 3] = [Key::Prompt, Key::Late, Key::Other];

impl Key {
    /// Which shard it belongs to.
    pub(crate) fn shard(self) -> Nth {
        match self {
            Self::Prompt | Self::Late => 0,
            Self::Other => 1,
        }
    }
}

/// One event. `number` is its identity, never given twice; `id` is its row's, which a database
/// restored from an older copy gives again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) number: u8,
    pub(crate) key: Key,
}

impl Event {
    pub(crate) fn uuid(self) -> Uuid {
        Uuid::from_u128(u128::from(self.number))
    }

    pub(crate) fn event_ref(self) -> EventRef {
        EventRef(self.id, self.uuid())
    }
}

/// The shard, as the production code names it.
pub(crate) fn shard(nth: Nth) -> Shard {
    Shard::of_key(["model", "other"][nth])
}

#[test]
fn the_shards_are_two() {
    assert_ne!(shard(0), shard(1));
}
