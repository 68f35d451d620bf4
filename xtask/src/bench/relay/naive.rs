//! What most people write first, as the relay's reference: a loop that locks waiting rows, publishes
//! them one by one, each with its acknowledgement, deletes them, and commits.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream;
use futures_util::StreamExt as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::bench::relay_rig::RelayRig;

/// Rows of a transaction.
const ROWS_MAX: i64 = 100;
/// Without a hint.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The loop, with its connections.
pub(crate) struct Naive {
    pool: PgPool,
    stream: jetstream::Context,
    hints: async_nats::Subscriber,
}

impl Naive {
    /// Connects.
    ///
    /// # Errors
    /// NATS cannot be connected to.
    pub(crate) async fn connect(rig: &RelayRig) -> Result<Self> {
        let client = e2e::supervisor::connect_nats(&rig.relays.nats_addresses.relay_url).await?;
        Ok(Self {
            pool: rig.pool.clone(),
            hints: client.subscribe("outbox.wake").await?,
            stream: jetstream::new(client),
        })
    }

    /// Runs until it is dropped.
    ///
    /// # Errors
    /// Any: it has no way to go on.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            if self.publish_some().await? == 0 {
                let _ = tokio::time::timeout(POLL_EVERY, self.hints.next()).await;
            }
        }
    }

    /// Publishes for so long, or until nothing waits; gives events a second.
    ///
    /// # Errors
    /// Any: it has no way to go on.
    pub(crate) async fn drain_for(mut self, lasts: Duration) -> Result<f64> {
        let (begun, mut published) = (Instant::now(), 0);
        while begun.elapsed() < lasts {
            let some = self.publish_some().await?;
            published += some;
            if some == 0 {
                break;
            }
        }
        Ok(published as f64 / begun.elapsed().as_secs_f64())
    }

    async fn publish_some(&mut self) -> Result<usize> {
        let mut transaction = self.pool.begin().await?;
        let rows: Vec<(i64, Uuid, String, String)> = sqlx::query_as(
            "select id, event_id, subject, payload::text from outbox_events
             order by id limit $1 for update skip locked",
        )
        .bind(ROWS_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        let mut done = Vec::with_capacity(rows.len());
        for (id, event_id, subject, payload) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("ce-id", event_id.to_string());
            self.stream
                .publish_with_headers(subject, headers, payload.into())
                .await?
                .await
                .context("an acknowledgement")?;
            done.push(id);
        }
        sqlx::query("delete from outbox_events where id = any($1)")
            .bind(&done)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.len())
    }
}
