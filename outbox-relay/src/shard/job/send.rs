//! Sends what the shards of a turn have to send: in one atomic batch, or one by one.

use std::time::Instant;

use shared::telemetry::Traced;
use tracing::{Instrument, Span};

use super::Turn;
use super::member::Sending;
use super::singly::MESSAGES_MAX;
use crate::batch::entity::Row;
use crate::batch::message::{Message, batch_span, message_of, source_of};
use crate::batch::way::Way;
use crate::stream::publisher::{Part, Published};

impl Turn<'_> {
    pub(super) async fn send(&mut self, sendings: Vec<Sending>, read_at: Instant) {
        match self.way(&sendings) {
            Way::Batch => {
                let sendings = self.renew_apart(sendings).await;
                if !sendings.is_empty() {
                    self.send_batch(sendings, read_at).await;
                }
            }
            Way::Singly => self.send_singly(sendings, read_at).await,
        }
    }

    pub(super) async fn send_batch(&mut self, sendings: Vec<Sending>, read_at: Instant) {
        let (mut messages, traces) = self.messages(&sendings);
        let mut parts = Vec::with_capacity(sendings.len());
        for sending in &sendings {
            let state = &self.members[sending.member].state;
            let rest = messages.split_off(sending.rows.len());
            let alone = sending.alone.clone();
            parts.push(Part {
                shard: state.shard,
                expect: sending.expect,
                fence: alone.unwrap_or_else(|| state.machine.fence(sending.events())),
                events: std::mem::replace(&mut messages, rest),
            });
        }
        let count: usize = sendings.iter().map(|sending| sending.rows.len() + 1).sum();
        let sent_at = Instant::now();
        let publishing = self.publisher.publish(parts);
        let answer = publishing.instrument(traces.of_batch.clone()).await;
        drop(traces);
        let is_stored = matches!(answer, Published::Stored(_));
        // A lone fence is no batch, and a large batch says nothing of a small one.
        if is_stored && (2..=MESSAGES_MAX).contains(&count) {
            let took = sent_at.elapsed();
            self.publisher.ways.took(Way::Batch, count, took);
        }
        self.observe_sent(&sendings, sent_at);
        if is_stored {
            let rows = sendings.iter().flat_map(|sending| &sending.rows);
            self.observe_stored(rows, read_at);
        }
        self.take_answer(&answer, sendings).await;
    }

    /// The messages of all rows, in order, and the spans that end when they have been answered.
    pub(super) fn messages(&self, sendings: &[Sending]) -> (Vec<Message>, Traces) {
        let source = source_of(self.facts.outbox);
        let mut of_events: Vec<Traced> = Vec::new();
        let rows = sendings.iter().flat_map(|sending| &sending.rows);
        let messages: Vec<Message> = rows
            .map(|row| {
                let (message, span) = message_of(row, &source);
                of_events.extend(span);
                message
            })
            .collect();
        let of_batch = batch_span(messages.len(), &of_events).unwrap_or_else(Span::none);
        let traces = Traces {
            of_batch,
            _of_events: of_events,
        };
        (messages, traces)
    }

    pub(super) fn observe_sent(&self, sendings: &[Sending], sent_at: Instant) {
        if sendings.iter().any(|sending| !sending.rows.is_empty()) {
            let seconds = sent_at.elapsed().as_secs_f64();
            self.tools.metrics.publish_duration_seconds.observe(seconds);
        }
    }

    pub(super) fn observe_stored<'a>(&self, rows: impl Iterator<Item = &'a Row>, read_at: Instant) {
        let metrics = &self.tools.metrics;
        let since_read = read_at.elapsed().as_secs_f64();
        let mut count = 0.0;
        for row in rows {
            let waited = (row.read_at - row.created_at).as_seconds_f64().max(0.0);
            metrics.commit_to_ack_seconds.observe(waited + since_read);
            count += 1.0;
        }
        if count > 0.0 {
            metrics.batch_size.observe(count);
        }
    }
}

/// The spans of what is sent together.
pub(super) struct Traces {
    pub(super) of_batch: Span,
    _of_events: Vec<Traced>,
}
