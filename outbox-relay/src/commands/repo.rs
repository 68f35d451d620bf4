//! The commands' SQL: reads alone.

use serde::Serialize;
use shared::ids::EventId;
use shared::shard::Shard;
use shared::telemetry::Carrier;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;

use crate::batch::entity::Row;

/// A relay that lives.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RelayLine {
    /// Its name.
    pub(super) owner: String,
    /// Shards whose lease it holds.
    pub(super) shards: i64,
    /// Seconds since its last heartbeat.
    pub(super) seen_seconds: f64,
}

/// A shard.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ShardLine {
    /// Its number.
    pub(super) shard: i16,
    /// Who holds its lease.
    pub(super) owner: Option<String>,
    /// How often it was taken over.
    pub(super) epoch: i64,
    /// Whether its lease has lapsed.
    pub(super) lapsed: bool,
    /// Where its fence stood when that was last noted.
    pub(super) fence_seq: i64,
    /// Whether it is verified for the stream's present generation.
    pub(super) verified: bool,
    /// Rows that wait.
    pub(super) pending: i64,
    /// Seconds since the oldest of them was appended.
    pub(super) oldest_seconds: Option<f64>,
}

pub(super) async fn relays(pool: &PgPool) -> sqlx::Result<Vec<RelayLine>> {
    sqlx::query_as!(
        RelayLine,
        r#"select r.owner,
                  (select count(*) from outbox_shards s
                   where s.owner = r.owner and s.lease_until > statement_timestamp()) as "shards!",
                  extract(epoch from statement_timestamp() - r.last_seen)::float8 as "seen_seconds!"
           from outbox_relays r order by r.owner"#
    )
    .fetch_all(pool)
    .await
}

pub(super) async fn shards(pool: &PgPool) -> sqlx::Result<Vec<ShardLine>> {
    sqlx::query_as!(
        ShardLine,
        r#"select s.shard, s.owner, s.epoch, s.fence_seq,
                  coalesce(s.lease_until <= statement_timestamp(), true) as "lapsed!",
                  s.generation = i.stream_generation as "verified!",
                  w.pending as "pending!", w.oldest_seconds
           from outbox_identity i, outbox_shards s, lateral (
               select count(*) as pending,
                      extract(epoch from statement_timestamp() - min(e.created_at))::float8
                          as oldest_seconds
               from outbox_events e where e.shard = s.shard and e.id > s.low_id) w
           order by s.shard"#
    )
    .fetch_all(pool)
    .await
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) generation: i64,
    pub(super) seq: i64,
}

/// The next published events of a shard in the order in which they were published.
pub(super) async fn published(
    pool: &PgPool,
    shard: Shard,
    key: Option<&str>,
    since: Option<OffsetDateTime>,
    after: Place,
    limit: i64,
) -> sqlx::Result<Vec<(Row, Place)>> {
    let rows = sqlx::query!(
        r#"select id, event_id as "event_id: EventId", key, subject, type as event_type,
                  payload::text as "payload!", carrier as "carrier: Json<Carrier>", created_at,
                  published_at, generation, stream_seq
           from outbox_published
           where shard = $1 and (generation, stream_seq) > ($2, $3)
             and ($4::text is null or key = $4) and ($5::timestamptz is null or published_at >= $5)
           order by generation, stream_seq limit $6"#,
        shard.number(),
        after.generation,
        after.seq,
        key,
        since,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let place = Place {
                generation: row.generation,
                seq: row.stream_seq,
            };
            let row = Row {
                id: row.id,
                event_id: row.event_id,
                key: row.key,
                subject: row.subject,
                event_type: row.event_type,
                payload: row.payload,
                carrier: row.carrier.0,
                attempt_count: 0,
                created_at: row.created_at,
                read_at: row.published_at,
            };
            (row, place)
        })
        .collect())
}

/// What verifications have come to so far, all relays together.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tally {
    /// Events published again.
    pub(super) republished: i64,
    /// Waiting events that were in the stream already.
    pub(super) settled: i64,
    /// Events recorded at another place than where they stand.
    pub(super) moved: i64,
    /// Events in the stream that the database does not know.
    pub(super) unknown: i64,
}

pub(super) async fn tally(pool: &PgPool) -> sqlx::Result<Tally> {
    sqlx::query_as!(
        Tally,
        r#"select coalesce(sum(count) filter (where name = 'verify_republished'), 0)::bigint
                      as "republished!",
                  coalesce(sum(count) filter (where name = 'verify_settled'), 0)::bigint
                      as "settled!",
                  coalesce(sum(count) filter (where name = 'verify_moved'), 0)::bigint as "moved!",
                  coalesce(sum(count) filter (where name = 'verify_unknown'), 0)::bigint
                      as "unknown!"
           from outbox_tally"#
    )
    .fetch_one(pool)
    .await
}
