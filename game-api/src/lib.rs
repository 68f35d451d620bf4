//! Fogline's stateless game server: HTTP, WebSocket and SSE in front of games kept in Postgres.

pub mod app;
pub mod config;
pub mod database;
pub mod games;
pub mod gateway;
pub mod health;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod migrate;
pub mod mutants;
pub mod nats;
pub mod page;
pub mod players;
pub mod problem;
pub mod router;
pub mod rules;

use std::sync::Arc;
use std::time::Duration;

use shared::lifecycle::{Lifecycle, WorkerFailed};
use shared::ops::Ops;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;
use crate::database::Readiness;
use crate::http::serve::Terms;
use crate::nats::Nats;
use crate::players::credentials::wall_clock;
use crate::problem::Reason;

/// Connections to the ops port: a few scrapers and probes.
const OPS_CONNECTIONS_MAX: usize = 64;
/// A scraper that does not acknowledge an answer for so long is gone.
const OPS_ACKNOWLEDGE_MAX: Duration = Duration::from_secs(30);

/// The sockets that a caller has bound: the public one and the ops port.
#[derive(Debug)]
pub struct Listeners {
    /// HTTP and WebSocket for clients.
    pub public: TcpListener,
    /// `/metrics` and probes.
    pub ops: TcpListener,
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The NATS client refused its settings.
    #[error("the NATS client could not be made")]
    Nats(#[from] async_nats::ConnectError),
    /// A metric that cannot be registered.
    #[error("the metrics could not be registered")]
    Metrics(#[from] prometheus::Error),
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailed),
}

/// Runs until a signal or a failed worker, then drains. Neither Postgres nor NATS needs to be
/// there at the start: `/readyz` says when they have answered.
///
/// # Errors
/// A worker that failed, or settings that cannot be used.
pub async fn run(config: Config, listeners: Listeners, life: Lifecycle) -> Result<(), RunError> {
    let drain_deadline = config.drain_deadline;
    let pool = database::pool(&config.database, &config.instance);
    let nats = Nats::connect(&config.nats, &config.instance).await?;
    let app = App::build(config, pool, nats, wall_clock(), &life)?;
    serve(app, listeners);
    life.run_until_signal(drain_deadline).await?;
    Ok(())
}

/// Starts both ports of an instance; they end with its life. Nobody else should keep the instance:
/// what writes for it goes on until the last one who could ask for a write is gone.
pub fn serve(app: Arc<App>, listeners: Listeners) {
    let life = &app.life.clone();
    let readiness = Readiness::watch(app.pool.clone(), life);
    let ops = ops(&app, readiness);
    // From here on the probe alone says what is missing.
    ops.set_ready(true);
    let (drained, draining) = (ops.clone(), life.draining());
    life.spawn_task("readiness off", async move {
        draining.cancelled().await;
        drained.set_ready(false);
    });
    let rejected = &app.metrics.gateway_rejected_total;
    let terms = Terms {
        connections_max: app.config.listen.connections_max,
        // A quiet stream is written to once a heartbeat: so one whose client is gone is found
        // within two.
        acknowledge_max: app.config.gateway.heartbeat,
        late: Some(rejected.with_label_values(&[Reason::Invalid.as_str()])),
    };
    life.spawn_worker(
        "public port",
        http::serve::serve(listeners.public, router::router(app), terms, life.clone()),
    );
    serve_ops(ops, listeners.ops, life);
}

/// The ops port. It has a life of its own, so that probes and scrapes go on during the drain and
/// the drain does not wait for them.
fn serve_ops(ops: Ops, listener: TcpListener, life: &Lifecycle) {
    let own = Lifecycle::new();
    let terms = Terms {
        connections_max: OPS_CONNECTIONS_MAX,
        acknowledge_max: OPS_ACKNOWLEDGE_MAX,
        late: None,
    };
    own.spawn_worker(
        "ops port",
        http::serve::serve(listener, ops.router(), terms, own.clone()),
    );
    let (failed, draining) = (own.draining(), life.draining());
    life.spawn_worker("ops port", async move {
        tokio::select! {
            () = failed.cancelled() => {}
            () = draining.cancelled() => {}
        }
    });
}

fn ops(app: &Arc<App>, readiness: Readiness) -> Ops {
    let health = app.health.clone();
    Ops::new(
        app.metrics.registry(),
        Arc::new(move || readiness.check()),
        Arc::new(move || health.check()),
    )
}
