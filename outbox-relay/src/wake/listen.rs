//! Hints over Postgres, for producers that have no NATS: `NOTIFY outbox_wake`.

use std::sync::Arc;
use std::time::Duration;

use shared::subjects::WAKE_CHANNEL;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::error::database_sentence;
use crate::metrics::{Metrics, WakeSource};
use crate::pause::backoff;

/// The first pause after the database did not answer.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Listens on a connection of its own until `stop`.
pub async fn watch(pool: PgPool, notify: Arc<Notify>, metrics: Metrics, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let error = tokio::select! {
            () = stop.cancelled() => return,
            error = listen(&pool, &notify, &metrics, &mut failures) => error,
        };
        tracing::warn!(
            "cannot listen, polling goes on: {}",
            database_sentence(&error)
        );
        let pause = backoff(failures, RETRY_MIN, RETRY_MAX, rand::random());
        failures = failures.saturating_add(1);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn listen(
    pool: &PgPool,
    notify: &Notify,
    metrics: &Metrics,
    failures: &mut u32,
) -> sqlx::Error {
    let mut listener = match PgListener::connect_with(pool).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    if let Err(error) = listener.listen(WAKE_CHANNEL).await {
        return error;
    }
    *failures = 0;
    notify.notify_one();
    loop {
        match listener.recv().await {
            Ok(_) => {
                metrics.woken(WakeSource::Listen);
                notify.notify_one();
            }
            Err(error) => return error,
        }
    }
}
