//! The thin shell around the shards' state machines: a turn of one or several shards, whose fences
//! and events travel in one atomic batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use shared::shard::Shard;
use shared::telemetry::Traced;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::fence::{EventRef, StoredFence, StreamSeq};
use super::machine::{Answer, End, Machine, Todo};
use crate::batch::entity::{BatchLimit, Impossible, Row, check, sendable};
use crate::batch::message::{batch_span, message_of, source_of};
use crate::batch::repo::{Debt, Wanted, next_rows, settle};
use crate::config::{BATCH_MESSAGES_MAX, PoisonPolicy, RelayConfig};
use crate::dead::repo::{bury, count_attempt};
use crate::error::{chain, database_sentence};
use crate::leases::repo::{Writer, holds};
use crate::metrics::{FailureKind, Metrics};
use crate::stream::broker::Broker;
use crate::stream::error::{BrokerError, Refusal, classify};
use crate::stream::publisher::{Part, Published, Publisher};
use crate::stream::repo::read_fence;
use crate::stream::watcher::{Facts, declare};
use crate::verify::repo::place_fence;

/// Batches of one turn: then other shards have theirs.
const BATCHES_A_TURN_MAX: usize = 8;

/// How often an event may be refused alone before it is a dead letter: enough to outlive a
/// server's passing mood, few enough that its key does not wait for long.
const ATTEMPTS_MAX: i32 = 5;

/// What every job works with.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The database.
    pub pool: PgPool,
    /// The broker.
    pub broker: Broker,
    /// The metrics.
    pub metrics: Metrics,
    /// This instance's name.
    pub owner: Arc<str>,
    /// Sizes and policies.
    pub config: RelayConfig,
    /// Has the stream looked at.
    pub look_now: Arc<Notify>,
}

/// A leased shard, between jobs.
#[derive(Debug)]
pub struct ShardState {
    /// Which.
    pub shard: Shard,
    /// Where the protocol stands.
    pub machine: Machine,
    /// The stream's generation that the machine was made for.
    pub generation: i64,
    /// How many rows the next batch may have.
    pub limit: BatchLimit,
    /// Its next batch is its own: many rows wait, or one of its events was refused.
    pub alone: bool,
}

impl ShardState {
    /// Under which lease this instance writes to the shard's rows.
    #[must_use]
    pub fn writer<'a>(&self, tools: &'a Tools) -> Writer<'a> {
        Writer {
            owner: &tools.owner,
            shard: self.shard,
            epoch: self.machine.epoch(),
            generation: self.generation,
        }
    }
}

/// Why a shard's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Nothing waits, as far as was seen.
    Idle,
    /// More waits, but others have their turn.
    More,
    /// It was told to stop, and owes nothing that could be settled now.
    Stopped,
    /// The broker or the database does not do its part now.
    Pause,
    /// The shard may not be published before it is verified.
    Unverified,
    /// The shard is not this instance's to publish.
    Ended(End),
}

/// A shard in a turn.
#[derive(Debug)]
pub struct Member {
    /// The shard.
    pub state: ShardState,
    /// No row up to this id is pending.
    pub after: i64,
    /// Cancelled when the shard has to be handed over.
    pub stop: CancellationToken,
    /// Why its turn ended, once it has.
    pub end: Option<JobEnd>,
}

/// A part of a batch about to be sent, and where it comes from.
struct Sending {
    member: usize,
    expect: StreamSeq,
    events: Vec<EventRef>,
    rows: Vec<Row>,
    full: bool,
}

/// A turn of some shards.
pub struct Turn<'a> {
    /// The shards.
    pub members: &'a mut [Member],
    /// This worker's way to the broker.
    pub publisher: &'a mut Publisher,
    /// What it works with.
    pub tools: &'a Tools,
    /// What is known of the stream.
    pub facts: &'a Facts,
}

