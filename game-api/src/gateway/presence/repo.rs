//! The SQL of presence. Whether a gateway lives is decided by the database's clock alone.

use std::collections::HashMap;
use std::time::Duration;

use shared::ids::{GameId, PlayerId};
use shared::shard::Shard;
use shared::subjects;
use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use super::roster::{Change, Viewer};
use super::{Counts, Stats, Wanted};

/// One start of a gateway; its rows die with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incarnation(Uuid);

/// Begins a life of `gateway`, which ends when it has not been seen for `silent_max`.
pub(super) async fn begin(
    pool: &PgPool,
    gateway: &str,
    silent_max: Duration,
) -> Result<Incarnation, sqlx::Error> {
    let silent_max = PgInterval {
        microseconds: i64::try_from(silent_max.as_micros()).unwrap_or(i64::MAX),
        ..PgInterval::default()
    };
    let id = sqlx::query_scalar!(
        "insert into gateways (id, incarnation, silent_max)
        values ($1, fogline_uuid_v7(), $2) returning incarnation",
        gateway,
        silent_max,
    )
    .fetch_one(pool)
    .await?;
    Ok(Incarnation(id))
}

/// One heartbeat, and what has changed since the last one, in one statement. Gives whether the
/// incarnation still lives; if not, nothing was written.
pub(super) async fn beat(
    pool: &PgPool,
    incarnation: Incarnation,
    changes: &[Change],
) -> Result<bool, sqlx::Error> {
    let mut shards = Vec::with_capacity(changes.len());
    let mut games = Vec::with_capacity(changes.len());
    let mut viewers = Vec::with_capacity(changes.len());
    let mut counts = Vec::with_capacity(changes.len());
    let mut listed = Vec::with_capacity(changes.len());
    for change in changes {
        shards.push(shard(change.key.game));
        games.push(change.key.game.0);
        viewers.push(match change.key.viewer {
            Viewer::Player(player) => player.0,
            Viewer::Anonymous => incarnation.0,
        });
        counts.push(i32::try_from(change.viewers).unwrap_or(i32::MAX));
        listed.push(change.listed);
    }
    sqlx::query_scalar!(
        r#"with beat as (
            update gateways set last_seen = statement_timestamp()
            where incarnation = $1 and last_seen + silent_max > statement_timestamp()
            returning id
        ), change as (
            select c.shard, c.game_id, c.viewer_id, c.viewers, c.listed, beat.id as gateway_id
            from beat, unnest($2::smallint[], $3::uuid[], $4::uuid[], $5::integer[], $6::boolean[])
                as c (shard, game_id, viewer_id, viewers, listed)
        ), gone as (
            delete from presence p using change c
            where c.viewers = 0 and p.shard = c.shard and p.game_id = c.game_id
                and p.viewer_id = c.viewer_id and p.incarnation = $1
        ), here as (
            insert into presence (shard, game_id, viewer_id, gateway_id, incarnation, viewers, listed)
            select c.shard, c.game_id, c.viewer_id, c.gateway_id, $1, c.viewers, c.listed
            from change c where c.viewers > 0
            on conflict (shard, game_id, viewer_id, incarnation)
                do update set viewers = excluded.viewers, listed = excluded.listed
        )
        select exists (select from beat) as "alive!""#,
        incarnation.0,
        &shards,
        &games,
        &viewers,
        &counts,
        &listed,
    )
    .fetch_one(pool)
    .await
}

/// Takes away dead gateways, and at most `max` rows of theirs; a gateway goes when it has no rows
/// left. A row that another instance is reaping is passed over.
pub(super) async fn reap(pool: &PgPool, max: i64) -> Result<u64, sqlx::Error> {
    let reaped = sqlx::query!(
        "with dead as (
            select incarnation from gateways
            where last_seen + silent_max <= statement_timestamp()
            for update skip locked
        ), gone as (
            delete from presence where (shard, game_id, viewer_id, incarnation) in (
                select p.shard, p.game_id, p.viewer_id, p.incarnation
                from presence p join dead using (incarnation) limit $1)
        )
        delete from gateways g using dead d
        where g.incarnation = d.incarnation
            and not exists (select from presence p where p.incarnation = d.incarnation)",
        max,
    )
    .execute(pool)
    .await?;
    Ok(reaped.rows_affected())
}

/// Who is there of each of these games, in one query.
pub(super) async fn counts(
    pool: &PgPool,
    wanted: &[Wanted],
) -> Result<HashMap<GameId, Counts>, sqlx::Error> {
    let player = |id: Option<PlayerId>| id.map(|id| id.0);
    let shards: Vec<i16> = wanted.iter().map(|one| shard(one.game)).collect();
    let games: Vec<Uuid> = wanted.iter().map(|one| one.game.0).collect();
    let whites: Vec<Option<Uuid>> = wanted.iter().map(|one| player(one.white)).collect();
    let blacks: Vec<Option<Uuid>> = wanted.iter().map(|one| player(one.black)).collect();
    let rows = sqlx::query!(
        r#"select w.game_id as "game_id!",
            (count(distinct s.viewer_id) filter (where not s.is_anonymous
                and s.viewer_id is distinct from w.white_id
                and s.viewer_id is distinct from w.black_id)
            + coalesce(sum(s.viewers) filter (where s.is_anonymous), 0))::bigint as "watching!",
            coalesce(bool_or(s.viewer_id = w.white_id), false) as "white!",
            coalesce(bool_or(s.viewer_id = w.black_id), false) as "black!"
        from unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::uuid[])
            as w (shard, game_id, white_id, black_id)
        join presence_seen s on s.shard = w.shard and s.game_id = w.game_id
        where s.is_alive
        group by w.game_id"#,
        &shards,
        &games,
        &whites as &[Option<Uuid>],
        &blacks as &[Option<Uuid>],
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let counts = Counts {
                watching: row.watching,
                white: row.white,
                black: row.black,
            };
            (GameId(row.game_id), counts)
        })
        .collect())
}

/// The same over all public games together.
pub(super) async fn stats(pool: &PgPool) -> Result<Stats, sqlx::Error> {
    sqlx::query_as!(
        Stats,
        r#"select count(distinct viewer_id) filter (where not is_anonymous) as "players!",
            (count(distinct viewer_id) filter (where not is_anonymous)
                + coalesce(sum(viewers) filter (where is_anonymous), 0))::bigint as "viewers!",
            count(distinct game_id) as "games!"
        from presence_seen where is_alive and listed"#,
    )
    .fetch_one(pool)
    .await
}

fn shard(game: GameId) -> i16 {
    Shard::of_key(&subjects::game_key(game)).number()
}
