//! The leases' SQL. The database's clock alone decides; every write is guarded by owner and epoch.

use std::collections::HashMap;
use std::time::Duration;

use shared::shard::Shard;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::shard::fence::{Epoch, StreamSeq};
use crate::shard::machine::Claim;

/// A heartbeat this much older than a lease belongs to a relay that is gone for good.
const FORGET_RELAY_AFTER_MS: i64 = 3_600_000;

/// A lease that was just taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The shard.
    pub shard: Shard,
    /// The new epoch.
    pub epoch: Epoch,
    /// The stream generation that the shard was verified for.
    pub generation: i64,
    /// The highest stream position that the database has recorded for the shard in that
    /// generation.
    pub recorded: StreamSeq,
    /// The highest of these that is an event's.
    pub event: StreamSeq,
    /// No row up to this id is pending or can become so.
    pub low_id: i64,
}

impl Lease {
    /// What its taker begins with, who sees the stream in `generation`.
    #[must_use]
    pub fn claim(&self, outbox: Uuid, generation: i64) -> Claim {
        Claim {
            outbox,
            epoch: self.epoch,
            recorded: self.recorded,
            event: self.event,
            generation,
            verified: self.generation == generation,
        }
    }
}

/// A lease to be renewed or handed over, with what its holder knows by now.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The shard.
    pub shard: Shard,
    /// The lease's epoch.
    pub epoch: Epoch,
    /// The stream generation under which the holder knows what follows.
    pub generation: i64,
    /// The shard's own fence, 0 if not known.
    pub fence_seq: StreamSeq,
    /// No row up to this id is pending or can become so.
    pub low_id: i64,
}

/// Who writes to a shard's rows: every such write is conditional on this lease.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// This instance.
    pub owner: &'a str,
    /// The shard.
    pub shard: Shard,
    /// Its lease.
    pub epoch: Epoch,
    /// The stream's present generation.
    pub generation: i64,
}

#[derive(Default)]
struct Columns {
    shards: Vec<i16>,
    epochs: Vec<i64>,
    generations: Vec<i64>,
    fences: Vec<i64>,
    lows: Vec<i64>,
}

impl Columns {
    fn of(held: &[Held]) -> Self {
        let mut columns = Self::default();
        for lease in held {
            columns.shards.push(lease.shard.number());
            columns.epochs.push(lease.epoch.0);
            columns.generations.push(lease.generation);
            columns.fences.push(lease.fence_seq.to_db());
            columns.lows.push(lease.low_id);
        }
        columns
    }
}

/// Says that `owner` lives, and gives all that do: whose heartbeat is younger than a lease.
pub async fn beat(pool: &PgPool, owner: &str, lease: Duration) -> sqlx::Result<Vec<String>> {
    sqlx::query!(
        "insert into outbox_relays (owner) values ($1)
         on conflict (owner) do update set last_seen = statement_timestamp()",
        owner
    )
    .execute(pool)
    .await?;
    sqlx::query_scalar!(
        "select owner from outbox_relays
         where last_seen > statement_timestamp() - $1::bigint * interval '1 millisecond'",
        millis(lease)
    )
    .fetch_all(pool)
    .await
}

/// Removes the heartbeat of a relay that drains, and those of relays long gone.
pub async fn leave(pool: &PgPool, owner: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from outbox_relays
         where owner = $1
            or last_seen < statement_timestamp() - $2::bigint * interval '1 millisecond'",
        owner,
        FORGET_RELAY_AFTER_MS
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes up to `count` shards that nobody holds, each under a new epoch.
pub async fn take(
    pool: &PgPool,
    owner: &str,
    lease: Duration,
    count: usize,
) -> sqlx::Result<Vec<Lease>> {
    let mut transaction = pool.begin().await?;
    let rows = sqlx::query!(
        r#"with free as (
               select shard from outbox_shards
               where lease_until is null or lease_until <= statement_timestamp()
               order by shard limit $3
               for update skip locked
           )
           update outbox_shards s
           set owner = $1, epoch = s.epoch + 1,
               lease_until = statement_timestamp() + $2::bigint * interval '1 millisecond'
           from free
           where s.shard = free.shard
           returning s.shard as "shard: Shard", s.epoch, s.generation, s.low_id, s.fence_seq"#,
        owner,
        millis(lease),
        i64::try_from(count).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *transaction)
    .await?;
    let shards: Vec<i16> = rows.iter().map(|row| row.shard.number()).collect();
    let events = last_recorded(&mut transaction, &shards).await?;
    transaction.commit().await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let event = events.get(&row.shard).copied().unwrap_or_default();
            Lease {
                shard: row.shard,
                epoch: Epoch(row.epoch),
                generation: row.generation,
                recorded: StreamSeq::from_db(row.fence_seq).max(event),
                event,
                low_id: row.low_id,
            }
        })
        .collect())
}

