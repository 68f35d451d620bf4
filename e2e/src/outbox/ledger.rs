//! What the database has of every event: waiting, dead or published.

use anyhow::{Context, Result};
use futures_util::TryStreamExt as _;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In `outbox_events`.
    Pending,
    /// In `outbox_dead`.
    Dead,
    /// In `outbox_published`.
    Published {
        /// Its place in the stream, says the database.
        stream_seq: u64,
    },
}

/// An event as the database has it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its event id.
    pub event_id: Uuid,
    /// Its row id: those of one key are in the order of their commits.
    pub id: i64,
    /// The number in its key, `k<number>`.
    pub key: u32,
    /// The number that the producer gave it, from 1, in its key.
    pub n: u32,
    /// When it was appended, microseconds since 1970, by the database's clock.
    pub created_us: i64,
    /// Where it stands.
    pub standing: Standing,
}

/// Every event of the outbox.
///
/// # Errors
/// The database does not answer, or has rows that no [`super::Producer`] made.
pub async fn read_ledger(pool: &PgPool) -> Result<Vec<Entry>> {
    let mut rows = sqlx::query(
        "select event_id, id, substr(key, 2)::bigint as key, (payload->>'n')::bigint as n,
                (extract(epoch from created_at) * 1000000)::bigint as created_us,
                stream_seq, false as dead
         from outbox_published
         union all
         select event_id, id, substr(key, 2)::bigint, (payload->>'n')::bigint,
                (extract(epoch from created_at) * 1000000)::bigint, null, false
         from outbox_events
         union all
         select event_id, id, substr(key, 2)::bigint, (payload->>'n')::bigint,
                (extract(epoch from created_at) * 1000000)::bigint, null, true
         from outbox_dead",
    )
    .fetch(pool);
    let mut ledger = Vec::new();
    while let Some(row) = rows.try_next().await.context("the ledger cannot be read")? {
        let place: Option<i64> = row.try_get("stream_seq")?;
        let standing = match (place, row.try_get("dead")?) {
            (Some(place), _) => Standing::Published {
                stream_seq: place.unsigned_abs(),
            },
            (None, true) => Standing::Dead,
            (None, false) => Standing::Pending,
        };
        ledger.push(Entry {
            event_id: row.try_get("event_id")?,
            id: row.try_get("id")?,
            key: u32::try_from(row.try_get::<i64, _>("key")?)?,
            n: u32::try_from(row.try_get::<i64, _>("n")?)?,
            created_us: row.try_get("created_us")?,
            standing,
        });
    }
    Ok(ledger)
}
