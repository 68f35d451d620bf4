//! Reads headers of the stream in order, from a position up to a known message.

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use futures_util::StreamExt;
use shared::envelope;
use shared::shard::Shard;
use shared::subjects::STREAM;

use super::entity::Placed;
use crate::shard::fence::StreamSeq;
use crate::stream::broker::Broker;
use crate::stream::error::BrokerError;

/// Messages compared at once: enough to make a question to the database worth it.
const STRETCH_MESSAGES: usize = 1000;

/// The scan of a stream.
pub struct Scan {
    messages: Ordered,
    /// Whether a message has come: what lay before the first was pushed out by the stream's limits
    /// since it was looked at.
    begun: bool,
    next: StreamSeq,
    end: StreamSeq,
    broker: Broker,
}

/// A stretch of the stream: every event in it, fences left out.
#[derive(Debug)]
pub struct Stretch {
    /// Its first position.
    pub from: StreamSeq,
    /// Its last.
    pub to: StreamSeq,
    /// Messages read, fences included.
    pub messages: u64,
    /// Its events.
    pub events: Vec<Placed>,
}

impl Scan {
    /// Begins at `first`, and gives what has one of `subjects`, or all if there are none. It ends at
    /// `end`, a message that is surely there, or has given way to a later one on its subject.
    ///
    /// # Errors
    /// The broker does not answer or refuses.
    pub async fn begin(
        broker: &Broker,
        first: StreamSeq,
        end: StreamSeq,
        subjects: Vec<String>,
    ) -> Result<Self, BrokerError> {
        if !broker.link.borrow().up {
            return Err(BrokerError::Away("not connected".to_owned()));
        }
        let mut context = jetstream::new(broker.client.clone());
        context.set_timeout(broker.answer_timeout());
        let away = |error: &dyn std::error::Error| BrokerError::Away(error.to_string());
        let stream = context
            .get_stream_no_info(STREAM)
            .await
            .map_err(|error| away(&error))?;
        let consumer = stream
            .create_consumer(OrderedConfig {
                headers_only: true,
                filter_subjects: subjects,
                deliver_policy: DeliverPolicy::ByStartSequence {
                    start_sequence: first.0.max(1),
                },
                ..OrderedConfig::default()
            })
            .await
            .map_err(|error| away(&error))?;
        let messages = consumer.messages().await.map_err(|error| away(&error))?;
        Ok(Self {
            messages,
            begun: false,
            next: first,
            end,
            broker: broker.clone(),
        })
    }

    /// The next stretch; `None` behind the end.
    ///
    /// # Errors
    /// The broker does not go on in time.
    pub async fn next(&mut self) -> Result<Option<Stretch>, BrokerError> {
        if self.next > self.end {
            return Ok(None);
        }
        let mut stretch = Stretch {
            from: self.next,
            to: self.next,
            messages: 0,
            events: Vec::with_capacity(STRETCH_MESSAGES),
        };
        while stretch.messages < STRETCH_MESSAGES as u64 && stretch.to < self.end {
            let message = tokio::time::timeout(self.broker.answer_timeout(), self.messages.next())
                .await
                .map_err(|_| BrokerError::Away("the stream cannot be read on".to_owned()))?
                .ok_or_else(|| BrokerError::Away("the stream's reading ended".to_owned()))?
                .map_err(|error| BrokerError::Away(error.to_string()))?;
            let seq = message
                .info()
                .map_err(|error| BrokerError::Malformed(error.to_string()))?
                .stream_sequence;
            if !std::mem::replace(&mut self.begun, true) {
                stretch.from = StreamSeq(seq);
            }
            stretch.messages += 1;
            stretch.to = StreamSeq(seq);
            stretch.events.extend(event_of(&message, StreamSeq(seq)));
        }
        self.next = StreamSeq(stretch.to.0 + 1);
        Ok(Some(stretch))
    }
}

/// Fences and foreign messages are no events.
fn event_of(message: &async_nats::Message, seq: StreamSeq) -> Option<Placed> {
    let headers = message.headers.as_ref()?;
    let event_id = headers.get(envelope::ID)?.as_str().parse().ok()?;
    let key = headers.get(envelope::SUBJECT)?.as_str();
    Some(Placed {
        seq,
        shard: Shard::of_key(key),
        event_id,
    })
}
