//! The trace of an event that comes to this instance.

use shared::envelope;
use shared::ids::GameId;
use shared::subjects;
use shared::telemetry::{self, TraceContext};
use tracing::Span;

use crate::nats::Delivered;

/// The span of bringing one event to this instance's viewers; none if the trace is not recorded.
pub(super) fn deliver_span(trace: &TraceContext, game: GameId) -> Span {
    let traced = telemetry::start(trace, || {
        tracing::info_span!(
            target: "otel",
            "gateway.deliver",
            otel.kind = "consumer",
            messaging.system = "nats",
            messaging.operation.name = "deliver",
            messaging.operation.type = "process",
            messaging.destination.template = "events.game.*",
            messaging.destination.name = subjects::game(game),
        )
    });
    traced.span
}

/// The trace that a message continues, if it says so.
pub(super) fn message_trace(message: &Delivered<'_>) -> Option<TraceContext> {
    let parent = message.header(envelope::TRACEPARENT)?;
    TraceContext::parse(parent, message.header(envelope::TRACESTATE))
}
