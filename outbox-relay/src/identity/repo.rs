//! The SQL of `outbox_identity`, one row. Each change is conditional on the generation that was
//! read, so that several relays that notice the same thing note it once.

use sqlx::PgPool;
use uuid::Uuid;

/// The row.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The outbox, made by the migration.
    pub outbox: Uuid,
    /// When the stream was created, RFC 3339; `None` before it was first seen.
    pub stream_created: Option<String>,
    /// A position that the stream has surely reached.
    pub stream_last_seq: i64,
    /// Rises each time the stream is found to be *lost*.
    pub generation: i64,
}

/// What a look at the stream showed.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// When the stream was created, RFC 3339.
    pub created: String,
    /// Its last sequence.
    pub last_seq: i64,
}

/// Reads the row.
pub async fn load(pool: &PgPool) -> sqlx::Result<Identity> {
    sqlx::query_as!(
        Identity,
        "select id as outbox, stream_created, stream_last_seq, stream_generation as generation
         from outbox_identity"
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
