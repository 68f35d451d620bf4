//! The thin shell around the shard's state machine: does what it asks, one thing after the other,
//! until the shard has nothing waiting.

use std::sync::Arc;
use std::time::Instant;

use shared::shard::Shard;
use shared::telemetry::Traced;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::fence::{EventRef, Fence, StoredFence, StreamSeq};
use super::machine::{Answer, End, Machine, Todo};
use crate::batch::entity::{BatchLimit, Impossible, Row, check, sendable};
use crate::batch::message::{batch_span, message_of, source_of};
use crate::batch::repo::{Settlement, next_rows, settle};
use crate::config::{PoisonPolicy, RelayConfig};
use crate::dead::repo::{bury, count_attempt};
use crate::error::{chain, database_sentence};
use crate::leases::repo::{Writer, holds};
use crate::metrics::{FailureKind, Metrics};
use crate::stream::broker::Broker;
use crate::stream::error::{BrokerError, Refusal, classify};
use crate::stream::publisher::{Published, Publisher};
use crate::stream::repo::read_fence;
use crate::stream::watcher::{Facts, declare};
use crate::verify::repo::place_fence;

/// Batches that one shard sends before another gets its turn.
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

/// Why a job ended.
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

/// What one step came to.
enum Step {
    Go,
    /// A whole batch went through: more may wait.
    Sent {
        full: bool,
    },
    Out(JobEnd),
}

/// One turn of one shard.
pub struct Job<'a> {
    /// The shard.
    pub state: &'a mut ShardState,
    /// This worker's way to the broker.
    pub publisher: &'a mut Publisher,
    /// What it works with.
    pub tools: &'a Tools,
    /// What is known of the stream.
    pub facts: &'a Facts,
    /// No row up to this id is pending.
    pub after: i64,
    /// Cancelled when the shard has to be handed over.
    pub stop: &'a CancellationToken,
}

