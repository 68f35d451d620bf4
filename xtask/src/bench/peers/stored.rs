//! What a drain has left in the stream: each event, once?

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use async_nats::Client;
use async_nats::jetstream::{self, consumer::DeliverPolicy, consumer::pull};
use e2e::outbox::STREAM;
use e2e::supervisor::connect_nats;
use futures_util::StreamExt as _;
use serde::Deserialize;

use crate::bench::relay_rig::RelayRig;
use crate::bench::report::Report;

/// Events of a drain in the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// Messages.
    messages: u64,
    /// Different events among them.
    different: u64,
}

#[derive(Deserialize)]
struct Payload {
    n: u64,
}

impl Stored {
    /// Reads all of the benchmark's events from that sequence on.
    ///
    /// # Errors
    /// The stream cannot be read, or holds what is no event.
    pub(super) async fn since(rig: &RelayRig, first: u64) -> Result<Self> {
        let client = connect_nats(&rig.relays.nats_addresses.auditor_url).await?;
        let consumer = jetstream::new(client)
            .get_stream(STREAM)
            .await?
            .create_consumer(pull::OrderedConfig {
                filter_subject: "events.bench.>".to_owned(),
                deliver_policy: DeliverPolicy::ByStartSequence {
                    start_sequence: first,
                },
                ..Default::default()
            })
            .await?;
        let mut left = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await?;
        let (mut count, mut numbers) = (0, HashSet::new());
        while left > 0 {
            let message = messages.next().await.context("the stream ended")??;
            let payload: Payload =
                serde_json::from_slice(&message.payload).context("a message that is no event")?;
            numbers.insert(payload.n);
            count += 1;
            left -= 1;
        }
        Ok(Self {
            messages: count,
            different: numbers.len() as u64,
        })
    }

    /// As figures of the present section, where not each event is there once.
    pub(super) fn add_to(self, report: &mut Report, events: u64) {
        report.figure("events in the stream", self.messages as f64, "");
        if self.different < events {
            report.figure("events LOST", (events - self.different) as f64, "");
        }
        if self.messages > self.different {
            let doubles = self.messages - self.different;
            report.figure("events DOUBLED", doubles as f64, "");
        }
    }
}

/// The last sequence of the stream.
///
/// # Errors
/// There is no stream.
pub(super) async fn last_sequence(client: &Client) -> Result<u64> {
    let stream = jetstream::new(client.clone()).get_stream(STREAM).await;
    let stream = stream.context("the stream cannot be asked")?;
    Ok(stream.cached_info().state.last_sequence)
}
