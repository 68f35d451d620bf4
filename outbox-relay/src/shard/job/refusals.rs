//! Batches that the broker refuses as they are, and dead letters.

use super::Turn;
use super::member::JobEnd;
use crate::batch::entity::{Impossible, Row};
use crate::config::PoisonPolicy;
use crate::dead::repo::{bury, count_attempt};
use crate::metrics::FailureKind;
use crate::shard::machine::End;
use crate::stream::publisher::Published;

/// How often an event may be refused alone before it is a dead letter: enough to outlive a
/// server's passing mood, few enough that its key does not wait for long.
const ATTEMPTS_MAX: i32 = 5;

impl Turn<'_> {
    /// A shard's own batch that was refused is tried again at half its size; an event refused
    /// alone, a bounded number of times, and then it is a dead letter.
    pub(super) async fn after_refusal(&mut self, index: usize, answer: &Published, rows: &[Row]) {
        let Published::Refused { code, text } = answer else {
            return;
        };
        let [row] = rows else {
            self.members[index].state.limit.shrink(rows.len());
            return;
        };
        // What became of the batch is read back before the event is touched.
        self.prepare().await;
        let (tools, state) = (self.tools, &self.members[index].state);
        if self.members[index].end.is_some() || state.machine.holding().is_none() {
            return;
        }
        let (shard, epoch) = (state.shard, state.machine.epoch());
        match count_attempt(&tools.pool, &tools.owner, shard, epoch, row.event_ref()).await {
            Ok(Some(attempts)) if attempts >= ATTEMPTS_MAX => {
                let why = Impossible::Refused {
                    code: *code,
                    text: text.clone(),
                };
                self.bury(index, row, &why).await;
            }
            Ok(_) => {}
            Err(error) => self.members[index].end = Some(self.database_away(shard, &error)),
        }
    }

    pub(super) async fn bury(&mut self, index: usize, row: &Row, why: &Impossible) {
        let (tools, state) = (self.tools, &self.members[index].state);
        let blocks = tools.config.poison == PoisonPolicy::Block;
        let (shard, epoch) = (state.shard, state.machine.epoch());
        let event = row.event_ref();
        let reason = why.to_string();
        let buried = bury(
            &tools.pool,
            &tools.owner,
            shard,
            epoch,
            event,
            &reason,
            blocks,
        )
        .await;
        match buried {
            Ok(true) => {
                tools.metrics.failed(FailureKind::EventImpossible);
                tracing::error!(
                    outbox.shard = %shard,
                    outbox.key = row.key,
                    outbox.event_id = %row.event_id,
                    outbox.key_blocked = blocks,
                    "an event cannot be published and is a dead letter: {reason}"
                );
            }
            Ok(false) => self.members[index].end = Some(JobEnd::Ended(End::Deposed)),
            Err(error) => self.members[index].end = Some(self.database_away(shard, &error)),
        }
    }
}
