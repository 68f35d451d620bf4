//! Sends a batch.

use std::time::Instant;

use shared::telemetry::Traced;
use tracing::Instrument;

use super::Turn;
use super::member::Sending;
use crate::batch::message::{batch_span, message_of, source_of};
use crate::stream::publisher::{Part, Published};

impl Turn<'_> {
    pub(super) async fn send(&mut self, sendings: Vec<Sending>, read_at: Instant) {
        let source = source_of(self.facts.outbox);
        let mut traced: Vec<Traced> = Vec::new();
        let mut parts = Vec::with_capacity(sendings.len());
        for sending in &sendings {
            let state = &self.members[sending.member].state;
            let events = sending
                .rows
                .iter()
                .map(|row| {
                    let (message, span) = message_of(row, &source);
                    traced.extend(span);
                    message
                })
                .collect();
            parts.push(Part {
                shard: state.shard,
                expect: sending.expect,
                fence: state.machine.fence(sending.events.clone()),
                events,
            });
        }
        let events: usize = sendings.iter().map(|sending| sending.rows.len()).sum();
        let span = batch_span(events, &traced).unwrap_or_else(tracing::Span::none);
        let sent_at = Instant::now();
        let answer = self.publisher.publish(parts).instrument(span).await;
        drop(traced);
        if events > 0 {
            self.observe(&answer, &sendings, sent_at, read_at);
        }
        self.take_answer(&answer, sendings).await;
    }

    fn observe(
        &self,
        answer: &Published,
        sendings: &[Sending],
        sent_at: Instant,
        read_at: Instant,
    ) {
        let metrics = &self.tools.metrics;
        metrics
            .publish_duration_seconds
            .observe(sent_at.elapsed().as_secs_f64());
        if !matches!(answer, Published::Stored(_)) {
            return;
        }
        let rows = sendings.iter().flat_map(|sending| &sending.rows);
        let since_read = read_at.elapsed().as_secs_f64();
        let mut count = 0.0;
        for row in rows {
            let waited = (row.read_at - row.created_at).as_seconds_f64().max(0.0);
            metrics.commit_to_ack_seconds.observe(waited + since_read);
            count += 1.0;
        }
        metrics.batch_size.observe(count);
    }
}
