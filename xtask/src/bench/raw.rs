//! The reference of the relay's drain: the same messages in the same fenced atomic batches (ADR-50 of
//! NATS), made ahead, with no database behind them and nothing to find out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::{Client, HeaderMap, HeaderValue, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::event;

/// Shards, as the outbox has them.
const SHARDS: u64 = 64;
/// An answer that has not come by then never comes.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// How to publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Events in all.
    pub(crate) events: u64,
    /// Events behind each fence.
    pub(crate) batch: u64,
    /// Batches in flight at once, as the relay has workers.
    pub(crate) lanes: u64,
}

type Message = (String, HeaderMap, Bytes);

/// Publishes by plan; gives events a second.
///
/// # Errors
/// The broker refuses a batch or does not answer.
pub(crate) async fn publish(client: &Client, plan: Plan) -> Result<f64> {
    let mut lanes = Vec::new();
    for lane in 0..plan.lanes {
        lanes.push(Lane::prepare(client, plan, lane).await?);
    }
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for lane in lanes {
        running.spawn(lane.run());
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a lane of the raw publisher")??;
    }
    Ok(plan.events as f64 / begun.elapsed().as_secs_f64())
}

/// One batch at a time, on shards of its own.
struct Lane {
    client: Client,
    inbox: String,
    replies: Subscriber,
    batches: Vec<(u64, Vec<Message>)>,
    /// Where the last fence of each of its shards stands.
    fences: Vec<u64>,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<serde_json::Value>,
}

impl Lane {
    async fn prepare(client: &Client, plan: Plan, lane: u64) -> Result<Self> {
        let inbox = client.new_inbox();
        let replies = client.subscribe(format!("{inbox}.*")).await?;
        let mut fences = Vec::new();
        for shard in 0..SHARDS {
            fences.push(last_fence(client, shard).await?);
        }
        let own_shards: Vec<u64> = (0..SHARDS).filter(|n| n % plan.lanes == lane).collect();
        let mut batches = Vec::new();
        let mut first = lane * plan.batch;
        while first < plan.events {
            let shard = own_shards[batches.len() % own_shards.len()];
            let last = (first + plan.batch).min(plan.events);
            batches.push((shard, batch(first..last)));
            first += plan.batch * plan.lanes;
        }
        Ok(Self {
            client: client.clone(),
            inbox,
            replies,
            batches,
            fences,
        })
    }

    async fn run(mut self) -> Result<()> {
        for (nth, (shard, messages)) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            let index = usize::try_from(shard)?;
            self.fences[index] = self.send(nth, shard, messages).await?;
        }
        Ok(())
    }

    /// Sends a batch; gives where its fence stands.
    async fn send(&mut self, nth: usize, shard: u64, messages: Vec<Message>) -> Result<u64> {
        let count = messages.len();
        let id = HeaderValue::from(format!("{}-{nth}", self.inbox));
        let expect = self.fences[usize::try_from(shard)?];
        for (index, (mut subject, mut headers, payload)) in messages.into_iter().enumerate() {
            headers.insert("Nats-Batch-Id", id.clone());
            headers.insert("Nats-Batch-Sequence", HeaderValue::from(index + 1));
            if index == 0 {
                subject = fence_subject(shard);
                headers.insert(
                    "Nats-Expected-Last-Subject-Sequence",
                    HeaderValue::from(expect),
                );
            }
            let last = index + 1 == count;
            if last {
                headers.insert("Nats-Batch-Commit", "1");
            }
            if index == 0 || last {
                let reply = format!("{}.{nth}{}", self.inbox, if last { "c" } else { "b" });
                self.client
                    .publish_with_reply_and_headers(subject, reply, headers, payload)
                    .await?;
            } else {
                self.client
                    .publish_with_headers(subject, headers, payload)
                    .await?;
            }
        }
        let stored = tokio::time::timeout(ANSWER_DEADLINE, self.answer())
            .await
            .context("no answer to a batch")??;
        Ok(stored + 1 - count as u64)
    }

    async fn answer(&mut self) -> Result<u64> {
        while let Some(reply) = self.replies.next().await {
            if reply.payload.is_empty() {
                continue; // the batch is begun
            }
            let ack: Ack = serde_json::from_slice(&reply.payload)?;
            if let Some(error) = ack.error {
                bail!("the broker refused a batch: {error}");
            }
            return Ok(ack.seq);
        }
        bail!("the connection is closed")
    }
}

/// A fence that lists the events, and the events.
fn batch(numbers: std::ops::Range<u64>) -> Vec<Message> {
    let ids: Vec<(u64, Uuid)> = numbers
        .map(|nth| (nth, Uuid::from_u128(u128::from(nth))))
        .collect();
    let fence = json!({ "outbox": Uuid::nil(), "epoch": 1, "settled": 0, "events": ids });
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Rollup", "sub");
    headers.insert("Nats-TTL", "never");
    let fence = (String::new(), headers, Bytes::from(fence.to_string()));
    let events = ids.into_iter().map(|(nth, id)| event::message(nth, id));
    std::iter::once(fence).chain(events).collect()
}

fn fence_subject(shard: u64) -> String {
    format!("events.fence.{shard}")
}

async fn last_fence(client: &Client, shard: u64) -> Result<u64> {
    let question = json!({ "last_by_subj": fence_subject(shard) }).to_string();
    let answer = client
        .request("$JS.API.STREAM.MSG.GET.EVENTS", question.into())
        .await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
    Ok(answer["message"]["seq"].as_u64().unwrap_or(0))
}
