//! The dead letters' SQL.

use serde::Serialize;
use shared::shard::Shard;
use sqlx::PgPool;
use uuid::Uuid;

use crate::shard::fence::{Epoch, EventRef};

/// Moves a waiting event to `outbox_dead` in one statement, under the lock of the lease that it
/// checks. Gives whether the lease was still held; if not, nothing was changed.
pub async fn bury(
    pool: &PgPool,
    owner: &str,
    shard: Shard,
    epoch: Epoch,
    event: EventRef,
    reason: &str,
    blocks_key: bool,
) -> sqlx::Result<bool> {
    let held = sqlx::query_scalar!(
        r#"with held as (
               select shard from outbox_shards
               where shard = $1 and owner = $2 and epoch = $3
               for no key update
           ), gone as (
               delete from outbox_events e using held
               where e.shard = $1 and e.id = $4 and e.event_id = $5
               returning e.*
           ), buried as (
               insert into outbox_dead
                   (shard, id, event_id, key, subject, type, payload, carrier, attempt_count,
                    created_at, reason, blocks_key)
               select shard, id, event_id, key, subject, type, payload, carrier, attempt_count,
                      created_at, $6, $7
               from gone
           )
           select count(*) as "held!" from held"#,
        shard.number(),
        owner,
        epoch.0,
        event.0,
        event.1,
        reason,
        blocks_key
    )
    .fetch_one(pool)
    .await?;
    Ok(held == 1)
}

/// Counts a refusal of an event that was sent alone; gives how many there were by now, `None` if
/// the lease is not held any more.
pub async fn count_attempt(
    pool: &PgPool,
    owner: &str,
    shard: Shard,
    epoch: Epoch,
    event: EventRef,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "with held as (
             select shard from outbox_shards
             where shard = $1 and owner = $2 and epoch = $3
             for no key update
         )
         update outbox_events e set attempt_count = attempt_count + 1
         from held
         where e.shard = $1 and e.id = $4 and e.event_id = $5
         returning e.attempt_count",
        shard.number(),
        owner,
        epoch.0,
        event.0,
        event.1
    )
    .fetch_optional(pool)
    .await
}

/// A dead letter, as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Letter {
    /// The event.
    pub event_id: Uuid,
    /// Its aggregate.
    pub key: String,
    /// Where it should have gone.
    pub subject: String,
    /// `CloudEvents` type.
    pub r#type: String,
    /// Why it could not be published.
    pub reason: String,
    /// Whether the other events of its key wait for it.
    pub blocks_key: bool,
    /// How often the broker refused it.
    pub attempt_count: i32,
    /// When it was appended, RFC 3339.
    pub created_at: String,
    /// When it was given up, RFC 3339.
    pub dead_at: String,
    /// How many events of its key wait.
    pub waiting: i64,
    /// Its payload as text.
    pub payload: String,
}

/// The dead letters, oldest first, at most `limit`; only that of `event`, if it is given.
pub async fn letters(pool: &PgPool, event: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Letter>> {
    sqlx::query_as!(
        Letter,
        r#"select event_id, key, subject, type as "type", reason, blocks_key, attempt_count,
                  to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "created_at!",
                  to_char(dead_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "dead_at!",
                  (select count(*) from outbox_events e
                   where e.shard = d.shard and e.key = d.key) as "waiting!",
                  payload::text as "payload!"
           from outbox_dead d
           where $1::uuid is null or event_id = $1
           order by dead_at, shard, id limit $2"#,
        event,
        limit
    )
    .fetch_all(pool)
    .await
}

/// Puts a dead letter back under its old ids. Its shard's lease ends with it, so that whoever
/// publishes the shard next begins to read at its first row again, and behind a new fence. Gives
/// whether there was such a letter.
pub async fn retry(pool: &PgPool, event: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query_scalar!(
        r#"with letter as (
               delete from outbox_dead where event_id = $1 returning *
           ), freed as (
               update outbox_shards s
               set epoch = s.epoch + 1, owner = null, lease_until = statement_timestamp(), low_id = 0
               from letter where s.shard = letter.shard
           ), back as (
               insert into outbox_events
                   (shard, id, event_id, key, subject, type, payload, carrier, created_at)
               select shard, id, event_id, key, subject, type, payload, carrier, created_at
               from letter
               returning 1
           ), counted as (
               update outbox_tally set count = count + 1
               where name = 'dead_retried' and exists (select from back)
           )
           select count(*) as "count!" from back"#,
        event
    )
    .fetch_one(pool)
    .await?;
    Ok(done == 1)
}

/// Lets the key of a dead letter go on without it; the letter stays. Gives whether it blocked.
pub async fn skip(pool: &PgPool, event: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query_scalar!(
        r#"with letter as (
               update outbox_dead set blocks_key = false where event_id = $1 and blocks_key
               returning 1
           ), counted as (
               update outbox_tally set count = count + 1
               where name = 'dead_skipped' and exists (select from letter)
           )
           select count(*) as "count!" from letter"#,
        event
    )
    .fetch_one(pool)
    .await?;
    Ok(done == 1)
}

/// Removes a dead letter for good; its key goes on. Gives whether there was such a letter.
pub async fn drop_letter(pool: &PgPool, event: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query_scalar!(
        r#"with letter as (
               delete from outbox_dead where event_id = $1 returning 1
           ), counted as (
               update outbox_tally set count = count + 1
               where name = 'dead_dropped' and exists (select from letter)
           )
           select count(*) as "count!" from letter"#,
        event
    )
    .fetch_one(pool)
    .await?;
    Ok(done == 1)
}
