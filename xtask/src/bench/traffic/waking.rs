//! The ways in which a producer can tell relays that rows wait.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Where relays hear hints.
const HINTS: &str = "outbox.wake";

/// How a producer wakes relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waking {
    /// Not at all: the relay polls.
    Nothing,
    /// `NOTIFY outbox_wake` in the transaction itself.
    NotifyInside,
    /// `NOTIFY outbox_wake` in a statement of its own after the commit, one for however many commits
    /// there were meanwhile.
    NotifyAfter,
    /// An empty message on `outbox.wake` after the commit, also one for however many.
    Hint,
}

impl Waking {
    /// All, the cheapest to build first.
    pub(crate) const ALL: [Self; 4] = [
        Self::Nothing,
        Self::Hint,
        Self::NotifyAfter,
        Self::NotifyInside,
    ];

    /// In reports.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Nothing => "polling alone",
            Self::NotifyInside => "NOTIFY in the transaction",
            Self::NotifyAfter => "NOTIFY after the commit",
            Self::Hint => "hint on outbox.wake after the commit",
        }
    }
}

/// What producers ring after a commit. Whoever rings does not wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    /// Something was committed.
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    /// Passes ringing on in the given way, until the returned tasks are dropped.
    pub(crate) async fn pass_on(
        &self,
        waking: Waking,
        nats_url: &str,
        postgres_url: &str,
    ) -> Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let bell = Arc::clone(&self.0);
        match waking {
            Waking::Nothing | Waking::NotifyInside => {}
            Waking::Hint => {
                let nats = e2e::supervisor::connect_nats(nats_url).await?;
                tasks.spawn(async move {
                    loop {
                        bell.notified().await;
                        // Best effort: relays poll anyway.
                        let _ = nats.publish(HINTS, Bytes::new()).await;
                    }
                });
            }
            Waking::NotifyAfter => {
                let pool = sqlx::postgres::PgPoolOptions::new()
                    .max_connections(1)
                    .connect(postgres_url)
                    .await
                    .context("the connection of the notifier")?;
                tasks.spawn(async move {
                    loop {
                        bell.notified().await;
                        let _ = sqlx::query("notify outbox_wake").execute(&pool).await;
                    }
                });
            }
        }
        Ok(tasks)
    }
}
