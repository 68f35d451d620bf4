//! The backlog's SQL. All of it goes shard by shard, from the id below which nothing waits.

use shared::shard::Shard;
use sqlx::PgPool;

/// Ids up to `given` had been given when only transactions below `xid` had a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The highest id given.
    pub given: i64,
    /// Transactions that may hold such an id are below this one, which has ended.
    pub xid: i64,
}

/// Sets a mark. In two statements, in this order: whoever was given an id before the first had its
/// transaction's number by then (`outbox_next_id`), so that the second draws a higher one. A
/// snapshot's `xmax` would not do: it is one past the highest number that has *ended*, and a
/// transaction that runs with a higher one is in none of its parts.
pub async fn mark(pool: &PgPool) -> sqlx::Result<Mark> {
    let mut connection = pool.acquire().await?;
    let given = sqlx::query_scalar!(
        r#"select case when is_called then last_value else last_value - 1 end as "given!"
           from outbox_events_id_seq"#
    )
    .fetch_one(&mut *connection)
    .await?;
    let xid = sqlx::query_scalar!(r#"select pg_current_xact_id()::text::bigint as "xid!""#)
        .fetch_one(&mut *connection)
        .await?;
    Ok(Mark { given, xid })
}

/// Whether every transaction that may hold an id up to the mark has ended: what is to be seen of
/// them is to be seen from now on.
pub async fn is_closed(pool: &PgPool, mark: Mark) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1 as "closed!""#,
        mark.xid
    )
    .fetch_one(pool)
    .await
}

/// The lowest waiting id of each shard after the id beside it; `None` if nothing waits.
pub async fn lowest(
    pool: &PgPool,
    shards: &[i16],
    after: &[i64],
) -> sqlx::Result<Vec<(Shard, Option<i64>)>> {
    let rows = sqlx::query!(
        r#"select s.shard as "shard!: Shard",
                  (select e.id from outbox_events e
                   where e.shard = s.shard and e.id > s.after
                   order by e.id limit 1) as "id?"
           from unnest($1::smallint[], $2::bigint[]) as s (shard, after)"#,
        shards,
        after
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.shard, row.id)).collect())
}

/// The age of the oldest waiting row of the whole outbox, in seconds; 0 if nothing waits.
pub async fn oldest_age_seconds(pool: &PgPool) -> sqlx::Result<f64> {
    sqlx::query_scalar!(
        r#"select coalesce(extract(epoch from statement_timestamp() - min(first.created_at)), 0)
                      ::float8 as "age!"
           from outbox_shards s, lateral (
               select e.created_at from outbox_events e
               where e.shard = s.shard and e.id > s.low_id
               order by e.id limit 1) first"#
    )
    .fetch_one(pool)
    .await
}

/// How many rows wait in the whole outbox.
pub async fn pending(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(sum(waiting.rows), 0)::bigint as "pending!"
           from outbox_shards s, lateral (
               select count(*) as rows from outbox_events e
               where e.shard = s.shard and e.id > s.low_id) waiting"#
    )
    .fetch_one(pool)
    .await
}

/// How many dead letters there are.
pub async fn dead(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "dead!" from outbox_dead"#)
        .fetch_one(pool)
        .await
}
