//! The backlog's SQL. All of it goes shard by shard, from the id below which nothing waits.

use std::collections::HashMap;

use shared::shard::Shard;
use sqlx::PgPool;

use super::floor::ReadFrom;

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

/// The numbers of the transactions that run now, of all databases. All below a mark are among them
/// if they run: the mark's own transaction has ended.
pub async fn running(pool: &PgPool) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"select xid::text::bigint as "xid!" from pg_snapshot_xip(pg_current_snapshot()) xid"#
    )
    .fetch_all(pool)
    .await
}

/// The lowest waiting id of each shard that has any. As all that reads, from the floor if its
/// witnesses run in the statement's own snapshot.
pub async fn lowest(
    pool: &PgPool,
    from: &[(Shard, ReadFrom)],
) -> sqlx::Result<HashMap<Shard, i64>> {
    let columns = Columns::of(from.iter().map(|(shard, from)| (*shard, from)));
    let rows = sqlx::query!(
        r#"select s.shard as "shard!: Shard", w.id as "id!"
           from (select coalesce(bool_and(not pg_visible_in_snapshot(
                            x::text::xid8, pg_current_snapshot())), true) as holds
                 from unnest($4::bigint[]) x) floor,
                unnest($1::smallint[], $2::bigint[], $3::bigint[]) as s (shard, low_id, floor_id),
                lateral (select e.id from outbox_events e
                         where e.shard = s.shard
                           and e.id > case when floor.holds then s.floor_id else s.low_id end
                         order by e.id limit 1) w"#,
        &columns.shards,
        &columns.low_ids,
        &columns.floor_ids,
        &columns.witnesses
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.shard, row.id)).collect())
}

/// Where some shards are read from, as parameters of a statement: their floors hold if all
/// witnesses of all of them run.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The shards.
    pub shards: Vec<i16>,
    /// The low id of each.
    pub low_ids: Vec<i64>,
    /// The floor of each.
    pub floor_ids: Vec<i64>,
    /// The witnesses of all floors.
    pub witnesses: Vec<i64>,
}

impl Columns {
    /// Of these shards.
    pub fn of<'a>(from: impl Iterator<Item = (Shard, &'a ReadFrom)>) -> Self {
        let mut columns = Self::default();
        for (shard, from) in from {
            columns.shards.push(shard.number());
            columns.low_ids.push(from.low_id);
            columns.floor_ids.push(from.floor_id);
            columns.witnesses.extend_from_slice(&from.witnesses);
        }
        columns.witnesses.sort_unstable();
        columns.witnesses.dedup();
        columns
    }
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

/// How many rows of some shards wait.
pub async fn pending(pool: &PgPool, shards: &[i16]) -> sqlx::Result<Vec<(Shard, i64)>> {
    let rows = sqlx::query!(
        r#"select s.shard as "shard: Shard", waiting.rows as "rows!"
           from outbox_shards s, lateral (
               select count(*) as rows from outbox_events e
               where e.shard = s.shard and e.id > s.low_id) waiting
           where s.shard = any($1)"#,
        shards
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.shard, row.rows)).collect())
}

/// What a look for a leaf that can be emptied came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafLook {
    /// The leaf that was emptied, if any.
    pub cleared: Option<String>,
    /// Whether somebody else used one that could have been emptied.
    pub busy: bool,
}

/// Empties a leaf of the outbox in which nothing waits and into which no new row comes.
pub async fn clear_leaf(pool: &PgPool) -> sqlx::Result<LeafLook> {
    sqlx::query_as!(
        LeafLook,
        r#"select cleared, busy as "busy!" from outbox_clear_leaf()"#
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
