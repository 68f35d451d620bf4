//! The SQL of boards.

use std::time::Duration;

use shared::ids::{GameId, PlayerId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::games::entity::GameStatus;

const STATUSES: [GameStatus; 4] = [
    GameStatus::Open,
    GameStatus::Active,
    GameStatus::Finished,
    GameStatus::Aborted,
];

/// How a game of a player stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) player: PlayerId,
    pub(super) game: GameId,
    pub(super) status: GameStatus,
}

/// How the games of these players stand that changed `since`, or ever: the latest first, at most
/// `limit` each, in one query.
pub(super) async fn standings(
    pool: &PgPool,
    players: &[PlayerId],
    since: Option<Duration>,
    limit: i64,
) -> Result<Vec<Standing>, sqlx::Error> {
    let players: Vec<Uuid> = players.iter().map(|player| player.0).collect();
    let rows = sqlx::query!(
        r#"select w.player_id as "player_id!", g.game_id as "game_id!", g.status as "status!"
        from unnest($1::uuid[]) as w (player_id)
        cross join lateral (
            select p.game_id, p.status, p.changed_at from player_games p
            where p.player_id = w.player_id and p.changed_at
                > coalesce(statement_timestamp() - make_interval(secs => $2), '-infinity')
            order by p.changed_at desc limit $3
        ) as g
        order by g.changed_at desc"#,
        &players,
        since.map(|since| since.as_secs_f64()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    let standings = rows.into_iter().filter_map(|row| {
        Some(Standing {
            player: PlayerId(row.player_id),
            game: GameId(row.game_id),
            status: STATUSES
                .into_iter()
                .find(|status| status.as_str() == row.status)?,
        })
    });
    Ok(standings.collect())
}
