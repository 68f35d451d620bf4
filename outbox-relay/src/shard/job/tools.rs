//! What every turn works with.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Notify;

use crate::config::RelayConfig;
use crate::metrics::Metrics;
use crate::stream::broker::Broker;

/// What every job works with.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The database.
    pub pool: PgPool,
    /// The broker.
    pub broker: Broker,
    /// The metrics.
    pub metrics: Metrics,
    /// This instance's name.
    pub owner: Arc<str>,
    /// Sizes and policies.
    pub config: RelayConfig,
    /// Has the stream looked at.
    pub look_now: Arc<Notify>,
}
