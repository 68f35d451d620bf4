//! What follows from the broker's answer to a batch.

use shared::shard::Shard;

use super::Turn;
use super::member::{Company, JobEnd, Sending};
use crate::metrics::FailureKind;
use crate::shard::machine::{Answer, Todo};
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
            let told = match at {
                Some(here) => {
                    at = Some(here.after(sending.rows.len() + 1));
                    Answer::Stored(here)
                }
                None => Answer::from(answer),
            };
            member.state.machine.answered(told, sending.events());
            match refusal {
                None if matches!(member.state.machine.todo(), Todo::End(_)) => {}
                None => {
                    if !sending.rows.is_empty() {
                        member.state.wary = false;
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
        let refusal = refusal_of(answer)?;
        let shard = sendings
            .first()
            .map(|sending| self.members[sending.member].state.shard);
        self.tell(answer, "a batch", shard, sendings.len());
        Some(refusal)
    }

    /// The same of what was sent one by one, each with its shard. That there was no answer is said
    /// and counted once.
    pub(super) fn report_each<'a>(&self, answers: impl Iterator<Item = (&'a Published, Shard)>) {
        let mut away = 0;
        for (answer, shard) in answers {
            if matches!(answer, Published::NotSent(_) | Published::Unknown(_)) {
                away += 1;
                if away > 1 {
                    continue;
                }
            }
            self.tell(answer, "what goes one by one", Some(shard), 1);
        }
    }

    fn tell(&self, answer: &Published, what: &str, shard: Option<Shard>, shards: usize) {
        let metrics = &self.tools.metrics;
        let shard = shard.map(Shard::number);
        match answer {
            Published::Stored(_) => {}
            Published::NotSent(why) => {
                tracing::debug!(outbox.shard = shard, shards, "nothing was sent: {why}");
            }
            Published::Unknown(why) => {
                metrics.failed(FailureKind::BrokerAway);
                tracing::warn!(
                    outbox.shard = shard,
                    shards,
                    "no answer to {what} ({why}); its fences will be read back"
                );
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
                    "the broker refused {what} ({refusal:?}): {text}"
                );
            }
        }
    }
}

/// What kind of refusal an answer is, if it is one. That nothing was sent, or no answer came, is
/// what a broker without room says: to be tried again after a pause.
pub(super) fn refusal_of(answer: &Published) -> Option<Refusal> {
    match answer {
        Published::Stored(_) => None,
        Published::NotSent(_) | Published::Unknown(_) => Some(Refusal::Busy),
        Published::Refused { code, .. } => Some(classify(*code)),
    }
}

impl From<&Published> for Answer {
    fn from(answer: &Published) -> Self {
        match answer {
            Published::Stored(at) => Self::Stored(*at),
            Published::Refused { .. } => Self::Refused,
            Published::Unknown(_) => Self::Unclear,
            Published::NotSent(_) => Self::NotSent,
        }
    }
}
