//! The challenges that are open: an index beside the games, which decide.

use shared::ids::{GameId, PlayerId};
use shared::shard::Shard;
use shared::subjects;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Rows that one challenge takes away which an instance of the release before has left behind.
const STALE_MAX: i64 = 100;

/// How a challenge stands in the way of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenged {
    /// It is noted.
    Noted,
    /// There is no such player.
    Nobody,
    /// The challenger has one open against the same player.
    Again,
    /// The challenger has as many open as they may.
    TooMany,
}

/// Notes a challenge that is being made in the same transaction.
///
/// A player's challenges are counted and made one after the other: the challenger's row is held until
/// the transaction ends. That of the challenged one is not, so that nobody waits for what others do
/// with them; nor is looked at what others have open against them: both would tell.
///
/// Both queries that join to `games` are planned each time. A plan that was made while that table was
/// young reads it whole, and is kept while it grows, until it is analyzed.
pub async fn challenge_in_tx(
    connection: &mut PgConnection,
    by: PlayerId,
    to: PlayerId,
    game: GameId,
    open_max: i64,
) -> Result<Challenged, sqlx::Error> {
    let is_known = sqlx::query_scalar!(
        r#"select exists (select from players where id = $2) as "is_known!"
        from (select set_config('plan_cache_mode', 'force_custom_plan', true)) planned, players
        where id = $1 for no key update of players"#,
        by.0,
        to.0,
    )
    .fetch_optional(&mut *connection)
    .await?;
    if is_known != Some(true) {
        return Ok(Challenged::Nobody);
    }
    let found = sqlx::query!(
        r#"with own as materialized (
            select c.challenged_id, c.game_id, g.status = 'open' as is_open
            from challenges c join games g on g.shard = c.shard and g.id = c.game_id
            where c.challenger_id = $1
        ), stale as (
            delete from challenges where (challenged_id, game_id) in (
                select challenged_id, game_id from own where not is_open limit $6)
        ), noted as (
            insert into challenges (challenged_id, game_id, shard, challenger_id)
            select $2, $3, $4, $1
            where (select count(*) from own where is_open) < $5
              and not exists (select from own where is_open and challenged_id = $2)
            returning game_id
        )
        select exists (select from noted) as "noted!",
               exists (select from own where is_open and challenged_id = $2) as "again!""#,
        by.0,
        to.0,
        game.0,
        Shard::of_key(&subjects::game_key(game)).number(),
        open_max,
        STALE_MAX,
    )
    .fetch_one(connection)
    .await?;
    Ok(match (found.noted, found.again) {
        (true, _) => Challenged::Noted,
        (false, true) => Challenged::Again,
        (false, false) => Challenged::TooMany,
    })
}

/// The open challenges addressed to these players: the newest first, at most `limit` each, in one
/// query.
pub async fn challenges_to(
    pool: &PgPool,
    players: &[PlayerId],
    limit: i64,
) -> Result<Vec<(PlayerId, GameId)>, sqlx::Error> {
    let players: Vec<Uuid> = players.iter().map(|player| player.0).collect();
    let mut tx = pool.begin().await?;
    sqlx::raw_sql("set local plan_cache_mode = force_custom_plan")
        .execute(&mut *tx)
        .await?;
    let rows = sqlx::query!(
        r#"select w.player_id as "player_id!", o.game_id as "game_id!"
        from unnest($1::uuid[]) as w (player_id)
        cross join lateral (
            select c.game_id, c.made_at
            from challenges c join games g on g.shard = c.shard and g.id = c.game_id
            where c.challenged_id = w.player_id and g.status = 'open'
            order by c.made_at desc, c.game_id desc
            limit $2
        ) as o
        order by o.made_at desc, o.game_id desc"#,
        &players,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let challenges = rows
        .into_iter()
        .map(|row| (PlayerId(row.player_id), GameId(row.game_id)));
    Ok(challenges.collect())
}