impl Turn<'_> {
    /// Runs until every shard has nothing to do, has had its turn, or cannot go on.
    pub async fn run(mut self) {
        for _ in 0..BATCHES_A_TURN_MAX {
            self.prepare().await;
            let read_at = Instant::now();
            let sendings = self.gather().await;
            if sendings.is_empty() {
                if self.members.iter().all(|member| member.end.is_some()) {
                    return;
                }
                continue;
            }
            self.send(sendings, read_at).await;
            self.settle_all(false).await;
        }
        for member in self.members.iter_mut() {
            member.end.get_or_insert(JobEnd::More);
        }
    }

    /// Reads fences and settles what they list, until every shard may send or has ended.
    async fn prepare(&mut self) {
        loop {
            self.settle_all(true).await;
            self.stop_leavers();
            let broker = &self.tools.broker;
            let reads = self
                .members
                .iter()
                .enumerate()
                .filter(|(_, member)| member.end.is_none())
                .filter(|(_, member)| member.state.machine.todo() == Todo::ReadFence)
                .map(|(index, member)| {
                    let shard = member.state.shard;
                    async move { (index, read_fence(broker, shard).await) }
                });
            let reads = join_all(reads).await;
            if reads.is_empty() {
                break;
            }
            for (index, found) in reads {
                match found {
                    Ok(found) => self.members[index].state.machine.fence_read(found),
                    Err(error) => self.pause_for_broker(index, &error),
                }
            }
        }
        for index in 0..self.members.len() {
            if self.members[index].end.is_none()
                && let Todo::End(end) = self.members[index].state.machine.todo()
            {
                let end = self.end(index, end).await;
                self.members[index].end = Some(end);
            }
        }
    }

    /// Who has to be handed over sends nothing any more.
    fn stop_leavers(&mut self) {
        for member in self.members.iter_mut() {
            let owes = matches!(member.state.machine.todo(), Todo::Settle(_) | Todo::End(_));
            if member.end.is_none() && member.stop.is_cancelled() && !owes {
                member.end = Some(JobEnd::Stopped);
            }
        }
    }

    /// The machine has come to an end. If the stream or the database went back, the generation goes
    /// up, so that no relay publishes before the shard is verified.
    async fn end(&self, index: usize, end: End) -> JobEnd {
        let (tools, state) = (self.tools, &self.members[index].state);
        let lost = match end {
            End::Deposed | End::Foreign(_) => return JobEnd::Ended(end),
            End::StreamLost | End::DatabaseWentBack => end,
            End::Outrun => {
                let epoch = state.machine.epoch();
                match holds(&tools.pool, &tools.owner, state.shard, epoch).await {
                    Ok(true) => End::DatabaseWentBack,
                    Ok(false) => return JobEnd::Ended(End::Deposed),
                    Err(error) => return self.database_away(state.shard, &error),
                }
            }
        };
        let declared = declare(&tools.broker, &tools.pool, state.generation).await;
        tools.look_now.notify_one();
        match declared {
            Ok(first) => {
                if first {
                    tools.metrics.failed(FailureKind::StreamLost);
                    tracing::error!(
                        outbox.shard = %state.shard,
                        "{lost}; nothing is published before it is verified"
                    );
                }
                JobEnd::Ended(lost)
            }
            Err(error) => {
                tracing::warn!(outbox.shard = %state.shard, "{lost}, which could not be noted: {error}");
                JobEnd::Pause
            }
        }
    }

    /// What each shard sends next: a fence alone, or the rows that wait with one before them.
    async fn gather(&mut self) -> Vec<Sending> {
        self.stop_leavers();
        let mut sendings = Vec::new();
        let mut readers = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.end.is_some() {
                continue;
            }
            match member.state.machine.todo() {
                Todo::WriteFence { expect, .. } => sendings.push(Sending {
                    member: index,
                    expect,
                    events: Vec::new(),
                    rows: Vec::new(),
                    full: true,
                }),
                Todo::Publish if member.state.machine.verified() => readers.push(index),
                Todo::Publish => member.end = Some(JobEnd::Unverified),
                _ => {}
            }
        }
        let places = sendings.len() + readers.len();
        self.read_rows(&readers, places, &mut sendings).await;
        sendings
    }

    async fn read_rows(&mut self, readers: &[usize], places: usize, out: &mut Vec<Sending>) {
        if readers.is_empty() {
            return;
        }
        let messages = usize::try_from(BATCH_MESSAGES_MAX).unwrap_or(usize::MAX);
        let each = ((messages - places) / places).max(1);
        let wanted: Vec<Wanted> = readers
            .iter()
            .map(|index| {
                let member = &self.members[*index];
                Wanted {
                    shard: member.state.shard,
                    after: member.after,
                    limit: member.state.limit.rows().min(each),
                }
            })
            .collect();
        let count = i64::try_from(readers.len()).unwrap_or(i64::MAX);
        let bytes_each = self.tools.config.batch_bytes_max / count;
        let mut by_shard: HashMap<Shard, Vec<Row>> = HashMap::new();
        match next_rows(&self.tools.pool, &wanted, bytes_each).await {
            Ok(rows) => {
                for (shard, row) in rows {
                    by_shard.entry(shard).or_default().push(row);
                }
            }
            Err(error) => {
                let end = self.database_away(wanted[0].shard, &error);
                for index in readers {
                    self.members[*index].end = Some(end);
                }
                return;
            }
        }
        for (index, wanted) in readers.iter().zip(wanted) {
            let rows = by_shard.remove(&wanted.shard).unwrap_or_default();
            if rows.is_empty() {
                self.members[*index].end = Some(JobEnd::Idle);
            } else {
                out.extend(self.sending(*index, rows, wanted.limit).await);
            }
        }
    }

    /// The rows up to the first that cannot be published; if that is the first, it is a dead
    /// letter, and the shard sends nothing in this batch.
    async fn sending(&mut self, index: usize, mut rows: Vec<Row>, limit: usize) -> Option<Sending> {
        let full = rows.len() >= limit;
        let count = match sendable(&rows, self.facts.max_payload) {
            Ok(count) => count,
            Err(why) => {
                self.bury(index, &rows[0], &why).await;
                return None;
            }
        };
        let cut = count < rows.len();
        rows.truncate(count);
        let state = &mut self.members[index].state;
        state.alone = full;
        Some(Sending {
            member: index,
            expect: state.machine.holding()?,
            events: rows.iter().map(Row::event_ref).collect(),
            rows,
            full: full || cut,
        })
    }

    async fn send(&mut self, sendings: Vec<Sending>, read_at: Instant) {
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

    /// Tells the machines what the broker said, and decides who goes on.
    async fn take_answer(&mut self, answer: &Published, sendings: Vec<Sending>) {
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
                    member.state.alone = true;
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

    /// A shard's own batch that was refused is tried again at half its size; an event refused
    /// alone, a bounded number of times, and then it is a dead letter.
    async fn after_refusal(&mut self, index: usize, answer: &Published, rows: &[Row]) {
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

    async fn bury(&mut self, index: usize, row: &Row, why: &Impossible) {
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

    /// Settles what stands in the stream, for all shards in one statement. Also for those whose
    /// turn has ended: what was stored is settled before the shard is given back.
    async fn settle_all(&mut self, read_back: bool) {
        let owing: Vec<(usize, StoredFence)> = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.end != Some(JobEnd::Pause))
            .filter_map(|(index, member)| match member.state.machine.todo() {
                Todo::Settle(fence) => Some((index, fence)),
                _ => None,
            })
            .collect();
        if owing.is_empty() {
            return;
        }
        match self.settle(&owing, read_back).await {
            Ok(held) => {
                for (index, _) in owing {
                    let state = &mut self.members[index].state;
                    state.machine.settled(held.contains(&state.shard));
                }
            }
            Err(error) => {
                for (index, _) in owing {
                    let shard = self.members[index].state.shard;
                    self.members[index].end = Some(self.database_away(shard, &error));
                }
            }
        }
    }

    /// During a verification a fence may also list events that were published again: those have a
    /// new place.
    async fn settle(
        &self,
        owing: &[(usize, StoredFence)],
        read_back: bool,
    ) -> sqlx::Result<Vec<Shard>> {
        let tools = self.tools;
        let debts: Vec<Debt<'_>> = owing
            .iter()
            .map(|(index, fence)| Debt {
                writer: self.members[*index].state.writer(tools),
                placed: fence.placed().collect(),
            })
            .collect();
        let settlement = settle(&tools.pool, &debts).await?;
        tools.metrics.published.inc_by(settlement.rows);
        if read_back {
            tools.metrics.duplicates_prevented.inc_by(settlement.rows);
        }
        for (index, fence) in owing {
            let state = &self.members[*index].state;
            if !state.machine.verified() && settlement.held.contains(&state.shard) {
                place_fence(&tools.pool, state.writer(tools), fence).await?;
            }
        }
        Ok(settlement.held)
    }

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
            events: rows.iter().map(Row::event_ref).collect(),
            rows,
            full: true,
        };
        self.send(vec![sending], Instant::now()).await;
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

    fn pause_for_broker(&mut self, index: usize, error: &BrokerError) {
        self.tools.metrics.failed(FailureKind::BrokerAway);
        tracing::warn!(outbox.shard = %self.members[index].state.shard, "{}", chain(error));
        self.members[index].end = Some(JobEnd::Pause);
    }

    fn database_away(&self, shard: Shard, error: &sqlx::Error) -> JobEnd {
        self.tools.metrics.failed(FailureKind::DatabaseAway);
        tracing::warn!(outbox.shard = %shard, "{}", database_sentence(error));
        JobEnd::Pause
    }
}
