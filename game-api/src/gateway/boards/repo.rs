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

/// The games of these players that are not over: the latest change first, at most `limit` each, in one
/// query.
pub(super) async fn live(
    pool: &PgPool,
    players: &[PlayerId],
    limit: usize,
) -> Result<Vec<Standing>, sqlx::Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let players: Vec<Uuid> = players.iter().map(|player| player.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select w.player_id as "player_id!", g.game_id as "game_id!", g.status as "status!"
        from unnest($1::uuid[]) as w (player_id)
        cross join lateral (
            select p.game_id, p.status, p.changed_at from player_games p
            where p.player_id = w.player_id and p.status in ('open', 'active')
            order by p.changed_at desc limit $2
        ) as g
        order by g.changed_at desc"#,
        &players,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().filter_map(Row::standing).collect())
}

/// How the games of these players stand that changed `since`: the latest first, at most `limit` each,
/// in one query.
pub(super) async fn standings(
    pool: &PgPool,
    players: &[PlayerId],
    since: Duration,
    limit: i64,
) -> Result<Vec<Standing>, sqlx::Error> {
    let players: Vec<Uuid> = players.iter().map(|player| player.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select w.player_id as "player_id!", g.game_id as "game_id!", g.status as "status!"
        from unnest($1::uuid[]) as w (player_id)
        cross join lateral (
            select p.game_id, p.status, p.changed_at from player_games p
            where p.player_id = w.player_id
              and p.changed_at > statement_timestamp() - make_interval(secs => $2)
            order by p.changed_at desc limit $3
        ) as g
        order by g.changed_at desc"#,
        &players,
        since.as_secs_f64(),
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().filter_map(Row::standing).collect())
}

struct Row {
    player_id: Uuid,
    game_id: Uuid,
    status: String,
}

impl Row {
    fn standing(self) -> Option<Standing> {
        let named = |status: &GameStatus| status.as_str() == self.status;
        Some(Standing {
            player: PlayerId(self.player_id),
            game: GameId(self.game_id),
            status: STATUSES.into_iter().find(named)?,
        })
    }
}
