//! The whole stream, from its first message to its last.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, consumer::AckPolicy, consumer::DeliverPolicy, consumer::pull};
use futures_util::StreamExt as _;
use serde::Deserialize;
use uuid::Uuid;

use super::STREAM;

/// Messages asked for at a time.
const MESSAGES_A_PULL: usize = 2000;
/// A broker that is silent for so long in the middle of the stream has broken off.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The server forgets the consumer after this, should nobody come back for it.
const CONSUMER_IDLE_MAX: Duration = Duration::from_mins(1);

pub(super) type Reader = jetstream::consumer::Consumer<pull::Config>;

/// A message of the stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its place.
    pub stream_seq: u64,
    /// When the server stored it, microseconds since 1970.
    pub stored_us: i64,
    /// What it is.
    pub kind: MessageKind,
}

/// What a message is.
#[derive(Clone, Debug, Hash)]
pub enum MessageKind {
    /// A relay's fence.
    Fence,
    /// An event of a producer.
    Event {
        /// Its `ce-id`.
        event_id: Uuid,
        /// The number in its `ce-subject`, `k<number>`.
        key: u32,
        /// The producer's number in its payload.
        n: u32,
    },
    /// Neither: its subject.
    Foreign(String),
}

/// Reads all that the stream holds now, in order.
///
/// # Errors
/// NATS refuses, breaks off, or gives fewer messages than it says it has.
pub async fn read_whole_stream(
    client: &async_nats::Client,
    take: impl FnMut(Message),
) -> Result<u64> {
    let stream = stream(client).await?;
    let consumer = reader(&stream).await?;
    let held = stream.cached_info().state.messages;
    read_all(&consumer, held, take).await
}

pub(super) async fn stream(client: &async_nats::Client) -> Result<jetstream::stream::Stream> {
    let context = jetstream::new(client.clone());
    let stream = context.get_stream(STREAM).await;
    stream.context("there is no stream EVENTS")
}

pub(super) async fn reader(stream: &jetstream::stream::Stream) -> Result<Reader> {
    let consumer = stream.create_consumer(pull::Config {
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        inactive_threshold: CONSUMER_IDLE_MAX,
        memory_storage: true,
        num_replicas: 1,
        ..Default::default()
    });
    consumer.await.context("the stream cannot be read")
}

/// Reads so many messages.
pub(super) async fn read_all(
    consumer: &Reader,
    held: u64,
    mut take: impl FnMut(Message),
) -> Result<u64> {
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(MESSAGES_A_PULL)
        .messages()
        .await
        .context("the stream cannot be read")?;
    let mut last = 0;
    for _ in 0..held {
        let message = tokio::time::timeout(SILENCE_MAX, messages.next())
            .await
            .context("the stream broke off")?
            .context("the stream ended")?
            .context("the stream broke off")?;
        let message = read(&message)?;
        ensure!(
            message.stream_seq > last,
            "message {} came after message {last}",
            message.stream_seq
        );
        last = message.stream_seq;
        take(message);
    }
    Ok(held)
}

fn read(message: &jetstream::Message) -> Result<Message> {
    let info = message
        .info()
        .map_err(|error| anyhow::anyhow!("a message without its place: {error}"))?;
    let micros = info.published.unix_timestamp_nanos() / 1000;
    let subject = message.subject.as_str();
    let kind = if subject.starts_with("events.fence.") {
        MessageKind::Fence
    } else {
        event(message).unwrap_or_else(|| MessageKind::Foreign(subject.to_owned()))
    };
    Ok(Message {
        stream_seq: info.stream_sequence,
        stored_us: i64::try_from(micros)?,
        kind,
    })
}

fn event(message: &jetstream::Message) -> Option<MessageKind> {
    #[derive(Deserialize)]
    struct Payload {
        n: u32,
    }
    let headers = message.headers.as_ref()?;
    let key = headers.get("ce-subject")?.as_str().strip_prefix('k')?;
    let key = key.parse().ok()?;
    let payload: Payload = serde_json::from_slice(&message.payload).ok()?;
    (message.subject.as_str() == format!("events.chaos.k{key}")).then_some(())?;
    Some(MessageKind::Event {
        event_id: headers.get("ce-id")?.as_str().parse().ok()?,
        key,
        n: payload.n,
    })
}
