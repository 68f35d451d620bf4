//! The events of the model: three on two keys of one shard.

use outbox_relay::shard::fence::EventRef;
use shared::shard::Shard;
use uuid::Uuid;

/// The outbox whose relays are modelled.
pub(crate) const OUTBOX: Uuid = Uuid::from_u128(1);

/// What is ordered. Of `Late`'s transactions, another's commit may come between drawing the row id
/// and committing; those of `Prompt` commit at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Prompt,
    Late,
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

/// The one shard.
pub(crate) fn shard() -> Shard {
    Shard::of_key("model")
}
