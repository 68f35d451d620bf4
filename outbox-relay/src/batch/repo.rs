//! The batches' SQL: which shards have rows, a shard's next rows, and the one statement that
//! takes published rows out of the outbox.

use shared::ids::EventId;
use shared::shard::Shard;
use shared::telemetry::Carrier;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::entity::Row;
use crate::leases::repo::Writer;
use crate::shard::fence::{EventRef, StreamSeq};

/// Of `shards`, those with a row after the id beside them that is not of a blocked key.
pub async fn with_rows(pool: &PgPool, shards: &[i16], after: &[i64]) -> sqlx::Result<Vec<Shard>> {
    sqlx::query_scalar!(
        r#"select s.shard as "shard!: Shard"
           from unnest($1::smallint[], $2::bigint[]) as s (shard, after)
           where exists (
               select from outbox_events e
               where e.shard = s.shard and e.id > s.after
                 and not exists (
                     select from outbox_dead d
                     where d.shard = e.shard and d.key = e.key and d.blocks_key))"#,
        shards,
        after
    )
    .fetch_all(pool)
    .await
}

/// A shard's next rows in order, at most `limit` and about `bytes_max` bytes of payload (one row
/// at least), without those of blocked keys.
pub async fn next_rows(
    pool: &PgPool,
    shard: Shard,
    after: i64,
    limit: usize,
    bytes_max: i64,
) -> sqlx::Result<Vec<Row>> {
    let rows = sqlx::query!(
        r#"select id as "id!", event_id as "event_id!: EventId", key as "key!",
                  subject as "subject!", type as "event_type!", payload::text as "payload!",
                  carrier as "carrier!: Json<Carrier>", attempt_count as "attempt_count!",
                  created_at as "created_at!", statement_timestamp() as "read_at!"
           from (
               select w.*, sum(pg_column_size(payload)) over (order by id) - pg_column_size(payload)
                   as bytes_before
               from (
                   select * from outbox_events e
                   where e.shard = $1 and e.id > $2
                     and not exists (
                         select from outbox_dead d
                         where d.shard = e.shard and d.key = e.key and d.blocks_key)
                   order by id limit $3
               ) w
           ) sized
           where bytes_before < $4
           order by id"#,
        shard.number(),
        after,
        i64::try_from(limit).unwrap_or(i64::MAX),
        bytes_max
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Row {
            id: row.id,
            event_id: row.event_id,
            key: row.key,
            subject: row.subject,
            event_type: row.event_type,
            payload: row.payload,
            carrier: row.carrier.0,
            attempt_count: row.attempt_count,
            created_at: row.created_at,
            read_at: row.read_at,
        })
        .collect())
}

/// What a settlement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Whether the lease was still held; if not, nothing was changed.
    pub held: bool,
    /// How many rows were pending and are recorded as published now.
    pub rows: u64,
}

/// Deletes waiting rows that stand in the stream, by row id and event id, and records them as
/// published, each at its place: one statement, under the lock of the lease that it checks.
pub async fn settle(
    pool: &PgPool,
    writer: Writer<'_>,
    placed: &[(EventRef, StreamSeq)],
) -> sqlx::Result<Settlement> {
    let ids: Vec<i64> = placed.iter().map(|(event, _)| event.0).collect();
    let event_ids: Vec<Uuid> = placed.iter().map(|(event, _)| event.1).collect();
    let seqs: Vec<i64> = placed.iter().map(|(_, seq)| seq.to_db()).collect();
    let counts = sqlx::query!(
        r#"with held as (
               select shard from outbox_shards
               where shard = $1 and owner = $2 and epoch = $3
               for no key update
           ), gone as (
               delete from outbox_events e
               using held, unnest($4::bigint[], $5::uuid[], $6::bigint[]) as p (id, event_id, seq)
               where e.shard = $1 and e.id = p.id and e.event_id = p.event_id
               returning e.id, e.event_id, e.key, e.subject, e.type, e.payload, e.carrier,
                         e.created_at, p.seq
           ), recorded as (
               insert into outbox_published
                   (shard, id, event_id, key, subject, type, payload, carrier, created_at,
                    stream_seq, generation)
               select $1, id, event_id, key, subject, type, payload, carrier, created_at, seq, $7
               from gone
           )
           select (select count(*) from held) as "held!", (select count(*) from gone) as "rows!""#,
        writer.shard.number(),
        writer.owner,
        writer.epoch.0,
        &ids,
        &event_ids,
        &seqs,
        writer.generation
    )
    .fetch_one(pool)
    .await?;
    Ok(Settlement {
        held: counts.held == 1,
        rows: counts.rows.unsigned_abs(),
    })
}
