//! The SQL of `outbox_identity`, one row. Each change is conditional on the generation that was
//! read, so that several relays that notice the same thing note it once.

use sqlx::PgPool;

use super::entity::{Identity, Sighting};

/// Reads the row. The stream has surely reached whatever is recorded for it, too.
pub async fn load(pool: &PgPool) -> sqlx::Result<Identity> {
    sqlx::query_as!(
        Identity,
        r#"select i.id as outbox, i.stream_created, i.stream_generation as generation,
                  greatest(i.stream_last_seq, coalesce(max(reached.seq), 0)) as "stream_last_seq!"
           from outbox_identity i, outbox_shards s,
           lateral (
               select greatest(
                   case when s.generation = i.stream_generation then s.fence_seq end,
                   (select max(p.stream_seq) from outbox_published p
                    where p.shard = s.shard and p.generation = i.stream_generation)) as seq
           ) reached
           group by i.only_row"#
    )
    .fetch_one(pool)
    .await
}

/// Notes the stream as it was first seen, or how far it has come.
pub async fn note(pool: &PgPool, known: &Identity, seen: &Sighting) -> sqlx::Result<()> {
    sqlx::query!(
        "update outbox_identity
         set stream_created = $2, stream_last_seq = greatest(stream_last_seq, $3)
         where stream_generation = $1 and (stream_created is null or stream_created = $2)
           and (stream_created is null or stream_last_seq < $3)",
        known.generation,
        seen.created,
        seen.last_seq
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Raises the generation, if nobody has since `known` was read: from now on no shard publishes
/// before it is verified. Gives whether this call did it.
pub async fn declare_lost(pool: &PgPool, generation: i64, seen: &Sighting) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update outbox_identity
         set stream_generation = stream_generation + 1,
             stream_since = case when stream_created = $2 then stream_since
                                 else stream_generation + 1 end,
             stream_created = $2, stream_last_seq = $3
         where stream_generation = $1",
        generation,
        seen.created,
        seen.last_seq
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}
