//! Sends a fenced atomic batch and waits for what the broker says to it.
//!
//! `JetStream` ADR-50: every message has the batch's id and its own number, the last one commits,
//! and the server stores all or none. Each shard's part begins with its fence, conditional on its
//! predecessor. Both ends of the batch ask for a reply: without one on message 1 some refusals are
//! silent. A batch may have parts of several shards, because the server's cost of a batch hardly
//! depends on its size: it makes a store in the file system for each.
//!
//! Messages may also go one by one, each on its own condition, and be answered one by one.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use shared::shard::Shard;
use shared::subjects::fence as fence_subject;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::broker::{ApiError, Broker, Link};
use super::error::{BrokerError, Code};
use crate::batch::message::Message;
use crate::batch::way::Ways;
use crate::shard::fence::{Fence, StreamSeq};

const BATCH_ID: HeaderName = HeaderName::from_static("Nats-Batch-Id");
const BATCH_SEQUENCE: HeaderName = HeaderName::from_static("Nats-Batch-Sequence");
const BATCH_COMMIT: HeaderName = HeaderName::from_static("Nats-Batch-Commit");
const EXPECTED_LAST_SUBJECT_SEQUENCE: HeaderName =
    HeaderName::from_static("Nats-Expected-Last-Subject-Sequence");
const EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: HeaderName =
    HeaderName::from_static("Nats-Expected-Last-Subject-Sequence-Subject");
const ROLLUP: HeaderName = HeaderName::from_static("Nats-Rollup");
const TTL: HeaderName = HeaderName::from_static("Nats-TTL");

/// What the broker said to a batch.
#[derive(Clone, Debug)]
pub enum Published {
    /// All of it is stored, its first message at this position.
    Stored(StreamSeq),
    /// None of it is stored, says the server.
    Refused {
        /// Its number for the refusal.
        code: Code,
        /// Its words.
        text: String,
    },
    /// No answer: it may be stored or not, or be stored later.
    Unknown(String),
    /// Nothing has left this process.
    NotSent(String),
}

/// A shard's part of a batch: its fence, and behind it its events.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which shard.
    pub shard: Shard,
    /// Where the shard's last fence must stand; 0 if there must be none.
    pub expect: StreamSeq,
    /// The new fence.
    pub fence: Fence,
    /// The events that it lists.
    pub events: Vec<Message>,
}

impl Part {
    /// How many messages it has.
    fn len(&self) -> usize {
        self.events.len() + 1
    }
}

/// A fence as a message, to be stored if the shard's last fence stands at `expect`.
///
/// # Errors
/// It cannot be written as JSON.
pub fn fence_message(
    shard: Shard,
    expect: StreamSeq,
    fence: &Fence,
) -> Result<Message, serde_json::Error> {
    Ok(Message {
        subject: fence_subject(shard),
        headers: fence_headers(expect),
        payload: Bytes::from(serde_json::to_vec(fence)?),
    })
}

/// Has a message stored only if the shard's last fence stands at `expect`.
pub fn make_conditional(message: &mut Message, shard: Shard, expect: StreamSeq) {
    let headers = &mut message.headers;
    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(expect.0));
    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, fence_subject(shard));
}

/// One worker's way to the broker: one batch at a time.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    link: watch::Receiver<Link>,
    replies: Subscriber,
    inbox: String,
    token: String,
    batches: u64,
    answer_timeout: Duration,
    /// How long each way of publishing few events has taken.
    pub ways: Ways,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

