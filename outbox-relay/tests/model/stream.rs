//! The broker's one stream, as far as the protocol depends on it.

use outbox_relay::identity::entity::Sighting;
use outbox_relay::shard::fence::{Fence, StoredFence, StreamSeq};
use outbox_relay::verify::entity::Placed;

use crate::event::{Event, Nth, shard};

/// A fenced batch: stored whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parcel {
    pub(crate) parts: Vec<Part>,
    /// Whether the server has all of it but the end, which commits it.
    pub(crate) begun: bool,
}

/// A shard's part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) shard: Nth,
    pub(crate) expect: StreamSeq,
    pub(crate) fence: Fence,
    pub(crate) events: Vec<Event>,
    /// What its fence announces, to be sent one by one once the fence is stored.
    pub(crate) singly: Vec<Event>,
    /// In which life of the stream its sender was told where the last fence stands.
    pub(crate) life: u8,
}

/// How many fences of a batch the server is told to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fenced {
    /// All of them.
    All,
    /// The first one alone.
    First,
    /// None.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Message {
    /// A shard's, with the life of the stream in which it was stored.
    Fence(Nth, Fence, u8),
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

    /// The last message on a shard's fence subject.
    pub(crate) fn last_fence(&self, nth: Nth) -> Option<StoredFence> {
        self.kept()
            .filter_map(|(at, message)| match message {
                Message::Fence(shard, fence, _) if *shard == nth => {
                    Some(StoredFence::new(at, fence.clone()))
                }
                _ => None,
            })
            .last()
    }

    /// Whether the shard's last fence stands where a part of a batch expects it.
    ///
    /// A stream that lost its end gives positions again. That another fence has come to stand
    /// exactly where the sender had seen one before is left out: see ADR 110.
    pub(crate) fn awaits(&self, part: &Part) -> bool {
        self.stands_at(part.shard, part.expect, part.life)
    }

    /// Whether a shard's last fence stands where its sender was told in that life of the stream.
    pub(crate) fn stands_at(&self, nth: Nth, expect: StreamSeq, life: u8) -> bool {
        let last = self.last_fence(nth);
        let at = last.map_or(StreamSeq(0), |fence| fence.at);
        at == expect && self.life_of_last_fence(nth) <= life
    }

    /// Whether a batch is stored if it is committed now.
    pub(crate) fn accepts(&self, parcel: &Parcel, fenced: Fenced) -> bool {
        let looked_at = match fenced {
            Fenced::All => parcel.parts.len(),
            Fenced::First => 1,
            Fenced::None => 0,
        };
        let mut parts = parcel.parts.iter().take(looked_at);
        parts.all(|part| self.awaits(part))
    }

    /// Stores a batch whole; gives the position of its first message.
    pub(crate) fn store(&mut self, parcel: &Parcel, life: u8) -> StreamSeq {
        let at = StreamSeq(self.log.len() as u64 + 1);
        for part in &parcel.parts {
            for message in &mut self.log {
                if matches!(message, Message::Fence(shard, ..) if *shard == part.shard) {
                    *message = Message::RolledUp;
                }
            }
            let fence = Message::Fence(part.shard, part.fence.clone(), life);
            self.log.push(fence);
            self.log
                .extend(part.events.iter().copied().map(Message::Event));
        }
        at
    }

    /// Stores an event that came by itself; gives its position.
    pub(crate) fn store_singly(&mut self, event: Event) -> StreamSeq {
        self.log.push(Message::Event(event));
        StreamSeq(self.log.len() as u64)
    }

    /// As `stream::repo::look_behind`.
    pub(crate) fn look_behind(&self, found: &mut StoredFence, recorded: StreamSeq) {
        if recorded <= found.at || found.fence.announced.is_empty() {
            return;
        }
        let there = self.kept().find(|(seq, _)| *seq == recorded);
        let is_there = match there {
            Some((_, Message::Event(event))) => found.fence.announced.contains(&event.event_ref()),
            // Nothing outlives the stream's maximum age in the model.
            _ => false,
        };
        if is_there {
            found.seen = recorded;
        }
    }

    fn life_of_last_fence(&self, nth: Nth) -> u8 {
        let fences = self.kept().filter_map(|(_, message)| match message {
            Message::Fence(shard, _, life) if *shard == nth => Some(*life),
            _ => None,
        });
        fences.last().unwrap_or(0)
    }

    /// Limits evict a shard's last fence, and with it all that is older.
    pub(crate) fn evict_fence(&mut self, nth: Nth) {
        if let Some(fence) = self.last_fence(nth) {
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

    /// What a verification of a shard reads, up to a known message.
    pub(crate) fn scan(&self, nth: Nth, to: StreamSeq) -> Vec<Placed> {
        self.kept()
            .filter(|(seq, _)| *seq <= to)
            .filter_map(|(seq, message)| match message {
                Message::Event(event) if event.key.shard() == nth => Some(Placed {
                    seq,
                    shard: shard(nth),
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
