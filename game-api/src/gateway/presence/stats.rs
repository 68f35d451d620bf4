//! `GET /v1/stats`: who is there of all public games together.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Stats, repo};
use crate::app::App;
use crate::database::{Failures, bounded};
use crate::gateway::Gateway;
use crate::http::extract::{NoMembers, StrictQuery};
use crate::problem::Problem;

/// The counts as of a moment ago: they are read over the whole table, so not for everyone who asks.
#[derive(Debug, Default)]
pub(in crate::gateway) struct CachedStats(Mutex<Option<(Instant, Stats)>>);

impl CachedStats {
    /// The counts, not older than an interval. One who asks reads, the others wait for it.
    pub(in crate::gateway) async fn get(&self, gateway: &Gateway) -> Result<Stats, Problem> {
        let age_max = gateway.config().presence_every;
        let mut cached = self.0.lock().await;
        if let Some((read, stats)) = *cached
            && read.elapsed() < age_max
        {
            return Ok(stats);
        }
        let stats = bounded(repo::stats(gateway.pool()))
            .await
            .map_err(|error| Failures::read(&error))?;
        *cached = Some((Instant::now(), stats));
        Ok(stats)
    }
}

/// `GET /v1/stats`
pub(in crate::gateway) async fn stats(
    State(app): State<Arc<App>>,
    StrictQuery(NoMembers {}): StrictQuery<NoMembers>,
) -> Result<Json<Stats>, Problem> {
    Ok(Json(app.gateway.stats().get(&app.gateway).await?))
}
