//! What stands in the stream.

use std::collections::{BTreeMap, HashSet};

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use shared::shard::Shard;

use super::NatsServer;

/// An event as it stands in the stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) n: i64,
    pub(crate) headers: HeaderMap,
}

pub(crate) struct Stream {
    pub(crate) context: jetstream::Context,
}

impl Stream {
    pub(crate) async fn of(nats: &NatsServer) -> Self {
        Self {
            context: jetstream::new(nats.client().await),
        }
    }

    /// 0 as long as the stream is not there.
    pub(crate) async fn last_seq(&self) -> u64 {
        match self.context.get_stream("EVENTS").await {
            Ok(stream) => stream.cached_info().state.last_sequence,
            Err(_) => 0,
        }
    }

    /// The stream's first and last sequence.
    pub(crate) async fn bounds(&self) -> (u64, u64) {
        let stream = self.context.get_stream("EVENTS").await.unwrap();
        let state = &stream.cached_info().state;
        (state.first_sequence, state.last_sequence)
    }

    pub(crate) async fn bytes(&self) -> u64 {
        let stream = self.context.get_stream("EVENTS").await.unwrap();
        stream.cached_info().state.bytes
    }

    /// All events, without fences. A fence that is rolled up meanwhile is not waited for: there is
    /// a later one then, and the last message of all says that none is behind it.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let stream = self.context.get_stream("EVENTS").await.unwrap();
        if stream.cached_info().state.messages == 0 {
            return events;
        }
        let consumer = stream
            .create_consumer(OrderedConfig::default())
            .await
            .unwrap();
        let mut messages = consumer.messages().await.unwrap();
        loop {
            let message = messages.next().await.unwrap().unwrap();
            let info = message.info().unwrap();
            let (seq, pending) = (info.stream_sequence, info.pending);
            // Fences and foreign messages are no events.
            let headers = message.headers.as_ref();
            if headers.is_some_and(|headers| headers.get("ce-id").is_some()) {
                events.push(event_of(seq, &message));
            }
            if pending == 0 {
                return events;
            }
        }
    }

    /// The sequence of `n` of each key; fails if an event is there twice.
    pub(crate) async fn numbers(&self) -> BTreeMap<String, Vec<i64>> {
        let (mut ids, mut keys) = (HashSet::new(), BTreeMap::<String, Vec<i64>>::new());
        for event in self.events().await {
            assert!(
                ids.insert(event.id.clone()),
                "twice in the stream: {event:?}"
            );
            keys.entry(event.key).or_default().push(event.n);
        }
        keys
    }

    /// Where each shard's fence stands; 0 where there is none.
    pub(crate) async fn fences(&self) -> Vec<u64> {
        let stream = self.context.get_stream("EVENTS").await.unwrap();
        let mut fences = Vec::new();
        for shard in 0..64 {
            let subject = format!("events.fence.{shard}");
            let last = stream.get_last_raw_message_by_subject(&subject).await;
            fences.push(last.map_or(0, |message| message.sequence));
        }
        fences
    }

    /// In each shard, what is at most `old` stands before all that is newer.
    pub(crate) async fn assert_caught_up_first(&self, old: i64) {
        let mut newer = HashSet::new();
        for event in self.events().await {
            let shard = Shard::of_key(&event.key);
            if event.n > old {
                newer.insert(shard);
            }
            assert!(
                event.n > old || !newer.contains(&shard),
                "published again behind something new: {event:?}"
            );
        }
        assert!(!newer.is_empty(), "nothing new was published");
    }

    /// Each key has exactly the events 1..=count, in order, each once.
    pub(crate) async fn assert_complete(&self, keys: usize, count: i64) {
        let numbers = self.numbers().await;
        assert_eq!(numbers.len(), keys);
        for (key, found) in numbers {
            assert!(found.iter().copied().eq(1..=count), "{key}: {found:?}");
        }
    }
}

fn event_of(seq: u64, message: &async_nats::Message) -> Event {
    let headers = message.headers.clone().unwrap();
    let text = |name: &str| headers.get(name).unwrap().as_str().to_owned();
    let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    Event {
        seq,
        id: text("ce-id"),
        key: text("ce-subject"),
        n: body["n"].as_i64().unwrap_or(0),
        headers,
    }
}
