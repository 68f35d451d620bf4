//! The `players` table.

use shared::ids::PlayerId;
use sqlx::{PgConnection, PgPool};

use super::entity::{Player, PlayerName, SecretHash};

/// Adds a player; the event belongs into the same transaction.
pub(super) async fn insert_in_tx(
    connection: &mut PgConnection,
    id: PlayerId,
    name: &PlayerName,
    secret: &SecretHash,
) -> Result<Player, sqlx::Error> {
    sqlx::query_as!(
        Player,
        r#"insert into players (id, name, secret_hash)
           values ($1, $2, $3)
           returning id as "id: PlayerId", name, seq, created_at, updated_at"#,
        id as PlayerId,
        name.as_str(),
        &secret.0[..],
    )
    .fetch_one(connection)
    .await
}

/// Gives a player another name; the event belongs into the same transaction. `None` if there is no
/// such player, or if that is the name already.
pub(super) async fn rename_in_tx(
    connection: &mut PgConnection,
    id: PlayerId,
    name: &PlayerName,
) -> Result<Option<Player>, sqlx::Error> {
    sqlx::query_as!(
        Player,
        r#"update players
           set name = $2, seq = seq + 1, updated_at = statement_timestamp()
           where id = $1 and name <> $2
           returning id as "id: PlayerId", name, seq, created_at, updated_at"#,
        id as PlayerId,
        name.as_str(),
    )
    .fetch_optional(connection)
    .await
}

/// The player of that id.
pub(super) async fn find(pool: &PgPool, id: PlayerId) -> Result<Option<Player>, sqlx::Error> {
    sqlx::query_as!(
        Player,
        r#"select id as "id: PlayerId", name, seq, created_at, updated_at
           from players where id = $1"#,
        id as PlayerId,
    )
    .fetch_optional(pool)
    .await
}

/// Whether that is the player's secret.
pub(super) async fn has_secret(
    pool: &PgPool,
    id: PlayerId,
    secret: &SecretHash,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from players where id = $1 and secret_hash = $2) as "has!""#,
        id as PlayerId,
        &secret.0[..],
    )
    .fetch_one(pool)
    .await
}
