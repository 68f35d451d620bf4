//! Reading one game and its log.

use std::collections::HashMap;
use std::sync::Arc;

use shared::ids::{CommandId, GameId, PlayerId};
use shared::shard::Shard;
use shared::subjects;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::rows::{CorruptRow, EventRow, GameRow};
use crate::games::entity::{Game, Logged, Seq};
use crate::rules::ViewClass;

/// A game's current row.
pub async fn load(db: impl PgExecutor<'_>, id: GameId) -> Result<Option<Game>, sqlx::Error> {
    let shard = Shard::of_key(&subjects::game_key(id));
    let row = sqlx::query_as!(
        GameRow,
        r#"select shard, id, code, ruleset, status, visibility, rated, seq, n_white, n_black,
            n_public, state, scene, turn, moves_made, draw_offer, white_id, black_id,
            challenged_id, visibility_joined, initial_ms, increment_ms, white_ms, black_ms, running, result, rematch_of,
            (extract(epoch from created_at) * 1000000)::bigint as "created_at_us!",
            fogline_ms(last_event_at) as "at_ms!", fogline_ms(statement_timestamp()) as "read_at_ms!",
            fogline_ms(flag_at) - fogline_ms(statement_timestamp()) as flag_in_ms
        from games where shard = $1 and id = $2"#,
        shard.number(),
        id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Game::try_from).transpose()?)
}

/// The current rows of these games, in one query; a game that is not there is left out.
pub async fn load_all(pool: &PgPool, ids: &[GameId]) -> Result<Vec<Game>, sqlx::Error> {
    let rows = rows_of(pool, ids).await?;
    rows.into_iter()
        .map(|row| Ok(Game::try_from(row)?))
        .collect()
}

/// The same, each row judged by itself: one that cannot be read is no other game's failure.
pub async fn load_each(
    db: impl PgExecutor<'_>,
    ids: &[GameId],
) -> Result<HashMap<GameId, Result<Arc<Game>, CorruptRow>>, sqlx::Error> {
    let rows = rows_of(db, ids).await?;
    let games = rows
        .into_iter()
        .map(|row| (GameId(row.id), Game::try_from(row).map(Arc::new)));
    Ok(games.collect())
}

async fn rows_of(db: impl PgExecutor<'_>, ids: &[GameId]) -> Result<Vec<GameRow>, sqlx::Error> {
    let (shards, ids) = keys(ids.iter().copied());
    sqlx::query_as!(
        GameRow,
        r#"select g.shard, g.id, g.code, g.ruleset, g.status, g.visibility, g.rated, g.seq,
            g.n_white, g.n_black, g.n_public, g.state, g.scene, g.turn, g.moves_made, g.draw_offer,
            g.white_id, g.black_id, g.challenged_id, g.visibility_joined, g.initial_ms, g.increment_ms, g.white_ms, g.black_ms, g.running,
            g.result, g.rematch_of,
            (extract(epoch from g.created_at) * 1000000)::bigint as "created_at_us!",
            fogline_ms(g.last_event_at) as "at_ms!", fogline_ms(statement_timestamp()) as "read_at_ms!",
            fogline_ms(g.flag_at) - fogline_ms(statement_timestamp()) as flag_in_ms
        from unnest($1::smallint[], $2::uuid[]) as w (shard, id)
        join games g on g.shard = w.shard and g.id = w.id"#,
        &shards,
        &ids,
    )
    .fetch_all(db)
    .await
}

/// The events of many games, each after its own `seq`, in order, at most `limit` of each, in one
/// query. The answers are in the order of what is `wanted`, each judged by itself.
pub async fn events_after_each(
    db: impl PgExecutor<'_>,
    wanted: &[(GameId, Seq)],
    limit: i64,
) -> Result<Vec<Result<Vec<Arc<Logged>>, CorruptRow>>, sqlx::Error> {
    let (shards, ids) = keys(wanted.iter().map(|(id, _)| *id));
    let after: Vec<i64> = wanted.iter().map(|(_, seq)| seq.0).collect();
    let rows = sqlx::query!(
        r#"select w.nth as "nth!", e.game_id as "game_id!", e.seq as "seq!",
            e.event_id as "event_id!", e.kind as "kind!", e.by, e.payload::text as "payload!",
            e.n_white as "n_white!", e.n_black as "n_black!", e.n_public as "n_public!",
            e.white_ms, e.black_ms, e.running, fogline_ms(e.recorded_at) as "at_ms!"
        from unnest($1::smallint[], $2::uuid[], $3::bigint[])
            with ordinality as w (shard, id, after, nth)
        cross join lateral (
            select * from game_events g
            where g.shard = w.shard and g.game_id = w.id and g.seq > w.after
            order by g.seq
            limit $4
        ) as e
        order by w.nth, e.seq"#,
        &shards,
        &ids,
        &after,
        limit,
    )
    .fetch_all(db)
    .await?;
    let mut logs = Vec::new();
    logs.resize_with(wanted.len(), || Ok(Vec::new()));
    for row in rows {
        let event = EventRow {
            game_id: row.game_id,
            seq: row.seq,
            event_id: row.event_id,
            kind: row.kind,
            by: row.by,
            payload: row.payload,
            n_white: row.n_white,
            n_black: row.n_black,
            n_public: row.n_public,
            white_ms: row.white_ms,
            black_ms: row.black_ms,
            running: row.running,
            at_ms: row.at_ms,
        };
        let nth = usize::try_from(row.nth - 1).unwrap_or(usize::MAX);
        let Some(log) = logs.get_mut(nth) else {
            continue;
        };
        match (Logged::try_from(event), &mut *log) {
            (Ok(logged), Ok(events)) => events.push(Arc::new(logged)),
            (Err(corrupt), Ok(_)) => *log = Err(corrupt),
            (_, Err(_)) => {}
        }
    }
    Ok(logs)
}

