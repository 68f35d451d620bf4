//! The ops port: `/metrics`, `/livez`, `/readyz`, `/health`. Never the public port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};

/// Whether the service can do its work right now; `Err` says why not.
pub type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the ops port serves.
#[derive(Clone)]
pub struct Ops {
    registry: Registry,
    ready: Arc<AtomicBool>,
    readiness: Probe,
    health: Probe,
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ops")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl Ops {
    /// Not ready until [`Self::set_ready`]; `readiness` is asked on top of that, `health` is the
    /// deploy gate.
    #[must_use]
    pub fn new(registry: Registry, readiness: Probe, health: Probe) -> Self {
        Self {
            registry,
            ready: Arc::new(AtomicBool::new(false)),
            readiness,
            health,
        }
    }

    /// Says whether load balancers may send work here; a drain begins with `false`.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// The routes of the ops port.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/health", get(health))
            .with_state(self)
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&ops.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readyz(State(ops): State<Ops>) -> Response {
    if !ops.ready.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or draining\n").into_response();
    }
    answer(&ops.readiness)
}

async fn health(State(ops): State<Ops>) -> Response {
    answer(&ops.health)
}

fn answer(probe: &Probe) -> Response {
    match probe() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
