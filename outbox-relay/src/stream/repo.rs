//! Questions to the stream: what it is like, and a shard's last fence.

use async_nats::jetstream;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, Info};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use shared::shard::Shard;
use shared::subjects::{STREAM, fence};

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

/// The shard's last fence, from the stream's leader (a direct get may be answered by a follower
/// that is behind). `None` if there is none.
pub async fn read_fence(broker: &Broker, shard: Shard) -> Result<Option<StoredFence>, BrokerError> {
    #[derive(Deserialize)]
    struct Answer {
        message: Stored,
    }
    #[derive(Deserialize)]
    struct Stored {
        seq: u64,
        #[serde(default)]
        data: String,
    }
    let question = serde_json::json!({ "last_by_subj": fence(shard) });
    let answer: Result<Answer, _> = broker
        .ask(&format!("STREAM.MSG.GET.{STREAM}"), &question)
        .await;
    let stored = match answer {
        Ok(answer) => answer.message,
        Err(BrokerError::Refused {
            code: NO_MESSAGE, ..
        }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let malformed = |why: String| BrokerError::Malformed(format!("fence of shard {shard}: {why}"));
    let payload = BASE64_STANDARD
        .decode(stored.data)
        .map_err(|error| malformed(error.to_string()))?;
    let fence: Fence =
        serde_json::from_slice(&payload).map_err(|error| malformed(error.to_string()))?;
    Ok(Some(StoredFence {
        at: StreamSeq(stored.seq),
        fence,
    }))
}
