//! Few events, one by one: first the fences that announce them, then each event on the condition that
//! its shard's fence is still the last ([ADR 124](../../../../docs/adr/0124-few-events-are-announced.md)).

use std::collections::HashSet;
use std::time::Instant;

use shared::shard::Shard;
use tracing::Instrument;

use super::Turn;
use super::answer::refusal_of;
use super::member::{Company, JobEnd, Sending};
use crate::batch::message::Message;
use crate::batch::way::Way;
use crate::config::AnnouncePolicy;
use crate::shard::fence::{Fence, StreamSeq};
use crate::shard::machine::{Answer, Todo};
use crate::stream::error::Refusal;
use crate::stream::publisher::{Published, fence_message, make_conditional};

/// Fences and events that are sent one by one in a turn at most. Where flushing is quick they are no
/// slower than a batch up to about so many (ADR 124), and what is owed after a crash stays little.
pub(super) const MESSAGES_MAX: usize = 32;

impl Turn<'_> {
    /// How these are sent. One by one only where each is judged by itself: one replica, every shard
    /// verified and without an event that was refused, and no key with two events, of which the
    /// second might be stored without the first.
    pub(super) fn way(&mut self, sendings: &[Sending]) -> Way {
        let events: usize = sendings.iter().map(|sending| sending.rows.len()).sum();
        let messages = events + sendings.len();
        let policy = self.tools.config.announce;
        if policy == AnnouncePolicy::Never
            || !self.facts.single_replica
            || events == 0
            || messages > MESSAGES_MAX
            || !sendings.iter().all(|sending| self.may_go_singly(sending))
        {
            return Way::Batch;
        }
        match policy {
            AnnouncePolicy::Always => Way::Singly,
            _ => self.publisher.ways.choose(messages),
        }
    }

    fn may_go_singly(&self, sending: &Sending) -> bool {
        let state = &self.members[sending.member].state;
        let mut keys = HashSet::new();
        let new = |key| keys.insert(key);
        state.machine.verified()
            && state.company == Company::All
            && !state.wary
            && sending.rows.iter().map(|row| &row.key).all(new)
    }

    fn shard_of(&self, sending: &Sending) -> Shard {
        self.members[sending.member].state.shard
    }

    pub(super) async fn send_singly(&mut self, sendings: Vec<Sending>, read_at: Instant) {
        let (mut messages, traces) = self.messages(&sendings);
        let span = traces.of_batch.clone();
        let sent_at = Instant::now();
        let fences = self
            .publish_fences(&sendings)
            .instrument(span.clone())
            .await;
        let mut conditional = Vec::with_capacity(messages.len());
        for (sending, at) in sendings.iter().zip(&fences) {
            let rest = messages.split_off(sending.rows.len());
            let own = std::mem::replace(&mut messages, rest);
            let Some(at) = at else { continue };
            let shard = self.shard_of(sending);
            conditional.extend(own.into_iter().map(|mut message: Message| {
                make_conditional(&mut message, shard, *at);
                message
            }));
        }
        let count = conditional.len() + sendings.len();
        let publishing = self.publisher.publish_each(conditional);
        let answers = publishing.instrument(span).await;
        drop(traces);
        self.observe_sent(&sendings, sent_at);
        let is_stored = |answer| matches!(answer, &Published::Stored(_));
        if fences.iter().all(Option::is_some) && answers.iter().all(is_stored) {
            let took = sent_at.elapsed();
            self.publisher.ways.took(Way::Singly, count, took);
        }
        self.take_answers(&sendings, &fences, answers, read_at);
    }

    /// Writes the fences anew of shards that published one by one before and are to be in a batch now:
    /// a stream that has lost those events shows it by where the fence then stands. Gives what can be
    /// sent then.
    pub(super) async fn renew_apart(&mut self, mut sendings: Vec<Sending>) -> Vec<Sending> {
        let mut alone = Vec::new();
        for sending in &sendings {
            let machine = &mut self.members[sending.member].state.machine;
            if !machine.is_apart() {
                continue;
            }
            machine.renew_fence();
            if let Todo::WriteFence { expect, fence } = machine.todo() {
                alone.push(Sending {
                    member: sending.member,
                    expect,
                    alone: Some(fence),
                    rows: Vec::new(),
                    full: true,
                });
            }
        }
        if alone.is_empty() {
            return sendings;
        }
        self.publish_fences(&alone).await;
        sendings.retain_mut(|sending| {
            let machine = &self.members[sending.member].state.machine;
            let at = machine.holding();
            sending.expect = at.unwrap_or(sending.expect);
            at.is_some() || sending.alone.is_some()
        });
        sendings
    }

    /// The fence of each shard, alone or with what it announces; gives where it stands if that is
    /// known.
    async fn publish_fences(&mut self, sendings: &[Sending]) -> Vec<Option<StreamSeq>> {
        let mut messages = Vec::with_capacity(sendings.len());
        for sending in sendings {
            let state = &self.members[sending.member].state;
            let announcing = || {
                let (expect, fence) = state.machine.begin_announcement(sending.events())?;
                let max_age_ms = self.facts.max_age_ms;
                Some((
                    expect,
                    Fence {
                        max_age_ms,
                        ..fence
                    },
                ))
            };
            let fence = match &sending.alone {
                Some(fence) => Some((sending.expect, fence.clone())),
                None => announcing(),
            };
            let message =
                fence.and_then(|(expect, fence)| fence_message(state.shard, expect, &fence).ok());
            let Some(message) = message else {
                // Neither can be: the shard holds its fence, and a fence is plain JSON.
                return vec![None; sendings.len()];
            };
            messages.push(message);
        }
        let answers = self.publisher.publish_each(messages).await;
        let shards = sendings.iter().map(|sending| self.shard_of(sending));
        self.report_each(answers.iter().zip(shards));
        let mut fences = Vec::with_capacity(sendings.len());
        for (sending, answer) in sendings.iter().zip(answers) {
            let refusal = refusal_of(&answer);
            let told = Answer::from(&answer);
            let machine = &mut self.members[sending.member].state.machine;
            fences.push(match sending.alone {
                Some(_) => {
                    machine.answered(told, Vec::new());
                    machine.holding()
                }
                None => machine.announced(told, sending.events()),
            });
            self.after_answer(sending, refusal, true);
        }
        fences
    }

    /// What the broker said to the events behind each fence.
    fn take_answers(
        &mut self,
        sendings: &[Sending],
        fences: &[Option<StreamSeq>],
        answers: Vec<Published>,
        read_at: Instant,
    ) {
        let sent = sendings
            .iter()
            .zip(fences)
            .filter(|(_, fence)| fence.is_some());
        let shards = sent.flat_map(|(sending, _)| {
            std::iter::repeat_n(self.shard_of(sending), sending.rows.len())
        });
        self.report_each(answers.iter().zip(shards));
        let mut answers = answers.into_iter();
        let mut stored = Vec::new();
        for (sending, fence) in sendings.iter().zip(fences) {
            let Some(fence) = fence else { continue };
            let own: Vec<Published> = answers.by_ref().take(sending.rows.len()).collect();
            if own.is_empty() {
                continue;
            }
            let mut placed = Vec::with_capacity(own.len());
            let mut refusal = None;
            for (row, answer) in sending.rows.iter().zip(&own) {
                match answer {
                    Published::Stored(at) => {
                        placed.push((row.event_ref(), *at));
                        stored.push(row);
                    }
                    _ => refusal = refusal.or(refusal_of(answer)),
                }
            }
            let machine = &mut self.members[sending.member].state.machine;
            machine.stored_singly(*fence, placed);
            if refusal == Some(Refusal::Stale) {
                // Another has the shard, or the server does not do what this way takes.
                self.members[sending.member].state.wary = true;
            }
            self.after_answer(sending, refusal, false);
        }
        self.tools.metrics.announced.inc_by(stored.len() as u64);
        self.observe_stored(stored.into_iter(), read_at);
    }

    /// Whether a shard goes on after an answer to its fence, which may be only the beginning, or to
    /// its events.
    fn after_answer(&mut self, sending: &Sending, refusal: Option<Refusal>, more: bool) {
        let member = &mut self.members[sending.member];
        match refusal {
            None if more || sending.rows.is_empty() => {}
            None => {
                member.state.limit.grow();
                if !sending.full {
                    member.end = Some(JobEnd::Idle);
                }
            }
            // What became of it is found out in this turn yet.
            Some(Refusal::Stale) => {}
            Some(Refusal::Busy) => member.end = Some(JobEnd::Pause),
            Some(Refusal::Batch) => {
                member.state.company = Company::ALONE;
                member.state.wary = true;
            }
        }
    }
}
