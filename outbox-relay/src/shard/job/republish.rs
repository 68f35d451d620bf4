//! Publishes again what the stream has lost.

use std::time::Instant;

use super::Turn;
use super::member::Sending;
use crate::batch::entity::{Row, check};
use crate::metrics::FailureKind;

impl Turn<'_> {
    /// Publishes events of the only member again that the stream has lost. Gives whether they are
    /// stored and recorded.
    pub async fn republish(mut self, rows: &[Row]) -> bool {
        let rows: Vec<Row> = rows
            .iter()
            .filter(|row| self.can_be_sent(row))
            .cloned()
            .collect();
        if rows.is_empty() {
            return true;
        }
        let Some(expect) = self.members[0].state.machine.holding() else {
            return false;
        };
        let sending = Sending {
            member: 0,
            expect,
            alone: None,
            rows,
            full: true,
        };
        self.send_batch(vec![sending], Instant::now()).await;
        self.settle_all(false).await;
        let member = &self.members[0];
        member.end.is_none() && member.state.machine.holding().is_some_and(|at| at > expect)
    }

    fn can_be_sent(&self, row: &Row) -> bool {
        let Err(why) = check(row, self.facts.max_payload) else {
            return true;
        };
        self.tools.metrics.failed(FailureKind::EventImpossible);
        tracing::error!(
            outbox.event_id = %row.event_id,
            "an event that the stream has lost cannot be published again: {why}"
        );
        false
    }
}
