//! The broker's one stream, as far as the protocol depends on it.

use outbox_relay::identity::entity::Sighting;
use outbox_relay::shard::fence::{Fence, StoredFence, StreamSeq};
use outbox_relay::verify::entity::Placed;

use crate::event::{Event, shard};

/// A fenced batch: stored whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parcel {
    pub(crate) expect: StreamSeq,
    pub(crate) fence: Fence,
    pub(crate) events: Vec<Event>,
    /// In which life of the stream its sender was told where the last fence stands.
    pub(crate) life: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Message {
    /// With the life of the stream in which it was stored.
    Fence(Fence, u8),
    /// A fence that a later one has rolled up.
    RolledUp,
    Event(Event),
}

/// The stream. What limits have evicted stays in `log`: it was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    /// Which life of the stream this is.
    created: u8,
    /// How many of the oldest messages are evicted.
    evicted: usize,
    log: Vec<Message>,
}

impl Stream {
    pub(crate) fn new(created: u8) -> Self {
        Self {
            created,
            evicted: 0,
            log: Vec::new(),
        }
    }

    /// Made anew after everything was lost.
    pub(crate) fn wiped(&self) -> Self {
        Self::new(self.created + 1)
    }

    pub(crate) fn sighting(&self) -> Sighting {
        Sighting {
            created: self.created.to_string(),
            last_seq: StreamSeq(self.log.len() as u64).to_db(),
        }
    }

    /// The last message on the shard's fence subject.
    pub(crate) fn last_fence(&self) -> Option<StoredFence> {
        self.kept()
            .filter_map(|(at, message)| match message {
                Message::Fence(fence, _) => Some(StoredFence {
                    at,
                    fence: fence.clone(),
                }),
                _ => None,
            })
            .last()
    }

    /// Stores a batch if the last fence stands where it expects it; gives the position of its own.
    ///
    /// A stream that lost its end gives positions again. That another fence has come to stand
    /// exactly where the sender had seen one before is left out: see ADR 110.
    pub(crate) fn store(&mut self, parcel: &Parcel, life: u8, fenced: bool) -> Option<StreamSeq> {
        let last = self.last_fence().map_or(StreamSeq(0), |fence| fence.at);
        if fenced && (last != parcel.expect || self.life_of_last_fence() > parcel.life) {
            return None;
        }
        for message in &mut self.log {
            if matches!(message, Message::Fence(..)) {
                *message = Message::RolledUp;
            }
        }
        self.log.push(Message::Fence(parcel.fence.clone(), life));
        let at = StreamSeq(self.log.len() as u64);
        self.log
            .extend(parcel.events.iter().copied().map(Message::Event));
        Some(at)
    }

    fn life_of_last_fence(&self) -> u8 {
        let fences = self.kept().filter_map(|(_, message)| match message {
            Message::Fence(_, life) => Some(*life),
            _ => None,
        });
        fences.last().unwrap_or(0)
    }

    /// Limits evict the last fence, and with it all that is older.
    pub(crate) fn evict_fence(&mut self) {
        if let Some(fence) = self.last_fence() {
            self.evicted = usize::try_from(fence.at.0).unwrap_or(usize::MAX);
        }
    }

    /// Every event that was stored in this life, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.log.iter().filter_map(|message| match message {
            Message::Event(event) => Some(*event),
            _ => None,
        })
    }

    pub(crate) fn holds(&self, event: Event) -> bool {
        self.events().any(|other| other == event)
    }

    /// The first position that is not evicted.
    pub(crate) fn first(&self) -> StreamSeq {
        StreamSeq(self.evicted as u64 + 1)
    }

    /// What a verification reads, up to a known message.
    pub(crate) fn scan(&self, to: StreamSeq) -> Vec<Placed> {
        self.kept()
            .filter(|(seq, _)| *seq <= to)
            .filter_map(|(seq, message)| match message {
                Message::Event(event) => Some(Placed {
                    seq,
                    shard: shard(),
                    event_id: event.uuid(),
                }),
                _ => None,
            })
            .collect()
    }

    fn kept(&self) -> impl Iterator<Item = (StreamSeq, &Message)> {
        self.log
            .iter()
            .enumerate()
            .skip(self.evicted)
            .map(|(index, message)| (StreamSeq(index as u64 + 1), message))
    }
}
