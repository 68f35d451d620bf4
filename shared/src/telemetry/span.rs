//! Starting spans. A trace that nobody samples costs no span: only its ids travel.

use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::context::TraceContext;

/// The root sampler, once an exporter is set up.
pub(super) static ROOT_SAMPLER: OnceLock<Sampler> = OnceLock::new();

/// A span with its ids; the span is disabled where nobody records it.
#[derive(Debug)]
pub struct Traced {
    /// The `tracing` span, ended when the last handle is dropped.
    pub span: Span,
    /// Its ids, to be passed on.
    pub context: TraceContext,
}

/// Whether this process exports spans at all.
#[must_use]
pub fn exporting() -> bool {
    ROOT_SAMPLER.get().is_some()
}

/// Starts a span under `parent`. `make` is called only if the span is going to be recorded; it
/// makes a `tracing` span with `target: "otel"` (others are not exported) and the fields
/// `otel.kind` and, for a name that varies, `otel.name`.
pub fn start(parent: &TraceContext, make: impl FnOnce() -> Span) -> Traced {
    if !exporting() || !parent.is_sampled() {
        return Traced {
            span: Span::none(),
            context: parent.unrecorded_child(),
        };
    }
    recorded(Some(parent), make)
}

/// Starts the first span of a request. A client's valid `traceparent` is continued; its sampled
/// flag counts only if the client is `trusted`, otherwise this process's own sampler decides.
pub fn start_request(
    incoming: Option<TraceContext>,
    trusted: bool,
    make: impl FnOnce() -> Span,
) -> Traced {
    let Some(sampler) = ROOT_SAMPLER.get() else {
        let context = incoming.map_or_else(TraceContext::unrecorded, |parent| {
            let parent = parent.unrecorded_child();
            if trusted {
                parent
            } else {
                parent.with_sampled(false)
            }
        });
        return Traced {
            span: Span::none(),
            context,
        };
    };
    let parent = match incoming {
        Some(parent) if trusted => parent,
        Some(parent) => {
            let record = decide(sampler, parent.span_context().trace_id());
            parent.with_sampled(record)
        }
        None => {
            let root = TraceContext::unrecorded();
            if !decide(sampler, root.span_context().trace_id()) {
                return Traced {
                    span: Span::none(),
                    context: root,
                };
            }
            return recorded(None, make);
        }
    };
    start(&parent, make)
}

fn decide(sampler: &Sampler, trace_id: TraceId) -> bool {
    let result = sampler.should_sample(None, trace_id, "request", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

fn recorded(parent: Option<&TraceContext>, make: impl FnOnce() -> Span) -> Traced {
    let span = make();
    if let Some(parent) = parent {
        let remote = Context::new().with_remote_span_context(parent.span_context().clone());
        if let Err(error) = span.set_parent(remote) {
            tracing::debug!(?error, "the span could not be given its parent");
        }
    }
    let context = span.context().span().span_context().clone();
    if context.is_valid() {
        return Traced {
            span,
            context: TraceContext::from_span_context(context),
        };
    }
    let context = parent.map_or_else(TraceContext::unrecorded, TraceContext::unrecorded_child);
    Traced { span, context }
}
