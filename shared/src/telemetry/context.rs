//! W3C Trace Context (level 1): the ids of a span, their header form, and the carrier that an
//! outbox row stores.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::{Deserialize, Serialize};

/// A `tracestate` longer than this is not kept (the specification asks for at least 512).
const TRACESTATE_BYTES_MAX: usize = 512;

/// What an outbox row stores of a trace, as `{traceparent, tracestate?}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    /// The `traceparent` header; absent in rows of producers that do not trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The `tracestate` header, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

/// The ids of one span and whether it is sampled.
#[derive(Clone, Debug)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// A new trace of which nothing is recorded: only ids.
    #[must_use]
    pub fn unrecorded() -> Self {
        Self::from_ids(
            TraceId::from_bytes(random_bytes()),
            SpanId::from_bytes(random_half()),
            false,
        )
    }

    /// The same trace under a new span id that is not recorded.
    #[must_use]
    pub fn unrecorded_child(&self) -> Self {
        Self(SpanContext::new(
            self.0.trace_id(),
            SpanId::from_bytes(random_half()),
            self.0.trace_flags(),
            false,
            self.0.trace_state().clone(),
        ))
    }

    /// Reads a `traceparent` header, and `tracestate` beside it. `None` if it is not valid.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if !hex(version, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        if !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        let trace = TraceId::from_hex(trace).ok()?;
        let span = SpanId::from_hex(span).ok()?;
        if trace == TraceId::INVALID || span == SpanId::INVALID {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let state = tracestate
            .filter(|text| text.len() <= TRACESTATE_BYTES_MAX)
            .and_then(|text| text.parse::<TraceState>().ok())
            .unwrap_or_default();
        Some(Self(SpanContext::new(trace, span, flags, true, state)))
    }

    /// The context that an outbox row or a message carries, if it carries a valid one.
    #[must_use]
    pub fn from_carrier(carrier: &Carrier) -> Option<Self> {
        Self::parse(
            carrier.traceparent.as_deref()?,
            carrier.tracestate.as_deref(),
        )
    }

    /// The header form: `00-<trace>-<span>-<flags>`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            self.0.trace_id(),
            self.0.span_id(),
            u8::from(self.0.is_sampled())
        )
    }

    /// For an outbox row.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        let state = self.0.trace_state().header();
        Carrier {
            traceparent: Some(self.traceparent()),
            tracestate: (!state.is_empty()).then_some(state),
        }
    }

    /// The trace's id, 32 hexadecimal digits: what one looks up in Jaeger.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Whether somebody records this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// The same ids under another sampling decision.
    #[must_use]
    pub fn with_sampled(&self, sampled: bool) -> Self {
        Self(SpanContext::new(
            self.0.trace_id(),
            self.0.span_id(),
            if sampled {
                TraceFlags::SAMPLED
            } else {
                TraceFlags::NOT_SAMPLED
            },
            self.0.is_remote(),
            self.0.trace_state().clone(),
        ))
    }

    pub(super) fn from_span_context(context: SpanContext) -> Self {
        Self(context)
    }

    pub(super) fn span_context(&self) -> &SpanContext {
        &self.0
    }

    fn from_ids(trace: TraceId, span: SpanId, sampled: bool) -> Self {
        let flags = if sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::NOT_SAMPLED
        };
        Self(SpanContext::new(
            trace,
            span,
            flags,
            false,
            TraceState::default(),
        ))
    }
}

/// Random bytes for a trace id.
#[expect(clippy::disallowed_methods, reason = "random bytes, not an id of ours")]
fn random_bytes() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// Random bytes for a span id. The middle bytes of a v4 UUID hold its version and variant; the last
/// eight keep 62 random bits, which never are all zero together with a set variant bit.
fn random_half() -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&random_bytes()[8..]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_header_comes_back_as_it_was() {
        let context = TraceContext::parse(VALID, Some("a=1")).unwrap();
        assert_eq!(context.traceparent(), VALID);
        assert_eq!(context.carrier().tracestate.as_deref(), Some("a=1"));
        assert_eq!(
            TraceContext::from_carrier(&context.carrier())
                .unwrap()
                .traceparent(),
            VALID
        );
    }

    #[test]
    fn malformed_headers_are_refused() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert!(TraceContext::parse(bad, None).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn made_up_ids_are_valid() {
        let context = TraceContext::unrecorded();
        assert!(!context.is_sampled());
        assert!(TraceContext::parse(&context.traceparent(), None).is_some());
        let child = context.unrecorded_child();
        assert_eq!(child.trace_id(), context.trace_id());
        assert_ne!(child.traceparent(), context.traceparent());
    }
}