/// Shards and ids, as the arrays of a query.
fn keys(ids: impl Iterator<Item = GameId>) -> (Vec<i16>, Vec<Uuid>) {
    ids.map(|id| {
        let shard = Shard::of_key(&subjects::game_key(id));
        (shard.number(), id.0)
    })
    .unzip()
}

/// The id of the game with that code.
pub async fn by_code(db: impl PgExecutor<'_>, code: &str) -> Result<Option<GameId>, sqlx::Error> {
    let id = sqlx::query_scalar!("select game_id from game_codes where code = $1", code)
        .fetch_optional(db)
        .await?;
    Ok(id.map(GameId))
}

/// Events after `seq`, in order, at most `limit`.
pub async fn events_after(
    pool: &PgPool,
    id: GameId,
    seq: Seq,
    limit: i64,
) -> Result<Vec<Logged>, sqlx::Error> {
    let shard = Shard::of_key(&subjects::game_key(id));
    let rows = sqlx::query_as!(
        EventRow,
        r#"select game_id, seq, event_id, kind, by, payload::text as "payload!", n_white, n_black,
            n_public, white_ms, black_ms, running, fogline_ms(recorded_at) as "at_ms!"
        from game_events where shard = $1 and game_id = $2 and seq > $3 order by seq limit $4"#,
        shard.number(),
        id.0,
        seq.0,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok(Logged::try_from(row)?))
        .collect()
}

/// Events that `class` got under an `n` greater than `after_n`, in order, at most `limit`.
pub async fn events_after_n(
    pool: &PgPool,
    id: GameId,
    class: ViewClass,
    after_n: i64,
    limit: i64,
) -> Result<Vec<Logged>, sqlx::Error> {
    let shard = Shard::of_key(&subjects::game_key(id));
    // `n` is at most `seq`, so that `seq > after_n` lets the key's index find the place.
    let rows = sqlx::query_as!(
        EventRow,
        r#"select game_id, seq, event_id, kind, by, payload::text as "payload!", n_white, n_black,
            n_public, white_ms, black_ms, running, fogline_ms(recorded_at) as "at_ms!"
        from game_events
        where shard = $1 and game_id = $2 and seq > $4
            and case $3::text when 'white' then n_white when 'black' then n_black else n_public end > $4
        order by seq limit $5"#,
        shard.number(),
        id.0,
        class.as_str(),
        after_n,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let events: Result<Vec<Logged>, sqlx::Error> = rows
        .into_iter()
        .map(|row| Ok(Logged::try_from(row)?))
        .collect();
    Ok(events?
        .into_iter()
        .filter(|logged| logged.n(class).is_some())
        .collect())
}

/// The event that a command made, with the action it was made of.
pub async fn by_command(
    pool: &PgPool,
    id: GameId,
    actor: Uuid,
    command: CommandId,
) -> Result<Option<(Logged, String)>, sqlx::Error> {
    let shard = Shard::of_key(&subjects::game_key(id));
    let row = sqlx::query!(
        r#"select game_id, seq, event_id, kind, by, payload::text as "payload!", n_white, n_black,
            n_public, white_ms, black_ms, running, fogline_ms(recorded_at) as "at_ms!", action
        from game_events where shard = $1 and game_id = $2 and actor = $3 and command_id = $4"#,
        shard.number(),
        id.0,
        actor,
        command.0,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let event = EventRow {
        game_id: row.game_id,
        seq: row.seq,
        event_id: row.event_id,
        kind: row.kind,
        by: row.by,
        payload: row.payload,
        n_white: row.n_white,
        n_black: row.n_black,
        n_public: row.n_public,
        white_ms: row.white_ms,
        black_ms: row.black_ms,
        running: row.running,
        at_ms: row.at_ms,
    };
    Ok(Some((Logged::try_from(event)?, row.action)))
}

/// The names of players. Players are no hot table; this is not on the way of a move.
pub async fn names(
    pool: &PgPool,
    ids: &[PlayerId],
) -> Result<HashMap<PlayerId, String>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!("select id, name from players where id = any($1)", &ids)
        .fetch_all(pool)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (PlayerId(row.id), row.name))
        .collect())
}
