//! What the stream holds.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{self, consumer::DeliverPolicy};
use futures_util::StreamExt;
use serde::Deserialize;
use uuid::Uuid;

/// The stream of all events.
const STREAM: &str = "EVENTS";

/// One event as the stream holds it.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    /// The id in its header.
    pub ce_id: String,
    /// Where it stands in the stream.
    pub stream_seq: u64,
    /// The game's sequence number in its payload.
    pub seq: i64,
    /// What happened.
    pub kind: String,
    /// The trace context that it carries.
    pub traceparent: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    game_id: Uuid,
    seq: i64,
    event_id: Uuid,
    kind: String,
}

/// The events of some games, each game's in the order of the stream.
///
/// # Errors
/// NATS refuses, or a message is not of the contract.
pub async fn read_stream(
    client: &async_nats::Client,
    games: &[Uuid],
) -> Result<HashMap<Uuid, Vec<StreamEvent>>> {
    let filter_subject = match games {
        [game] => format!("events.game.{game}"),
        _ => "events.game.>".to_owned(),
    };
    let context = jetstream::new(client.clone());
    let stream = context
        .get_stream(STREAM)
        .await
        .context("there is no stream EVENTS")?;
    let consumer = stream
        .create_consumer(OrderedConfig {
            filter_subject,
            deliver_policy: DeliverPolicy::All,
            ..Default::default()
        })
        .await
        .context("the stream cannot be read")?;
    let mut left = consumer.cached_info().num_pending;
    let mut messages = consumer
        .messages()
        .await
        .context("the stream cannot be read")?;
    let wanted: HashSet<Uuid> = games.iter().copied().collect();
    let mut found: HashMap<Uuid, Vec<StreamEvent>> = HashMap::new();
    while left > 0 {
        let message = messages
            .next()
            .await
            .context("the stream ended")?
            .context("the stream broke off")?;
        let (game, event) = read(&message)?;
        if wanted.contains(&game) {
            found.entry(game).or_default().push(event);
        }
        left -= 1;
    }
    Ok(found)
}

fn read(message: &jetstream::Message) -> Result<(Uuid, StreamEvent)> {
    let what = || {
        format!(
            "message {} {}",
            message.subject,
            String::from_utf8_lossy(&message.payload)
        )
    };
    let payload: Payload = serde_json::from_slice(&message.payload).with_context(what)?;
    let header = |name: &str| {
        message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(name))
            .map(|value| value.as_str().to_owned())
    };
    let ce_id = header("ce-id").with_context(what)?;
    anyhow::ensure!(
        ce_id == payload.event_id.to_string(),
        "ce-id {ce_id} is not the event id of {}",
        what()
    );
    let subject = format!("events.game.{}", payload.game_id);
    anyhow::ensure!(
        message.subject.as_str() == subject,
        "the subject should be {subject}: {}",
        what()
    );
    let stream_seq = message
        .info()
        .map_err(|error| anyhow::anyhow!("{error}: {}", what()))?
        .stream_sequence;
    let event = StreamEvent {
        ce_id,
        stream_seq,
        seq: payload.seq,
        kind: payload.kind,
        traceparent: header("traceparent"),
    };
    Ok((payload.game_id, event))
}
