//! What follows from the broker's answer to a batch.

use super::Turn;
use super::member::{Company, JobEnd, Sending};
use crate::metrics::FailureKind;
use crate::shard::machine::Answer;
use crate::stream::error::{Refusal, classify};
use crate::stream::publisher::Published;

impl Turn<'_> {
    /// Tells the machines what the broker said, and decides who goes on.
    pub(super) async fn take_answer(&mut self, answer: &Published, sendings: Vec<Sending>) {
        let refusal = self.report(answer, &sendings);
        let mut at = match answer {
            Published::Stored(first) => Some(*first),
            _ => None,
        };
        let parts = sendings.len();
        for sending in sendings {
            let member = &mut self.members[sending.member];
            let told = match (at, answer) {
                (Some(here), _) => {
                    at = Some(here.after(sending.rows.len() + 1));
                    Answer::Stored(here)
                }
                (None, Published::NotSent(_)) => Answer::NotSent,
                (None, Published::Refused { .. }) => Answer::Refused,
                (None, _) => Answer::Unclear,
            };
            member.state.machine.answered(told, sending.events);
            match refusal {
                None => {
                    if !sending.rows.is_empty() {
                        member.state.limit.grow();
                    }
                    if !sending.full {
                        member.end = Some(JobEnd::Idle);
                    } else if parts > 1 && !sending.rows.is_empty() {
                        member.end = Some(JobEnd::More);
                    }
                }
                Some(Refusal::Stale) => {}
                Some(Refusal::Busy) => member.end = Some(JobEnd::Pause),
                Some(Refusal::Batch) if parts > 1 => {
                    member.state.company = Company::ALONE;
                    member.end = Some(JobEnd::More);
                }
                Some(Refusal::Batch) => {
                    self.after_refusal(sending.member, answer, &sending.rows)
                        .await;
                }
            }
        }
    }

    /// Counts and logs; gives what kind of refusal it was, `None` if the batch is stored.
    fn report(&self, answer: &Published, sendings: &[Sending]) -> Option<Refusal> {
        let (metrics, shards) = (&self.tools.metrics, sendings.len());
        let shard = sendings
            .first()
            .map(|sending| self.members[sending.member].state.shard.number());
        match answer {
            Published::Stored(_) => None,
            Published::NotSent(why) => {
                tracing::debug!(outbox.shard = shard, shards, "nothing was sent: {why}");
                Some(Refusal::Busy)
            }
            Published::Unknown(why) => {
                metrics.failed(FailureKind::BrokerAway);
                tracing::warn!(
                    outbox.shard = shard,
                    shards,
                    "no answer to a batch ({why}); its fences will be read back"
                );
                Some(Refusal::Busy)
            }
            Published::Refused { code, text } => {
                let refusal = classify(*code);
                match refusal {
                    Refusal::Stale => metrics.fenced.inc(),
                    Refusal::Busy => metrics.failed(FailureKind::BrokerBusy),
                    Refusal::Batch => metrics.failed(FailureKind::BatchRefused),
                }
                tracing::warn!(
                    outbox.shard = shard,
                    shards,
                    nats.err_code = code,
                    "the broker refused a batch ({refusal:?}): {text}"
                );
                Some(refusal)
            }
        }
    }
}
