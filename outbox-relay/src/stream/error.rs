//! What can go wrong between the relay and the broker, by what to do about it.

/// The server's number for one kind of refusal (`err_code` of its JSON answers).
pub type Code = u64;

/// Why a question to the broker was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// No answer: unreachable, frozen, or without `JetStream`. To be tried again after a pause.
    #[error("the broker does not answer: {0}")]
    Away(String),
    /// The stream does not exist.
    #[error("the stream does not exist")]
    NoStream,
    /// The server refused.
    #[error("the broker refused with {code}: {text}")]
    Refused {
        /// Its number for the refusal.
        code: Code,
        /// Its words.
        text: String,
    },
    /// An answer that cannot be read.
    #[error("the broker's answer cannot be read: {0}")]
    Malformed(String),
}

/// What kind of refusal a batch met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The fence is not the last one any more.
    Stale,
    /// The server has no room or no leader now. To be tried again after a pause.
    Busy,
    /// This batch, as it is. Smaller ones may pass.
    Batch,
}

/// Wrong last sequence: another fence came in between.
const WRONG_LAST_SEQUENCE: Code = 10071;
/// The same, in the server's other wording.
const WRONG_LAST_SEQUENCE_CONSTANT: Code = 10164;
/// A batch on the same subject is being stored: what comes of it is not known yet.
const LAST_SEQUENCE_NOT_READY: Code = 10163;
/// A message is larger than the stream takes.
const MESSAGE_TOO_LARGE: Code = 10054;
/// The atomic batch's own faults: unsupported header, too many messages, duplicate ids.
const BATCH_FAULTS: [Code; 3] = [10177, 10199, 10201];
/// Bad request: some message of the batch is not to the server's liking.
const BAD_REQUEST: Code = 10003;

/// Sorts a refusal. What is not known to lie in the batch is taken to lie in the broker: pausing
/// loses nothing, a dead letter would.
#[must_use]
pub fn classify(code: Code) -> Refusal {
    match code {
        WRONG_LAST_SEQUENCE | WRONG_LAST_SEQUENCE_CONSTANT | LAST_SEQUENCE_NOT_READY => {
            Refusal::Stale
        }
        MESSAGE_TOO_LARGE | BAD_REQUEST => Refusal::Batch,
        code if BATCH_FAULTS.contains(&code) => Refusal::Batch,
        // 10210 more than 50 batches in flight, 10176 abandoned after 10 s, 10077 cannot store,
        // 10023 and 10047 no resources, 10008 and 10009 no leader, and whatever else there is.
        _ => Refusal::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_seen_on_the_server_are_sorted() {
        assert_eq!(classify(10071), Refusal::Stale);
        assert_eq!(classify(10164), Refusal::Stale);
        assert_eq!(classify(10210), Refusal::Busy);
        assert_eq!(classify(10176), Refusal::Busy);
        assert_eq!(classify(10054), Refusal::Batch);
        assert_eq!(classify(99_999), Refusal::Busy);
    }
}
