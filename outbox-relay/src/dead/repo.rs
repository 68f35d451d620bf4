//! The dead letters' SQL.

use shared::shard::Shard;
use sqlx::PgPool;

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
