//! `me`: a player's own games, wherever they were made, joined or ended.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use shared::ids::{GameId, PlayerId};
use tokio::time::Instant;

use super::{lock, repo};
use crate::database::{Failures, bounded};
use crate::games::entity::GameStatus;
use crate::games::repo as games_repo;
use crate::gateway::Gateway;
use crate::mutants;
use crate::problem::Problem;
use repo::Standing;

/// Games of one player that a look finds, the ones that changed last: nobody plays more at a time.
const GAMES_MAX: i64 = 50;
/// A change is visible when it is committed, which is later than when it was made by no more than a
/// commit may take. So each look goes back so far behind the one before it.
const COMMIT_MAX: Duration = Duration::from_secs(15);

/// What the players who read their boards here were told.
#[derive(Debug, Default)]
pub(super) struct Players {
    told: HashMap<PlayerId, Told>,
    looked: Option<Instant>,
}

/// What one player was told.
#[derive(Debug, Default)]
struct Told {
    /// How their games stand, of those that change or have changed just now.
    statuses: HashMap<GameId, GameStatus>,
    /// Those that are not over, as they were described.
    live: Vec<(GameId, Value)>,
}

impl Players {
    /// Looks at all the games of those whose board is blank.
    pub(super) async fn begin(&mut self, gateway: &Gateway) -> Result<(), Problem> {
        let players = self.readers(gateway, true);
        for player in &players {
            self.told.insert(*player, Told::default());
        }
        self.look(gateway, &players, None).await
    }

    /// Looks at what has changed since the last time.
    pub(super) async fn go_on(&mut self, gateway: &Gateway) -> Result<(), Problem> {
        let now = Instant::now();
        let since = self
            .looked
            .map_or(COMMIT_MAX, |looked| now.duration_since(looked) + COMMIT_MAX);
        let players = self.readers(gateway, false);
        self.look(gateway, &players, Some(since)).await?;
        self.looked = Some(now);
        Ok(())
    }

    fn readers(&mut self, gateway: &Gateway, blank: bool) -> Vec<PlayerId> {
        let mut boards = lock(&gateway.boards().players);
        boards.retain(|_, board| board.has_readers());
        self.told.retain(|player, _| boards.contains_key(player));
        let wanted = boards.iter().filter(|(_, board)| board.is_blank() == blank);
        wanted.map(|(player, _)| *player).collect()
    }

    async fn look(
        &mut self,
        gateway: &Gateway,
        players: &[PlayerId],
        since: Option<Duration>,
    ) -> Result<(), Problem> {
        if players.is_empty() {
            return Ok(());
        }
        let standings = repo::standings(gateway.pool(), players, since, GAMES_MAX);
        let mut standings = bounded(standings)
            .await
            .map_err(|error| Failures::read(&error))?;
        for (player, game) in mutants::watched_by(players) {
            let status = GameStatus::Active;
            standings.push(Standing {
                player,
                game,
                status,
            });
        }
        let described = self.describe(gateway, &standings, since.is_none()).await?;
        let mut own: HashMap<PlayerId, Vec<Standing>> = HashMap::new();
        for standing in standings {
            own.entry(standing.player).or_default().push(standing);
        }
        for player in players {
            let own = own.remove(player).unwrap_or_default();
            self.show(gateway, *player, &own, &described);
        }
        Ok(())
    }

    /// The games that somebody is to be told of.
    async fn describe(
        &self,
        gateway: &Gateway,
        standings: &[Standing],
        first: bool,
    ) -> Result<HashMap<GameId, Value>, Problem> {
        let news = standings.iter().filter(|standing| {
            let told = self.told.get(&standing.player);
            let before = told.and_then(|told| told.statuses.get(&standing.game));
            before != Some(&standing.status) && !(first && standing.status.is_over())
        });
        let mut ids: Vec<GameId> = news.map(|standing| standing.game).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let games = bounded(games_repo::load_all(gateway.pool(), &ids))
            .await
            .map_err(|error| Failures::read(&error))?;
        let described = gateway.games().describe_all(&games, None).await?;
        let with_code = games.iter().zip(described).map(|(game, mut value)| {
            value["code"] = json!(game.code);
            mutants::own_game(game, &mut value);
            (game.id, value)
        });
        Ok(with_code.collect())
    }

    fn show(
        &mut self,
        gateway: &Gateway,
        player: PlayerId,
        own: &[Standing],
        described: &HashMap<GameId, Value>,
    ) {
        let told = self.told.entry(player).or_default();
        let events = told.take(own, described);
        let mut boards = lock(&gateway.boards().players);
        let Some(board) = boards.get_mut(&player) else {
            return;
        };
        if events.is_empty() && !board.is_blank() {
            return;
        }
        let games: Vec<&Value> = told.live.iter().map(|(_, game)| game).collect();
        let whole = json!({"type": "snapshot", "topic": "me", "games": games});
        let change = json!({"type": "event", "topic": "me", "events": events});
        board.post(&whole, &change);
    }
}

impl Told {
    /// Takes in how games stand, newest change first, and gives what is new of it, oldest first.
    fn take(&mut self, own: &[Standing], described: &HashMap<GameId, Value>) -> Vec<Value> {
        let mut events = Vec::new();
        for standing in own.iter().rev() {
            let before = self.statuses.insert(standing.game, standing.status);
            let news = before != Some(standing.status);
            let Some(game) = described.get(&standing.game).filter(|_| news) else {
                continue;
            };
            self.live.retain(|(id, _)| *id != standing.game);
            if !standing.status.is_over() {
                self.live.insert(0, (standing.game, game.clone()));
            }
            events.push(json!({"kind": kind(standing.status), "game": game}));
        }
        // A game that is over is not found any more after a while, and need not be remembered.
        self.statuses.retain(|game, status| {
            !status.is_over() || own.iter().any(|standing| standing.game == *game)
        });
        events
    }
}

/// What has happened to a game that stands so now, and did not before.
const fn kind(status: GameStatus) -> &'static str {
    match status {
        GameStatus::Open => "created",
        GameStatus::Active => "started",
        GameStatus::Finished | GameStatus::Aborted => "ended",
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_player_is_told_once_of_each_change_of_a_game() {
        use GameStatus::{Active, Finished, Open};
        let game = GameId(Uuid::from_u128(1));
        let described = HashMap::from([(game, json!("game"))]);
        let mut told = Told::default();
        let mut take = |status| {
            let standing = Standing {
                player: PlayerId(Uuid::from_u128(2)),
                game,
                status,
            };
            let events = told.take(&[standing], &described);
            let kinds: Vec<Value> = events.iter().map(|event| event["kind"].clone()).collect();
            (kinds, told.live.len())
        };
        assert_eq!(take(Open), (vec![json!("created")], 1));
        assert_eq!(take(Open), (vec![], 1));
        assert_eq!(take(Active), (vec![json!("started")], 1));
        assert_eq!(take(Finished), (vec![json!("ended")], 0));
        assert_eq!(take(Finished), (vec![], 0));
        assert_eq!(told.take(&[], &described), Vec::<Value>::new());
        assert!(told.statuses.is_empty());
    }
}
