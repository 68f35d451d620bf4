//! What the server says over the WebSocket beside frames.

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;

use crate::problem::Problem;

/// A message that is made for one socket.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outbound<'a> {
    /// The socket is open; `now_ms` is the database's time.
    Welcome {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// The frames after the cursor follow if `resumed`, else a snapshot.
    Subscribed {
        /// The client's name for the request.
        #[serde(rename = "ref")]
        reference: &'a str,
        /// The topic.
        topic: &'a str,
        /// Whether the cursor was taken up.
        resumed: bool,
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// No more frames of the topic follow.
    Unsubscribed {
        /// The client's name for the request.
        #[serde(rename = "ref")]
        reference: &'a str,
        /// The topic.
        topic: &'a str,
    },
    /// The command made an event.
    Ack {
        /// The client's name for the request.
        #[serde(rename = "ref")]
        reference: &'a str,
        /// The event's number for the player.
        n: i64,
        /// The cursor of who has seen it.
        cursor: &'a str,
        /// Whether an earlier sending had made it.
        duplicate: bool,
        /// What one looks up in the traces.
        trace_id: &'a str,
    },
    /// A refusal.
    Error {
        /// The client's name for the request; none if it concerns the socket.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// The word for it.
        reason: &'static str,
        /// The sentence.
        detail: &'a str,
    },
    /// The answer to a ping.
    Pong {
        /// The client's name for the request.
        #[serde(rename = "ref")]
        reference: &'a str,
    },
    /// The instance goes: come back, to any other, after this time.
    Reconnect {
        /// Milliseconds.
        after_ms: u64,
    },
}

impl<'a> Outbound<'a> {
    /// A refusal.
    pub(super) fn error(reference: Option<&'a str>, problem: &'a Problem) -> Self {
        Self::Error {
            reference,
            reason: problem.reason.as_str(),
            detail: &problem.detail,
        }
    }

    /// The message's `type`, by which it is counted.
    #[must_use]
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Ack { .. } => "ack",
            Self::Error { .. } => "error",
            Self::Pong { .. } => "pong",
            Self::Reconnect { .. } => "reconnect",
        }
    }

    /// The JSON text.
    #[must_use]
    pub(super) fn text(&self) -> Utf8Bytes {
        let text = serde_json::to_string(self).unwrap_or_else(|error| {
            unreachable!("a message has text keys and serializes: {error}");
        });
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Reason;

    #[test]
    fn messages_have_the_members_of_the_protocol() {
        let problem = Problem::new(Reason::Stale, "later");
        for (message, expected) in [
            (
                Outbound::Welcome { now_ms: 5 },
                r#"{"type":"welcome","now_ms":5}"#,
            ),
            (
                Outbound::Subscribed {
                    reference: "a",
                    topic: "game:x",
                    resumed: true,
                    now_ms: 5,
                },
                r#"{"type":"subscribed","ref":"a","topic":"game:x","resumed":true,"now_ms":5}"#,
            ),
            (
                Outbound::Ack {
                    reference: "a",
                    n: 3,
                    cursor: "c",
                    duplicate: false,
                    trace_id: "t",
                },
                r#"{"type":"ack","ref":"a","n":3,"cursor":"c","duplicate":false,"trace_id":"t"}"#,
            ),
            (
                Outbound::error(Some("a"), &problem),
                r#"{"type":"error","ref":"a","reason":"stale","detail":"later"}"#,
            ),
            (
                Outbound::error(None, &problem),
                r#"{"type":"error","reason":"stale","detail":"later"}"#,
            ),
            (
                Outbound::Pong { reference: "a" },
                r#"{"type":"pong","ref":"a"}"#,
            ),
            (
                Outbound::Reconnect { after_ms: 9 },
                r#"{"type":"reconnect","after_ms":9}"#,
            ),
        ] {
            assert_eq!(message.text().as_str(), expected);
            assert!(expected.starts_with(&format!("{{\"type\":\"{}\"", message.kind())));
        }
    }
}