impl Job<'_> {
    /// Runs until the shard has nothing to do, has had its turn, or cannot go on.
    pub async fn run(mut self) -> JobEnd {
        let mut batches = 0;
        let mut read_back = false;
        loop {
            let todo = self.state.machine.todo();
            if self.stop.is_cancelled() && !matches!(todo, Todo::Settle(_) | Todo::End(_)) {
                return JobEnd::Stopped;
            }
            let step = match todo {
                Todo::End(end) => return self.end(end).await,
                Todo::ReadFence => {
                    read_back = true;
                    self.read_fence().await
                }
                Todo::Settle(fence) => self.settle(&fence, std::mem::take(&mut read_back)).await,
                Todo::WriteFence { expect, fence } => self.write_fence(expect, &fence).await,
                Todo::Publish if !self.state.machine.verified() => return JobEnd::Unverified,
                Todo::Publish => {
                    read_back = false;
                    self.publish().await
                }
            };
            match step {
                Step::Go => {}
                Step::Out(end) => return end,
                Step::Sent { full: false } => return self.finish_turn(JobEnd::Idle).await,
                Step::Sent { full: true } => {
                    batches += 1;
                    if batches == BATCHES_A_TURN_MAX {
                        return self.finish_turn(JobEnd::More).await;
                    }
                }
            }
        }
    }

    /// The machine has come to an end. If the stream or the database went back, the generation goes
    /// up, so that no relay publishes before the shard is verified.
    async fn end(&self, end: End) -> JobEnd {
        let (tools, state) = (self.tools, &*self.state);
        let lost = match end {
            End::Deposed | End::Foreign(_) => return JobEnd::Ended(end),
            End::StreamLost | End::DatabaseWentBack => end,
            End::Outrun => {
                let epoch = state.machine.epoch();
                match holds(&tools.pool, &tools.owner, state.shard, epoch).await {
                    Ok(true) => End::DatabaseWentBack,
                    Ok(false) => return JobEnd::Ended(End::Deposed),
                    Err(error) => return self.paused_for_database(&error),
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

    /// What was just stored is settled before the shard is given back.
    async fn finish_turn(&mut self, end: JobEnd) -> JobEnd {
        if let Todo::Settle(fence) = self.state.machine.todo()
            && let Step::Out(pause) = self.settle(&fence, false).await
        {
            return pause;
        }
        end
    }

    async fn read_fence(&mut self) -> Step {
        match read_fence(&self.tools.broker, self.state.shard).await {
            Ok(found) => {
                self.state.machine.fence_read(found);
                Step::Go
            }
            Err(error) => self.pause_for_broker(&error),
        }
    }

    async fn settle(&mut self, fence: &StoredFence, read_back: bool) -> Step {
        let metrics = &self.tools.metrics;
        let settled = self.settle_rows(fence).await;
        match settled {
            Ok(settlement) => {
                metrics.published.inc_by(settlement.rows);
                if read_back {
                    metrics.duplicates_prevented.inc_by(settlement.rows);
                }
                self.state.machine.settled(settlement.held);
                Step::Go
            }
            Err(error) => self.pause_for_database(&error),
        }
    }

    /// During a verification a fence may also list events that were published again: those have a
    /// new place.
    async fn settle_rows(&self, fence: &StoredFence) -> sqlx::Result<Settlement> {
        let (tools, state) = (self.tools, &*self.state);
        let placed: Vec<(EventRef, StreamSeq)> = fence.placed().collect();
        let writer = state.writer(tools);
        let settlement = settle(&tools.pool, writer, &placed).await?;
        if settlement.held && !state.machine.verified() {
            place_fence(&tools.pool, writer, fence).await?;
        }
        Ok(settlement)
    }

    /// Publishes events again that the stream has lost. Gives whether they are stored and recorded.
    pub async fn republish(mut self, rows: &[Row]) -> bool {
        let sendable: Vec<Row> = rows
            .iter()
            .filter(|row| self.can_be_sent(row))
            .cloned()
            .collect();
        if sendable.is_empty() {
            return true;
        }
        self.send(&sendable, Instant::now(), true).await;
        let Todo::Settle(fence) = self.state.machine.todo() else {
            return false;
        };
        self.settle(&fence, false).await;
        self.state.machine.holding().is_some()
    }

    fn can_be_sent(&self, row: &Row) -> bool {
        let Err(why) = check(row, self.facts.max_payload) else {
            return true;
        };
        self.tools.metrics.failed(FailureKind::EventImpossible);
        tracing::error!(
            outbox.shard = %self.state.shard,
            outbox.event_id = %row.event_id,
            "an event that the stream has lost cannot be published again: {why}"
        );
        false
    }

    async fn write_fence(&mut self, expect: StreamSeq, fence: &Fence) -> Step {
        let answer = self
            .publisher
            .publish(self.state.shard, expect, fence, Vec::new())
            .await;
        self.take_answer(&answer, Vec::new())
    }

    async fn publish(&mut self) -> Step {
        let limit = self.state.limit.rows();
        let (tools, shard) = (self.tools, self.state.shard);
        let read_at = Instant::now();
        let bytes_max = tools.config.batch_bytes_max;
        let mut rows = match next_rows(&tools.pool, shard, self.after, limit, bytes_max).await {
            Ok(rows) => rows,
            Err(error) => return self.pause_for_database(&error),
        };
        if rows.is_empty() {
            return Step::Out(JobEnd::Idle);
        }
        let full = rows.len() == limit;
        match sendable(&rows, self.facts.max_payload) {
            Ok(count) => {
                let cut = count < rows.len();
                rows.truncate(count);
                self.send(&rows, read_at, full || cut).await
            }
            Err(why) => self.bury(&rows[0], &why).await,
        }
    }

    async fn send(&mut self, rows: &[Row], read_at: Instant, full: bool) -> Step {
        let events: Vec<EventRef> = rows.iter().map(Row::event_ref).collect();
        let Some((expect, fence)) = self.state.machine.begin_batch(events) else {
            return Step::Go;
        };
        let source = source_of(self.facts.outbox);
        let mut traced: Vec<Traced> = Vec::new();
        let messages = rows
            .iter()
            .map(|row| {
                let (message, span) = message_of(row, &source);
                traced.extend(span);
                message
            })
            .collect();
        let span = batch_span(self.state.shard.number(), rows.len(), &traced)
            .unwrap_or_else(tracing::Span::none);
        let metrics = &self.tools.metrics;
        let sent_at = Instant::now();
        let answer = self
            .publisher
            .publish(self.state.shard, expect, &fence, messages)
            .instrument(span)
            .await;
        drop(traced);
        metrics
            .publish_duration_seconds
            .observe(sent_at.elapsed().as_secs_f64());
        if matches!(answer, Published::Stored(_)) {
            metrics.batch_size.observe(count_as_f64(rows.len()));
            self.state.limit.grow();
            let since_read = read_at.elapsed().as_secs_f64();
            for row in rows {
                let waited = (row.read_at - row.created_at).as_seconds_f64().max(0.0);
                metrics.commit_to_ack_seconds.observe(waited + since_read);
            }
        }
        match self.take_answer(&answer, fence.events) {
            Step::Go if matches!(answer, Published::Stored(_)) => Step::Sent { full },
            Step::Go => self.after_refusal(&answer, rows).await,
            step => step,
        }
    }

    /// Tells the machine, counts and logs; `Out` if the broker needs a pause.
    fn take_answer(&mut self, answer: &Published, sent: Vec<EventRef>) -> Step {
        let (shard, metrics) = (self.state.shard, &self.tools.metrics);
        let (told, step) = match answer {
            Published::Stored(at) => (Answer::Stored(*at), Step::Go),
            Published::NotSent(why) => {
                tracing::debug!(outbox.shard = %shard, "nothing was sent: {why}");
                (Answer::NotSent, Step::Out(JobEnd::Pause))
            }
            Published::Unknown(why) => {
                metrics.failed(FailureKind::BrokerAway);
                tracing::warn!(outbox.shard = %shard, "no answer to a batch ({why}); its fence will be read back");
                (Answer::Unclear, Step::Out(JobEnd::Pause))
            }
            Published::Refused { code, text } => {
                let step = match classify(*code) {
                    Refusal::Stale => {
                        metrics.fenced.inc();
                        tracing::info!(outbox.shard = %shard, nats.err_code = code, "fenced: {text}");
                        Step::Go
                    }
                    Refusal::Busy => {
                        metrics.failed(FailureKind::BrokerBusy);
                        tracing::warn!(outbox.shard = %shard, nats.err_code = code, "the broker is busy: {text}");
                        Step::Out(JobEnd::Pause)
                    }
                    Refusal::Batch => {
                        metrics.failed(FailureKind::BatchRefused);
                        tracing::warn!(outbox.shard = %shard, nats.err_code = code, events = sent.len(), "the broker refused a batch: {text}");
                        Step::Go
                    }
                };
                (Answer::Unclear, step)
            }
        };
        self.state.machine.answered(told, sent);
        step
    }

    /// A refused batch is tried again at half its size; an event refused alone, a bounded number
    /// of times, and then it is a dead letter.
    async fn after_refusal(&mut self, answer: &Published, rows: &[Row]) -> Step {
        let Published::Refused { code, text } = answer else {
            return Step::Go;
        };
        if classify(*code) != Refusal::Batch {
            return Step::Go;
        }
        if rows.len() > 1 {
            self.state.limit.shrink(rows.len());
            return Step::Go;
        }
        // What became of the batch is read back before the event is touched.
        if let Step::Out(end) = self.read_fence().await {
            return Step::Out(end);
        }
        if self.state.machine.holding().is_none() {
            return Step::Go;
        }
        let (tools, shard, event) = (self.tools, self.state.shard, rows[0].event_ref());
        let epoch = self.state.machine.epoch();
        match count_attempt(&tools.pool, &tools.owner, shard, epoch, event).await {
            Ok(Some(attempts)) if attempts >= ATTEMPTS_MAX => {
                let why = Impossible::Refused {
                    code: *code,
                    text: text.clone(),
                };
                self.bury(&rows[0], &why).await
            }
            Ok(_) => Step::Go,
            Err(error) => self.pause_for_database(&error),
        }
    }

    async fn bury(&mut self, row: &Row, why: &Impossible) -> Step {
        let (tools, shard) = (self.tools, self.state.shard);
        let blocks = tools.config.poison == PoisonPolicy::Block;
        let epoch = self.state.machine.epoch();
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
                Step::Go
            }
            Ok(false) => Step::Out(JobEnd::Ended(End::Deposed)),
            Err(error) => self.pause_for_database(&error),
        }
    }

    fn pause_for_broker(&self, error: &BrokerError) -> Step {
        self.tools.metrics.failed(FailureKind::BrokerAway);
        tracing::warn!(outbox.shard = %self.state.shard, "{}", chain(error));
        Step::Out(JobEnd::Pause)
    }

    fn pause_for_database(&self, error: &sqlx::Error) -> Step {
        Step::Out(self.paused_for_database(error))
    }

    fn paused_for_database(&self, error: &sqlx::Error) -> JobEnd {
        self.tools.metrics.failed(FailureKind::DatabaseAway);
        tracing::warn!(outbox.shard = %self.state.shard, "{}", database_sentence(error));
        JobEnd::Pause
    }
}

/// Counts stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
fn count_as_f64(count: usize) -> f64 {
    count as f64
}