/// The highest position of an event that is recorded for each shard in the generation that it was
/// verified for. Asked when the leases are locked already: whoever had them may have settled right
/// before, which the statement that took them did not see.
async fn last_recorded(
    connection: &mut PgConnection,
    shards: &[i16],
) -> sqlx::Result<HashMap<Shard, StreamSeq>> {
    let rows = sqlx::query!(
        r#"select s.shard as "shard: Shard", (
               select max(p.stream_seq) from outbox_published p
               where p.shard = s.shard and p.generation = s.generation) as seq
           from outbox_shards s
           where s.shard = any($1)"#,
        shards
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((row.shard, StreamSeq::from_db(row.seq?))))
        .collect())
}

/// Renews leases and notes what is known; gives the shards that `owner` still holds.
pub async fn renew(
    pool: &PgPool,
    owner: &str,
    lease: Duration,
    held: &[Held],
) -> sqlx::Result<Vec<Shard>> {
    let columns = Columns::of(held);
    sqlx::query_scalar!(
        r#"with h as (
               select s.shard, l.generation, l.fence_seq, l.low_id
               from outbox_shards s,
                    unnest($3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
                        as l (shard, epoch, generation, fence_seq, low_id)
               where s.shard = l.shard and s.owner = $1 and s.epoch = l.epoch
               order by s.shard
               for no key update of s
           )
           update outbox_shards s
           set lease_until = statement_timestamp() + $2::bigint * interval '1 millisecond',
               low_id = greatest(s.low_id, h.low_id),
               fence_seq = case when s.generation = h.generation
                                then greatest(s.fence_seq, h.fence_seq) else s.fence_seq end
           from h
           where s.shard = h.shard
           returning s.shard as "shard: Shard""#,
        owner,
        millis(lease),
        &columns.shards,
        &columns.epochs,
        &columns.generations,
        &columns.fences,
        &columns.lows,
    )
    .fetch_all(pool)
    .await
}

/// Hands leases over: they are free at once. Gives how many were still held.
pub async fn release(pool: &PgPool, owner: &str, held: &[Held]) -> sqlx::Result<u64> {
    let columns = Columns::of(held);
    let done = sqlx::query!(
        "update outbox_shards s
         set owner = null, lease_until = statement_timestamp(),
             low_id = greatest(s.low_id, h.low_id),
             fence_seq = case when s.generation = h.generation
                              then greatest(s.fence_seq, h.fence_seq) else s.fence_seq end
         from unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             as h (shard, epoch, generation, fence_seq, low_id)
         where s.shard = h.shard and s.owner = $1 and s.epoch = h.epoch",
        owner,
        &columns.shards,
        &columns.epochs,
        &columns.generations,
        &columns.fences,
        &columns.lows,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Whether `owner` holds the shard under that epoch, by the database's clock.
pub async fn holds(pool: &PgPool, owner: &str, shard: Shard, epoch: Epoch) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!(
        "select 1 from outbox_shards
         where shard = $1 and owner = $2 and epoch = $3 and lease_until > statement_timestamp()",
        shard.number(),
        owner,
        epoch.0
    )
    .fetch_optional(pool)
    .await?;
    Ok(found.is_some())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
