//! Around every request: its trace, its duration, and an answer even to a panic.
//!
//! Handlers find the request's [`TraceContext`] in its extensions; every response says it in
//! `traceparent`.

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use shared::envelope::{TRACEPARENT, TRACESTATE};
use shared::telemetry::{TraceContext, Traced, start_request};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::peer;
use crate::app::App;
use crate::problem;

/// The `route` of what no route matched: raw paths never become labels.
pub const UNMATCHED: &str = "unmatched";

/// Observes one request.
pub async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_name(request.method());
    let route = route(&request);
    let Traced { span, context } = start(&app, &request, method, &route);
    request.extensions_mut().insert(context.clone());

    let answered = AssertUnwindSafe(next.run(request).instrument(span.clone()))
        .catch_unwind()
        .await;
    let mut response = answered.unwrap_or_else(|panic| panicked(&*panic, method, &route));

    let status = response.status();
    record_status(&span, status);
    app.metrics
        .http_request_duration_seconds
        .with_label_values(&[method, route.as_str(), status.as_str()])
        .observe(started.elapsed().as_secs_f64());
    add_headers(response.headers_mut(), &context);
    response
}

fn start(app: &App, request: &Request, method: &'static str, route: &str) -> Traced {
    let address = peer(request.extensions());
    let trusted = app.config.trace_trusted.contain(address);
    start_request(incoming(request.headers()), trusted, || {
        server_span(request, method, route, address)
    })
}

fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(text(TRACEPARENT)?, text(TRACESTATE))
}

/// Attributes of the OpenTelemetry semantic conventions for HTTP servers. The query is left out:
/// it may hold a ticket.
fn server_span(request: &Request, method: &str, route: &str, address: IpAddr) -> Span {
    tracing::info_span!(
        target: "otel",
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.r#type = Empty,
        url.path = request.uri().path(),
        client.address = %address,
    )
}

fn record_status(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
}

fn route(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or(UNMATCHED, MatchedPath::as_str).to_owned()
}

/// A closed set: a client may send any word as a method.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn panicked(panic: &(dyn Any + Send), method: &str, route: &str) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    tracing::error!(
        method,
        route,
        panic = text,
        "a handler panicked, the client was told nothing of it"
    );
    problem::internal()
}

fn add_headers(headers: &mut HeaderMap, context: &TraceContext) {
    if let Ok(value) = HeaderValue::try_from(context.traceparent()) {
        headers.insert(TRACEPARENT, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // What depends on who asks, and on when, is not for caches; the page says otherwise itself.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