impl Publisher {
    /// Subscribes to an inbox of its own.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn new(broker: &Broker) -> Result<Self, BrokerError> {
        let inbox = broker.client.new_inbox();
        let replies = broker
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| BrokerError::Away(error.to_string()))?;
        let token = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        Ok(Self {
            client: broker.client.clone(),
            link: broker.link.clone(),
            replies,
            inbox,
            token,
            batches: 0,
            answer_timeout: broker.answer_timeout(),
            ways: Ways::default(),
        })
    }

    /// Publishes all parts, all or nothing, if every shard's last fence stands where its part
    /// expects it.
    pub async fn publish(&mut self, parts: Vec<Part>) -> Published {
        if self.client.connection_state() != State::Connected {
            return Published::NotSent("not connected".to_owned());
        }
        let mut messages = Vec::with_capacity(parts.iter().map(Part::len).sum());
        for part in parts {
            match fence_message(part.shard, part.expect, &part.fence) {
                Ok(message) => messages.push(message),
                Err(error) => return Published::NotSent(error.to_string()),
            }
            messages.extend(part.events);
        }
        self.batches += 1;
        self.link.mark_unchanged();
        let count = messages.len();
        let sending = self.send(messages, count);
        match tokio::time::timeout(self.answer_timeout, sending).await {
            Err(_) => return Published::Unknown("sending took too long".to_owned()),
            Ok(Err(error)) => return Published::Unknown(error),
            Ok(Ok(())) => {}
        }
        self.answer(count).await
    }

    /// Publishes messages one by one, without waiting for the answer to one before the next; gives
    /// the answer to each.
    pub async fn publish_each(&mut self, messages: Vec<Message>) -> Vec<Published> {
        let count = messages.len();
        if self.client.connection_state() != State::Connected {
            return vec![Published::NotSent("not connected".to_owned()); count];
        }
        self.batches += 1;
        self.link.mark_unchanged();
        let deadline = Instant::now() + self.answer_timeout;
        let sending = async {
            for (index, message) in messages.into_iter().enumerate() {
                let reply = self.reply_to(&format!("s{index}"));
                self.client
                    .publish_with_reply_and_headers(
                        message.subject,
                        reply,
                        message.headers,
                        message.payload,
                    )
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        };
        match timeout_at(deadline, sending).await {
            Err(_) => return vec![Published::Unknown("sending took too long".to_owned()); count],
            Ok(Err(error)) => return vec![Published::Unknown(error); count],
            Ok(Ok(())) => {}
        }
        self.answers(count, deadline).await
    }

    /// The answers to messages that were sent one by one.
    async fn answers(&mut self, count: usize, deadline: Instant) -> Vec<Published> {
        let mut answers: Vec<Option<Published>> = vec![None; count];
        let mut missing = count;
        let prefix = self.reply_to("s");
        let why = loop {
            if missing == 0 {
                break String::new();
            }
            let reply = match self.reply(deadline).await {
                Ok(reply) => reply,
                Err(why) => break why,
            };
            let nth = reply.subject.strip_prefix(&prefix);
            let nth = nth.and_then(|nth| nth.parse::<usize>().ok());
            if let Some(answer) = nth.and_then(|nth| answers.get_mut(nth))
                && answer.is_none()
            {
                *answer = Some(match read_ack(&reply) {
                    Ok(ack) => ack.into_published(0),
                    Err(unknown) => unknown,
                });
                missing -= 1;
            }
        };
        let known = |answer: Option<Published>| answer.unwrap_or(Published::Unknown(why.clone()));
        answers.into_iter().map(known).collect()
    }

    /// The next reply to anything that was sent.
    async fn reply(&mut self, deadline: Instant) -> Result<async_nats::Message, String> {
        let reply = tokio::select! {
            reply = self.replies.next() => reply,
            _ = self.link.changed() => return Err("the connection was lost".to_owned()),
            () = sleep_until(deadline) => return Err("no answer in time".to_owned()),
        };
        reply.ok_or_else(|| "the connection is closed".to_owned())
    }

    async fn send(&self, messages: Vec<Message>, count: usize) -> Result<(), String> {
        let batch = HeaderValue::from(format!("{}-{}", self.token, self.batches));
        for (index, mut message) in messages.into_iter().enumerate() {
            let (first, last) = (index == 0, index + 1 == count);
            // A fence alone needs no batch: one message is atomic.
            if count > 1 {
                message.headers.insert(BATCH_ID, batch.clone());
                message
                    .headers
                    .insert(BATCH_SEQUENCE, HeaderValue::from(index + 1));
                if last {
                    message.headers.insert(BATCH_COMMIT, "1");
                }
            }
            let Message {
                subject,
                headers,
                payload,
            } = message;
            let sent = if first || last {
                let reply = self.reply_to(if last { "c" } else { "b" });
                self.client
                    .publish_with_reply_and_headers(subject, reply, headers, payload)
                    .await
            } else {
                self.client
                    .publish_with_headers(subject, headers, payload)
                    .await
            };
            sent.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Where the answer to the present batch's first (`b`) or last (`c`) message goes.
    fn reply_to(&self, end: &str) -> String {
        format!("{}.{}{end}", self.inbox, self.batches)
    }

    async fn answer(&mut self, count: usize) -> Published {
        let (begun, committed) = (self.reply_to("b"), self.reply_to("c"));
        let deadline = Instant::now() + self.answer_timeout;
        loop {
            let reply = match self.reply(deadline).await {
                Ok(reply) => reply,
                Err(why) => return Published::Unknown(why),
            };
            let last = reply.subject.as_str() == committed;
            if !last && reply.subject.as_str() != begun {
                continue; // the answer to an earlier batch, given up long ago
            }
            if reply.status.is_none() && reply.payload.is_empty() {
                continue; // the server has begun the batch
            }
            match read_ack(&reply) {
                Err(unknown) => return unknown,
                Ok(ack) if last || ack.error.is_some() => return ack.into_published(count - 1),
                Ok(_) => {}
            }
        }
    }
}

impl Ack {
    /// What it says of a message, or of a batch in which `before` messages come before the one that
    /// was answered.
    fn into_published(self, before: usize) -> Published {
        match self.error {
            Some(error) => Published::Refused {
                code: error.err_code,
                text: error.description,
            },
            None => Published::Stored(StreamSeq(self.seq.saturating_sub(before as u64))),
        }
    }
}

fn read_ack(reply: &async_nats::Message) -> Result<Ack, Published> {
    if let Some(status) = reply.status {
        let why = format!("status {status}: nobody stores the subject");
        return Err(Published::Unknown(why));
    }
    serde_json::from_slice(&reply.payload)
        .map_err(|error| Published::Unknown(format!("unreadable answer: {error}")))
}

fn fence_headers(expect: StreamSeq) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(expect.0));
    headers.insert(ROLLUP, "sub");
    headers.insert(TTL, "never");
    headers
}
