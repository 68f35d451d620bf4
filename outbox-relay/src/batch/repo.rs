//! The batches' SQL: shards' next rows, and the one statement that takes published rows out of the
//! outbox.

use std::collections::BTreeMap;

use shared::ids::EventId;
use shared::shard::Shard;
use shared::telemetry::Carrier;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::entity::Row;
use crate::backlog::floor::ReadFrom;
use crate::backlog::repo::Columns;
use crate::leases::repo::Writer;
use crate::shard::fence::{Epoch, EventRef, StreamSeq};

/// Which rows of a shard to read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The shard.
    pub shard: Shard,
    /// From where on.
    pub from: ReadFrom,
    /// At most so many.
    pub limit: usize,
    /// The reader's lease.
    pub epoch: Epoch,
}

/// The next rows of several shards, each shard's in order: at most its limit and about `bytes_max`
/// bytes of payload (one row at least), without those of blocked keys. None of a shard whose lease
/// `owner` does not hold: a stream that has lost its data knows nothing of who was fenced off.
pub async fn next_rows(
    pool: &PgPool,
    owner: &str,
    wanted: &[Wanted],
    bytes_max: i64,
) -> sqlx::Result<Vec<(Shard, Row)>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(wanted.iter().map(|w| (w.shard, &w.from)));
    let limits: Vec<i64> = wanted
        .iter()
        .map(|w| i64::try_from(w.limit).unwrap_or(i64::MAX))
        .collect();
    let epochs: Vec<i64> = wanted.iter().map(|w| w.epoch.0).collect();
    let rows = sqlx::query!(
        r#"select s.shard as "shard!: Shard", w.id as "id!", w.event_id as "event_id!: EventId",
                  w.key as "key!", w.subject as "subject!", w.type as "event_type!",
                  w.payload::text as "payload!", w.carrier as "carrier!: Json<Carrier>",
                  w.attempt_count as "attempt_count!", w.created_at as "created_at!",
                  statement_timestamp() as "read_at!"
           from (select coalesce(bool_and(not pg_visible_in_snapshot(
                            x::text::xid8, pg_current_snapshot())), true) as holds
                 from unnest($6::bigint[]) x) floor,
           unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $7::bigint[])
               as s (shard, low_id, floor_id, rows_max, epoch)
           join outbox_shards l on l.shard = s.shard and l.epoch = s.epoch and l.owner = $8,
           lateral (
               select n.*, sum(pg_column_size(n.payload)) over (order by n.id)
                           - pg_column_size(n.payload) as bytes_before
               from (
                   select * from outbox_events e
                   where e.shard = s.shard
                     and e.id > case when floor.holds then s.floor_id else s.low_id end
                     and not exists (
                         select from outbox_dead d
                         where d.shard = e.shard and d.key = e.key and d.blocks_key)
                   order by e.id limit s.rows_max
               ) n
           ) w
           where w.bytes_before < $5
           order by s.shard, w.id"#,
        &columns.shards,
        &columns.low_ids,
        &columns.floor_ids,
        &limits,
        bytes_max,
        &columns.witnesses,
        &epochs,
        owner
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let shard = row.shard;
            let row = Row {
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
            };
            (shard, row)
        })
        .collect())
}

/// What [`next_rows`] gives, by shard.
#[must_use]
pub fn by_shard(rows: Vec<(Shard, Row)>) -> BTreeMap<Shard, Vec<Row>> {
    let mut found: BTreeMap<Shard, Vec<Row>> = BTreeMap::new();
    for (shard, row) in rows {
        found.entry(shard).or_default().push(row);
    }
    found
}

/// Those of a shard's events that still wait, each with its subject.
pub async fn subjects_of(
    pool: &PgPool,
    shard: Shard,
    events: &[EventRef],
) -> sqlx::Result<Vec<(EventRef, String)>> {
    let ids: Vec<i64> = events.iter().map(|event| event.0).collect();
    let event_ids: Vec<Uuid> = events.iter().map(|event| event.1).collect();
    let rows = sqlx::query!(
        r#"select e.id, e.event_id, e.subject
           from unnest($2::bigint[], $3::uuid[]) as p (id, event_id)
           join outbox_events e on e.shard = $1 and e.id = p.id and e.event_id = p.event_id
             and ((e.id >> 16) & 3) = ((p.id >> 16) & 3) -- its leaf alone is looked into"#,
        shard.number(),
        &ids,
        &event_ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (EventRef(row.id, row.event_id), row.subject))
        .collect())
}

/// Events of one shard that stand in the stream.
#[derive(Clone, Debug)]
pub struct Debt<'a> {
    /// Under which lease they are settled.
    pub writer: Writer<'a>,
    /// Which, and where.
    pub placed: Vec<(EventRef, StreamSeq)>,
}

/// What a settlement came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The shards whose lease was still held; of the others, nothing was changed.
    pub held: Vec<Shard>,
    /// How many rows were pending and are recorded as published now.
    pub rows: u64,
}

/// Deletes waiting rows that stand in the stream, by row id and event id, and records them as
/// published, each at its place: one statement for all shards, under the locks of the leases that it
/// checks, which are taken in the order of the shards like everywhere.
pub async fn settle(pool: &PgPool, debts: &[Debt<'_>]) -> sqlx::Result<Settlement> {
    let Some(owner) = debts.first().map(|debt| debt.writer.owner) else {
        return Ok(Settlement::default());
    };
    let shards: Vec<i16> = debts
        .iter()
        .map(|debt| debt.writer.shard.number())
        .collect();
    let epochs: Vec<i64> = debts.iter().map(|debt| debt.writer.epoch.0).collect();
    let generations: Vec<i64> = debts.iter().map(|debt| debt.writer.generation).collect();
    let (mut of, mut ids, mut event_ids, mut seqs) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for debt in debts {
        for (event, seq) in &debt.placed {
            of.push(debt.writer.shard.number());
            ids.push(event.0);
            event_ids.push(event.1);
            seqs.push(seq.to_db());
        }
    }
    let done = sqlx::query!(
        r#"with held as (
               select s.shard, l.generation
               from outbox_shards s,
                    unnest($2::smallint[], $3::bigint[], $4::bigint[]) as l (shard, epoch, generation)
               where s.shard = l.shard and s.owner = $1 and s.epoch = l.epoch
               order by s.shard
               for no key update of s
           ), gone as (
               delete from outbox_events e
               using held, unnest($5::smallint[], $6::bigint[], $7::uuid[], $8::bigint[])
                   as p (shard, id, event_id, seq)
               where held.shard = p.shard and e.shard = p.shard and e.id = p.id
                 and ((e.id >> 16) & 3) = ((p.id >> 16) & 3) -- its leaf alone is looked into
                 and e.event_id = p.event_id
               returning e.shard, e.id, e.event_id, e.key, e.subject, e.type, e.payload, e.carrier,
                         e.created_at, p.seq, held.generation
           ), recorded as (
               insert into outbox_published
                   (shard, id, event_id, key, subject, type, payload, carrier, created_at,
                    stream_seq, generation)
               select shard, id, event_id, key, subject, type, payload, carrier, created_at, seq,
                      generation
               from gone
           )
           select (select coalesce(array_agg(shard), '{}') from held) as "held!: Vec<Shard>",
                  (select count(*) from gone) as "rows!""#,
        owner,
        &shards,
        &epochs,
        &generations,
        &of,
        &ids,
        &event_ids,
        &seqs
    )
    .fetch_one(pool)
    .await?;
    Ok(Settlement {
        held: done.held,
        rows: done.rows.unsigned_abs(),
    })
}
