//! The SQL of a verification. Every write is guarded by owner and epoch, under the lease's lock.

use shared::ids::EventId;
use shared::shard::Shard;
use shared::telemetry::Carrier;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::entity::{Placed, Report};
use crate::batch::entity::Row;
use crate::leases::repo::Writer;
use crate::shard::fence::{EventRef, Owed, StreamSeq};

/// What is known of the stream's life, as far as recorded positions depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// The present generation.
    pub generation: i64,
    /// The first generation of the stream that exists now: positions recorded under an earlier one
    /// belong to a stream that is gone.
    pub since: i64,
}

/// Reads it.
pub async fn lives(pool: &PgPool) -> sqlx::Result<Lives> {
    sqlx::query_as!(
        Lives,
        "select stream_generation as generation, stream_since as since from outbox_identity"
    )
    .fetch_one(pool)
    .await
}

/// What the database has recorded for a stretch of the stream that exists now.
pub async fn recorded(
    pool: &PgPool,
    shards: &[i16],
    lives: Lives,
    from: StreamSeq,
    to: StreamSeq,
) -> sqlx::Result<Vec<Placed>> {
    let generations: Vec<i64> = (lives.since..=lives.generation).collect();
    let rows = sqlx::query!(
        r#"select shard as "shard: Shard", event_id, stream_seq from outbox_published
           where shard = any($1) and generation = any($2) and stream_seq between $3 and $4"#,
        shards,
        &generations,
        from.to_db(),
        to.to_db()
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Placed {
            seq: StreamSeq::from_db(row.stream_seq),
            shard: row.shard,
            event_id: row.event_id,
        })
        .collect())
}

/// The rows of those events that still wait: `None` for an event that does not.
pub async fn waiting(
    pool: &PgPool,
    shard: Shard,
    event_ids: &[Uuid],
) -> sqlx::Result<Vec<EventRef>> {
    let rows = sqlx::query!(
        "select id, event_id from outbox_events where shard = $1 and event_id = any($2)",
        shard.number(),
        event_ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| EventRef(row.id, row.event_id))
        .collect())
}

/// Records where published events stand now; gives how many rows were changed, `None` if the lease
/// is not held any more.
pub async fn place(
    pool: &PgPool,
    writer: Writer<'_>,
    places: &[(Uuid, StreamSeq)],
) -> sqlx::Result<Option<u64>> {
    let ids: Vec<Uuid> = places.iter().map(|(id, _)| *id).collect();
    let seqs: Vec<i64> = places.iter().map(|(_, seq)| seq.to_db()).collect();
    let done = sqlx::query!(
        r#"with held as (
               select shard from outbox_shards
               where shard = $1 and owner = $2 and epoch = $3
               for no key update
           ), placed as (
               update outbox_published e set stream_seq = p.seq, generation = $4
               from held, unnest($5::uuid[], $6::bigint[]) as p (event_id, seq)
               where e.shard = $1 and e.event_id = p.event_id
                 and (e.stream_seq, e.generation) is distinct from (p.seq, $4)
               returning 1
           )
           select (select count(*) from held) as "held!", (select count(*) from placed) as "rows!""#,
        writer.shard.number(),
        writer.owner,
        writer.epoch.0,
        writer.generation,
        &ids,
        &seqs
    )
    .fetch_one(pool)
    .await?;
    Ok((done.held == 1).then_some(done.rows.unsigned_abs()))
}

/// The same for the events of a fence that was read back or just written.
pub async fn place_fence(
    pool: &PgPool,
    writer: Writer<'_>,
    owed: &Owed,
) -> sqlx::Result<Option<u64>> {
    let places: Vec<(Uuid, StreamSeq)> = owed
        .placed
        .iter()
        .map(|(event, seq)| (event.1, *seq))
        .collect();
    place(pool, writer, &places).await
}

/// Where the walk over a shard's published rows stands, in the order in which they were published.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Generation of the last row seen.
    pub generation: i64,
    /// Its position.
    pub seq: i64,
}

/// What is to be looked for.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    /// The stream's life.
    pub lives: Lives,
    /// The last position that was compared: what is recorded above it is not in the stream.
    pub compared_to: StreamSeq,
    /// Events that should have stood below it and do not.
    pub absent: &'a [Uuid],
    /// What is older than this would have expired by now, in ms; 0 if nothing expires by age.
    pub max_age_ms: i64,
}

/// The next events of a shard that the stream does not hold, in the order in which they were
/// published, with the place of the last row.
pub async fn next_missing(
    pool: &PgPool,
    shard: Shard,
    missing: Missing<'_>,
    after: Walk,
    limit: usize,
) -> sqlx::Result<(Vec<Row>, Option<Walk>)> {
    let rows = sqlx::query!(
        r#"select id, event_id as "event_id: EventId", key, subject, type as event_type,
                  payload::text as "payload!", carrier as "carrier: Json<Carrier>", created_at,
                  statement_timestamp() as "read_at!", generation, stream_seq
           from outbox_published
           where shard = $1 and (generation, stream_seq) > ($2, $3) and generation < $4
             and (generation < $5 or stream_seq > $6 or event_id = any($7))
             and ($8::bigint = 0
                  or published_at > statement_timestamp() - $8::bigint * interval '1 millisecond')
           order by generation, stream_seq limit $9"#,
        shard.number(),
        after.generation,
        after.seq,
        missing.lives.generation,
        missing.lives.since,
        missing.compared_to.to_db(),
        missing.absent,
        missing.max_age_ms,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(pool)
    .await?;
    let walk = rows.last().map(|row| Walk {
        generation: row.generation,
        seq: row.stream_seq,
    });
    let rows = rows
        .into_iter()
        .map(|row| Row {
            id: row.id,
            event_id: row.event_id,
            key: row.key,
            subject: row.subject,
            event_type: row.event_type,
            payload: row.payload,
            carrier: row.carrier.0,
            attempt_count: 0,
            created_at: row.created_at,
            read_at: row.read_at,
        })
        .collect();
    Ok((rows, walk))
}

/// The shard is verified for the writer's generation, and its fence stands at `fence`. Gives
/// whether the lease was still held.
pub async fn pass(pool: &PgPool, writer: Writer<'_>, fence: StreamSeq) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update outbox_shards set generation = $4, fence_seq = $5
         where shard = $1 and owner = $2 and epoch = $3",
        writer.shard.number(),
        writer.owner,
        writer.epoch.0,
        writer.generation,
        fence.to_db()
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many shards have not been verified for the present generation yet.
pub async fn unverified(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "unverified!" from outbox_shards s, outbox_identity i
           where s.generation < i.stream_generation"#
    )
    .fetch_one(pool)
    .await
}

/// Adds what a verification came to to the tally of all.
pub async fn count(pool: &PgPool, report: Report) -> sqlx::Result<()> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query!(
        "update outbox_tally t set count = t.count + c.count
         from (values ('verify_republished', $1::bigint), ('verify_settled', $2::bigint),
                      ('verify_moved', $3::bigint), ('verify_unknown', $4::bigint)) c (name, count)
         where t.name = c.name",
        number(report.republished),
        number(report.settled),
        number(report.moved),
        number(report.unknown)
    )
    .execute(pool)
    .await?;
    Ok(())
}
