//! `GET /v1/stats`: who is there of all public games together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Json;
use axum::extract::State;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Stats, repo};
use crate::app::App;
use crate::database::{Failures, bounded};
use crate::gateway::Gateway;
use crate::http::extract::{NoMembers, StrictQuery};
use crate::problem::{Problem, Reason};

/// The counts as of a moment ago: they are read over the whole table, so not for everyone who asks.
#[derive(Debug, Default)]
pub(in crate::gateway) struct CachedStats {
    read: Mutex<Option<(Instant, Stats)>>,
    /// How often they could not be read.
    failures: AtomicU32,
}

impl CachedStats {
    /// The counts, not older than an interval. One who asks reads, the others wait for it, also if
    /// nothing comes of it: if each tried for itself, the last would wait for all of them.
    pub(in crate::gateway) async fn get(&self, gateway: &Gateway) -> Result<Stats, Problem> {
        let age_max = gateway.config().presence_every;
        let failures = self.failures.load(Ordering::Acquire);
        let mut cached = self.read.lock().await;
        if self.failures.load(Ordering::Acquire) != failures {
            return Err(Reason::Unavailable.into());
        }
        if let Some((read, stats)) = *cached
            && read.elapsed() < age_max
        {
            return Ok(stats);
        }
        match bounded(repo::stats(gateway.pool())).await {
            Ok(stats) => {
                *cached = Some((Instant::now(), stats));
                Ok(stats)
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::AcqRel);
                Err(Failures::read(&error))
            }
        }
    }
}

/// `GET /v1/stats`
pub(in crate::gateway) async fn stats(
    State(app): State<Arc<App>>,
    StrictQuery(NoMembers {}): StrictQuery<NoMembers>,
) -> Result<Json<Stats>, Problem> {
    Ok(Json(app.gateway.stats().get(&app.gateway).await?))
}
