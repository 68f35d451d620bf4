//! Reading over many games, shard by shard: the lobby, due flags, the reconciler's comparison.

use shared::ids::GameId;
use shared::shard::Shard;
use shared::subjects;
use sqlx::PgPool;
use uuid::Uuid;

use super::rows::GameRow;
use crate::games::entity::{Game, GameStatus, Seq};

/// Where a page of the lobby ends: games are listed newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LobbyPosition {
    /// Creation time of the last game listed, microseconds since 1970.
    pub created_at_us: i64,
    /// Its id.
    pub id: GameId,
}

/// Public games of a status, newest first, after a position. A challenge that nobody has accepted is
/// private in this table, whatever was asked for.
pub async fn lobby(
    pool: &PgPool,
    status: GameStatus,
    after: Option<LobbyPosition>,
    limit: i64,
) -> Result<Vec<Game>, sqlx::Error> {
    let after_us = after.map(|position| position.created_at_us);
    let after_id = after.map_or(Uuid::max(), |position| position.id.0);
    let rows = sqlx::query_as!(
        GameRow,
        r#"select g.shard as "shard!", g.id as "id!", g.code as "code!", g.ruleset as "ruleset!",
            g.status as "status!", g.visibility as "visibility!", g.rated as "rated!",
            g.seq as "seq!", g.n_white as "n_white!", g.n_black as "n_black!",
            g.n_public as "n_public!", g.state as "state!", g.scene as "scene!", g.turn as "turn!",
            g.moves_made as "moves_made!", g.draw_offer, g.white_id, g.black_id,
            g.challenged_id, g.visibility_joined, g.initial_ms, g.increment_ms, g.white_ms, g.black_ms, g.running, g.result, g.rematch_of,
            (extract(epoch from g.created_at) * 1000000)::bigint as "created_at_us!",
            fogline_ms(g.last_event_at) as "at_ms!", fogline_ms(statement_timestamp()) as "read_at_ms!",
            fogline_ms(g.flag_at) - fogline_ms(statement_timestamp()) as flag_in_ms
        from generate_series(0, 63) as s (shard)
        cross join lateral (
            select * from games
            where games.shard = s.shard::smallint and games.status = $1
                and games.visibility = 'public'
                and (games.created_at, games.id) < (coalesce(
                    timestamptz 'epoch' + $2::bigint * interval '1 microsecond', 'infinity'), $3)
            order by games.created_at desc, games.id desc
            limit $4
        ) as g
        order by g.created_at desc, g.id desc
        limit $4"#,
        status.as_str(),
        after_us,
        after_id,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok(Game::try_from(row)?))
        .collect()
}

/// Games whose flag is due by the database's clock, at most `limit` a shard. Games that another
/// instance holds are passed over: it is dealing with them.
pub async fn due_flags(pool: &PgPool, limit: i64) -> Result<Vec<GameId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select g.id as "id!"
        from generate_series(0, 63) as s (shard)
        cross join lateral (
            select games.id from games
            where games.shard = s.shard::smallint and games.flag_at <= statement_timestamp()
            order by games.flag_at
            limit $1
            for update skip locked
        ) as g"#,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(GameId).collect())
}

/// The last sequence number of each of these games, in one query.
pub async fn latest_seqs(pool: &PgPool, ids: &[GameId]) -> Result<Vec<(GameId, Seq)>, sqlx::Error> {
    let shards: Vec<i16> = ids
        .iter()
        .map(|id| Shard::of_key(&subjects::game_key(*id)).number())
        .collect();
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select g.id, g.seq
        from unnest($1::smallint[], $2::uuid[]) as w (shard, id)
        join games g on g.shard = w.shard and g.id = w.id"#,
        &shards,
        &ids,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (GameId(row.id), Seq(row.seq)))
        .collect())
}
