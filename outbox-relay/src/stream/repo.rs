//! Questions to the stream: what it is like, and a shard's last fence.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, Info};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use shared::envelope;
use shared::shard::Shard;
use shared::subjects::{STREAM, fence};
use time::OffsetDateTime;

use super::broker::Broker;
use super::error::BrokerError;
use crate::shard::fence::{Fence, StoredFence, StreamSeq};

/// "no message found".
const NO_MESSAGE: u64 = 10037;
/// "stream name already in use": another relay made it first.
const NAME_IN_USE: u64 = 10058;

/// The stream's settings and state, from its leader.
pub async fn info(broker: &Broker) -> Result<Info, BrokerError> {
    broker
        .ask(&format!("STREAM.INFO.{STREAM}"), &serde_json::json!({}))
        .await
}

/// Makes the stream. That another relay made it first is no error.
pub async fn create(broker: &Broker, config: Config) -> Result<(), BrokerError> {
    let mut context = jetstream::new(broker.client.clone());
    context.set_timeout(broker.answer_timeout());
    match context.create_stream(config).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(refused) if refused.error_code().0 == NAME_IN_USE => {
                Ok(())
            }
            CreateStreamErrorKind::JetStream(refused) => Err(BrokerError::Refused {
                code: refused.error_code().0,
                text: refused.to_string(),
            }),
            _ => Err(BrokerError::Away(error.to_string())),
        },
    }
}

/// A message as the server gives it, in base64.
#[derive(Deserialize)]
struct Stored {
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
}

/// A message from the stream's leader (a direct get may be answered by a follower that is behind).
async fn get(broker: &Broker, which: &Value) -> Result<Option<Stored>, BrokerError> {
    #[derive(Deserialize)]
    struct Answer {
        message: Stored,
    }
    let answer: Result<Answer, _> = broker.ask(&format!("STREAM.MSG.GET.{STREAM}"), which).await;
    match answer {
        Ok(answer) => Ok(Some(answer.message)),
        Err(BrokerError::Refused {
            code: NO_MESSAGE, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The shard's last fence. `None` if there is none.
pub async fn read_fence(broker: &Broker, shard: Shard) -> Result<Option<StoredFence>, BrokerError> {
    let question = serde_json::json!({ "last_by_subj": fence(shard) });
    let Some(stored) = get(broker, &question).await? else {
        return Ok(None);
    };
    let malformed = |why: String| BrokerError::Malformed(format!("fence of shard {shard}: {why}"));
    let payload = BASE64_STANDARD
        .decode(stored.data)
        .map_err(|error| malformed(error.to_string()))?;
    let fence: Fence =
        serde_json::from_slice(&payload).map_err(|error| malformed(error.to_string()))?;
    Ok(Some(StoredFence {
        time: Some(stored.time),
        ..StoredFence::new(StreamSeq(stored.seq), fence)
    }))
}

/// Whether the batch that a fence began is in the stream to its end. The server stores all of it or
/// none, but a store that lost its newest bytes may have kept the fence and not what followed. What
/// has expired since counts as stored.
pub async fn is_whole(broker: &Broker, fence: &StoredFence) -> Result<bool, BrokerError> {
    let Some(last) = fence.fence.events.last() else {
        return Ok(true);
    };
    let end = fence.end();
    match get(broker, &serde_json::json!({ "seq": end.0 })).await? {
        Some(stored) => Ok(event_id(&stored.hdrs).is_some_and(|id| id == last.1.to_string())),
        None => Ok(info(broker).await?.state.last_sequence >= end.0),
    }
}

/// Looks whether an event that a fence announces stands, or stood until it expired, where the
/// database has recorded one of its shard's, and notes it in the fence.
pub async fn look_behind(
    broker: &Broker,
    found: &mut StoredFence,
    recorded: StreamSeq,
) -> Result<(), BrokerError> {
    if recorded <= found.at || found.fence.announced.is_empty() {
        return Ok(());
    }
    let is_there = match get(broker, &serde_json::json!({ "seq": recorded.0 })).await? {
        Some(stored) => event_id(&stored.hdrs).is_some_and(|id| {
            let announced = &found.fence.announced;
            announced.iter().any(|event| event.1.to_string() == id)
        }),
        None => has_expired(broker, found).await?,
    };
    if is_there {
        found.seen = recorded;
    }
    Ok(())
}

/// Whether what a fence announced may have outlived the stream's maximum age, as it is now or was
/// then. Fences do not expire, and the stream's other limits take an older fence before a younger
/// event.
async fn has_expired(broker: &Broker, fence: &StoredFence) -> Result<bool, BrokerError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(with = "time::serde::rfc3339")]
        ts: OffsetDateTime,
        config: MaxAge,
    }
    #[derive(Deserialize)]
    struct MaxAge {
        /// Nanoseconds; 0 is for ever.
        max_age: u64,
    }
    let question = serde_json::json!({});
    let answer: Answer = broker
        .ask(&format!("STREAM.INFO.{STREAM}"), &question)
        .await?;
    let then = Duration::from_millis(fence.fence.max_age_ms);
    let now = Duration::from_nanos(answer.config.max_age);
    let max_age = [then, now].into_iter().filter(|age| !age.is_zero()).min();
    let ends = max_age.and_then(|max_age| Some(fence.time? + max_age));
    Ok(ends.is_some_and(|ends| ends <= answer.ts))
}

/// The event's id among a message's headers.
fn event_id(headers: &str) -> Option<String> {
    let headers = String::from_utf8(BASE64_STANDARD.decode(headers).ok()?).ok()?;
    headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == envelope::ID).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_id_is_found_among_its_headers() {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let headers = "NATS/1.0\r\nNats-Batch-Id: x\r\nce-id: 0199-7\r\nce-type: t\r\n\r\n";
        assert_eq!(event_id(&encode(headers)).as_deref(), Some("0199-7"));
        assert_eq!(event_id(&encode("NATS/1.0\r\n\r\n")), None);
        assert_eq!(event_id("not base64"), None);
    }
}
