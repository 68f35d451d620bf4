//! The messages of a batch: `CloudEvents` headers, the trace, and the spans that go with them.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use opentelemetry::trace::TraceContextExt;
use shared::envelope;
use shared::subjects::STREAM;
use shared::telemetry::{Carrier, TraceContext, Traced, exporting, start};
use time::format_description::well_known::Rfc3339;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::entity::Row;

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where to.
    pub subject: String,
    /// Its headers, without those of the batch.
    pub headers: HeaderMap,
    /// Its payload.
    pub payload: Bytes,
}

/// What `ce-source` says of events of that outbox.
#[must_use]
pub fn source_of(outbox: Uuid) -> String {
    format!("urn:uuid:{outbox}")
}

/// The message of one event. The second part is its span, where somebody records it: it ends when
/// that is dropped.
#[must_use]
pub fn message_of(row: &Row, source: &str) -> (Message, Option<Traced>) {
    let mut headers = HeaderMap::new();
    put(
        &mut headers,
        envelope::SPEC_VERSION,
        envelope::SPEC_VERSION_VALUE,
    );
    put(&mut headers, envelope::ID, &row.event_id.to_string());
    put(&mut headers, envelope::TYPE, &row.event_type);
    put(&mut headers, envelope::SOURCE, source);
    put(&mut headers, envelope::SUBJECT, &row.key);
    if let Ok(time) = row.created_at.format(&Rfc3339) {
        put(&mut headers, envelope::TIME, &time);
    }
    put(&mut headers, envelope::CONTENT_TYPE, envelope::JSON);
    let (carrier, traced) = continue_trace(row);
    if let Some(parent) = &carrier.traceparent {
        put(&mut headers, envelope::TRACEPARENT, parent);
        if let Some(state) = &carrier.tracestate {
            put(&mut headers, envelope::TRACESTATE, state);
        }
    }
    let message = Message {
        subject: row.subject.clone(),
        headers,
        payload: Bytes::copy_from_slice(row.payload.as_bytes()),
    };
    (message, traced)
}

/// A carrier of a recorded trace is continued by a span of its own; any other valid one goes
/// through as it is.
fn continue_trace(row: &Row) -> (Carrier, Option<Traced>) {
    let Some(parent) = TraceContext::from_carrier(&row.carrier) else {
        return (Carrier::default(), None);
    };
    if !exporting() || !parent.is_sampled() {
        return (row.carrier.clone(), None);
    }
    let traced = start(&parent, || publish_span(row));
    (traced.context.carrier(), Some(traced))
}

fn publish_span(row: &Row) -> Span {
    tracing::info_span!(
        target: "otel",
        "outbox.publish",
        otel.kind = "producer",
        messaging.system = "nats",
        messaging.operation.type = "send",
        messaging.operation.name = "publish",
        messaging.destination.name = %row.subject,
        messaging.message.id = %row.event_id,
        messaging.message.body.size = row.payload.len(),
        outbox.key = %row.key,
        outbox.attempt = row.attempt_count + 1,
    )
}

/// The span of a whole batch, linked to those of its events; `None` where nobody records any.
#[must_use]
pub fn batch_span(events: usize, traced: &[Traced]) -> Option<Span> {
    if traced.is_empty() {
        return None;
    }
    let span = tracing::info_span!(
        target: "otel",
        parent: None,
        "outbox.publish_batch",
        otel.kind = "client",
        messaging.system = "nats",
        messaging.operation.type = "send",
        messaging.operation.name = "publish",
        messaging.destination.name = STREAM,
        messaging.batch.message_count = events,
    );
    for event in traced {
        span.add_link(event.span.context().span().span_context().clone());
    }
    Some(span)
}

/// Sets a header. A value that a header cannot hold was refused before the batch.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = value.parse::<HeaderValue>() {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::entity::tests::row;

    #[test]
    fn an_event_becomes_a_cloud_event_in_binary_mode() {
        let mut row = row(1, "events.game.a", 3);
        row.carrier.traceparent =
            Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".to_owned());
        let (message, traced) = message_of(&row, &source_of(Uuid::from_u128(1)));
        let get = |name: &'static str| {
            message
                .headers
                .get(name)
                .map(|value| value.as_str().to_owned())
        };
        assert_eq!(get("ce-specversion").as_deref(), Some("1.0"));
        assert_eq!(get("ce-id"), Some(row.event_id.to_string()));
        assert_eq!(get("ce-subject").as_deref(), Some("k"));
        assert_eq!(get("ce-time").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(
            get("ce-source").as_deref(),
            Some("urn:uuid:00000000-0000-0000-0000-000000000001")
        );
        assert_eq!(get("traceparent"), row.carrier.traceparent);
        assert_eq!(get("tracestate"), None);
        assert!(traced.is_none(), "nobody records this trace");
        assert_eq!(&message.payload[..], b"xxx");
    }

    #[test]
    fn a_malformed_carrier_is_left_out() {
        let mut row = row(1, "events.game.a", 3);
        row.carrier.traceparent = Some("nonsense".to_owned());
        let (message, _) = message_of(&row, "urn:x");
        assert!(message.headers.get("traceparent").is_none());
    }
}
