//! When events can be read from the stream: by an ordered consumer, which is given a message when
//! the server has stored it. A plain subscription would be given it before.

use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, consumer::DeliverPolicy, consumer::pull};
use e2e::outbox::STREAM;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::Moments;

/// A consumer at work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Arrivals {
    moments: Moments,
    _reading: JoinSet<()>,
}

#[derive(Deserialize)]
struct Payload {
    n: u64,
}

impl Arrivals {
    /// Begins to read what is stored from now on.
    ///
    /// # Errors
    /// There is no stream, or it cannot be read.
    pub(crate) async fn follow(nats_url: &str) -> Result<Self> {
        let client = e2e::supervisor::connect_nats(nats_url).await?;
        let stream = jetstream::new(client)
            .get_stream(STREAM)
            .await
            .context("there is no stream EVENTS")?;
        let consumer = stream
            // Pulled: flow control of a pushed one would need a right that the auditor has not.
            .create_consumer(pull::OrderedConfig {
                filter_subject: "events.bench.>".to_owned(),
                deliver_policy: DeliverPolicy::New,
                ..Default::default()
            })
            .await
            .context("the stream cannot be read")?;
        let mut messages = consumer
            .messages()
            .await
            .context("the stream cannot be read")?;
        let moments = Moments::default();
        let noted = moments.clone();
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Some(message) = messages.next().await {
                let Ok(message) = message else { continue };
                if let Ok(payload) = serde_json::from_slice::<Payload>(&message.payload) {
                    noted.note(payload.n);
                }
            }
        });
        Ok(Self {
            moments,
            _reading: reading,
        })
    }

    /// When each event came.
    pub(crate) fn moments(&self) -> &Moments {
        &self.moments
    }
}
