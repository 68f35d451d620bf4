//! Which rows go into a batch. Pure.

use shared::ids::EventId;
use shared::telemetry::Carrier;
use time::OffsetDateTime;

use crate::shard::fence::EventRef;

/// What the server adds to a message's size for its protocol: subject, reply and header framing.
const MESSAGE_OVERHEAD_BYTES: usize = 2_048;

/// A waiting row of `outbox_events`.
#[derive(Clone, Debug)]
pub struct Row {
    /// The row's id within the outbox.
    pub id: i64,
    /// The event's id.
    pub event_id: EventId,
    /// The aggregate.
    pub key: String,
    /// Where to publish.
    pub subject: String,
    /// `CloudEvents` type.
    pub event_type: String,
    /// JSON text.
    pub payload: String,
    /// The trace that the event continues.
    pub carrier: Carrier,
    /// How often the broker refused this event.
    pub attempt_count: i32,
    /// When it was appended, by the database's clock.
    pub created_at: OffsetDateTime,
    /// When it was read, by the same clock.
    pub read_at: OffsetDateTime,
}

impl Row {
    /// How a fence names it.
    #[must_use]
    pub fn event_ref(&self) -> EventRef {
        EventRef(self.id, self.event_id.0)
    }
}

/// Why an event can never be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The broker does not take messages of that size.
    #[error("the message has {bytes} bytes, and the broker takes at most {max}")]
    TooLarge {
        /// Its size with headers, about.
        bytes: usize,
        /// The broker's limit.
        max: usize,
    },
    /// Not a subject of the stream, or a fence's.
    #[error("the subject {0:?} is not of the form events.<kind>.<id>")]
    BadSubject(String),
    /// A header cannot hold it.
    #[error("{0} is empty or holds a control character")]
    BadHeader(&'static str),
    /// The broker refused it alone, again and again.
    #[error("the broker refused it alone, again and again, with {code}: {text}")]
    Refused {
        /// The server's number for the refusal.
        code: u64,
        /// Its words.
        text: String,
    },
}

/// Whether a row can be published at all.
///
/// # Errors
/// Why not.
pub fn check(row: &Row, max_payload: usize) -> Result<(), Impossible> {
    if !is_event_subject(&row.subject) {
        return Err(Impossible::BadSubject(
            row.subject.chars().take(80).collect(),
        ));
    }
    for (name, value) in [("key", &row.key), ("type", &row.event_type)] {
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(Impossible::BadHeader(name));
        }
    }
    let bytes = row.payload.len()
        + row.key.len()
        + row.event_type.len()
        + row.subject.len()
        + row.carrier.tracestate.as_ref().map_or(0, String::len)
        + MESSAGE_OVERHEAD_BYTES;
    if bytes > max_payload {
        return Err(Impossible::TooLarge {
            bytes,
            max: max_payload,
        });
    }
    Ok(())
}

/// `events.<kind>.<id>` with the tokens that `outbox_append` allows, and not a fence.
fn is_event_subject(subject: &str) -> bool {
    let Some(rest) = subject.strip_prefix("events.") else {
        return false;
    };
    let token = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    rest.contains('.')
        && rest.split('.').all(token)
        && !rest.starts_with("fence.")
        && subject.len() <= 200
}

/// The rows that go into the next batch: all, or those before the first that cannot be published.
/// `Err` if that is the very first.
///
/// # Errors
/// The first row cannot be published, and why.
pub fn sendable(rows: &[Row], max_payload: usize) -> Result<usize, Impossible> {
    for (index, row) in rows.iter().enumerate() {
        match check(row, max_payload) {
            Ok(()) => {}
            Err(why) if index == 0 => return Err(why),
            Err(_) => return Ok(index),
        }
    }
    Ok(rows.len())
}

/// How many rows a shard's next batch may have. Each failure without an outage halves it, down to
/// one event alone; each success doubles it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    now: usize,
    max: usize,
}

impl BatchLimit {
    /// The full size.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { now: max, max }
    }

    /// Rows the next batch may have.
    #[must_use]
    pub fn rows(self) -> usize {
        self.now
    }

    /// A batch of `rows` was refused.
    pub fn shrink(&mut self, rows: usize) {
        self.now = (rows.min(self.now) / 2).max(1);
    }

    /// A batch was stored.
    pub fn grow(&mut self) {
        self.now = (self.now * 2).min(self.max);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn row(id: i64, subject: &str, payload_bytes: usize) -> Row {
        Row {
            id,
            event_id: EventId::generate(),
            key: "k".to_owned(),
            subject: subject.to_owned(),
            event_type: "t.v1".to_owned(),
            payload: "x".repeat(payload_bytes),
            carrier: Carrier::default(),
            attempt_count: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
            read_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_impossible_row_ends_the_batch_before_it() {
        let rows = [row(1, "events.game.a", 10), row(2, "elsewhere", 10)];
        assert_eq!(sendable(&rows, 1 << 20), Ok(1));
        assert!(matches!(
            sendable(&rows[1..], 1 << 20),
            Err(Impossible::BadSubject(_))
        ));
        let large = [row(1, "events.game.a", 1 << 20)];
        assert!(matches!(
            sendable(&large, 1 << 20),
            Err(Impossible::TooLarge { .. })
        ));
    }

    #[test]
    fn subjects_that_a_stream_of_events_does_not_take() {
        for bad in [
            "",
            "events",
            "events.game",
            "events.fence.3",
            "events..a",
            "events.game.*",
            "events.game.>",
            "events.game.a b",
            "other.game.a",
            "events.game.a\r\n",
        ] {
            assert!(check(&row(1, bad, 1), 1 << 20).is_err(), "{bad:?}");
        }
        assert!(check(&row(1, "events.game.0190-ab_C.x", 1), 1 << 20).is_ok());
    }

    proptest! {
        #[test]
        fn a_limit_stays_between_one_and_its_maximum(
            max in 1_usize..1000,
            steps in proptest::collection::vec(any::<bool>(), 0..40),
        ) {
            let mut limit = BatchLimit::new(max);
            for shrink in steps {
                if shrink { limit.shrink(limit.rows()) } else { limit.grow() }
                prop_assert!((1..=max).contains(&limit.rows()));
            }
        }
    }

    #[test]
    fn ten_refusals_leave_one_event_alone() {
        let mut limit = BatchLimit::new(999);
        for _ in 0..10 {
            limit.shrink(limit.rows());
        }
        assert_eq!(limit.rows(), 1);
    }
}
