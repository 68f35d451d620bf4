//! `me`: a player's own games, wherever they were made, joined or ended, and the challenges addressed
//! to them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use shared::ids::{GameId, PlayerId};
use tokio::time::Instant;

use super::lock;
use super::repo::{self, Standing};
use super::told::{AllDescribed, Described, Found, LIVE_MAX, Told};
use crate::database::{Failures, bounded};
use crate::games::entity::{Game, GameStatus};
use crate::games::repo as games_repo;
use crate::gateway::Gateway;
use crate::mutants;
use crate::problem::Problem;

/// Games of one player that changed since the look before and are found, those that changed last.
const GAMES_MAX: i64 = 50;
/// Open challenges that one player is shown, the newest. Whoever makes more is not refused for it:
/// that would tell them how many others have made.
const CHALLENGES_MAX: i64 = 50;
/// A change is visible when it is committed, which is later than when it was made by no more than a
/// commit may take. So each look goes back so far behind the one before it.
const COMMIT_MAX: Duration = Duration::from_secs(15);

/// What the players who read their boards here were told.
#[derive(Debug, Default)]
pub(super) struct Players {
    told: HashMap<PlayerId, Told>,
    looked: Option<Instant>,
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
        // Challenges first: what is accepted in between is found among the player's own.
        let challenges = games_repo::challenges_to(gateway.pool(), players, CHALLENGES_MAX);
        let mut challenges = bounded(challenges)
            .await
            .map_err(|error| Failures::read(&error))?;
        challenges.extend(mutants::challenged(players));
        let standings = async {
            match since {
                Some(since) => repo::standings(gateway.pool(), players, since, GAMES_MAX).await,
                None => repo::live(gateway.pool(), players, LIVE_MAX).await,
            }
        };
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
        let mut own: HashMap<PlayerId, Vec<Standing>> = HashMap::new();
        for standing in standings {
            own.entry(standing.player).or_default().push(standing);
        }
        let mut addressed: HashMap<PlayerId, Vec<GameId>> = HashMap::new();
        for (player, game) in challenges {
            addressed.entry(player).or_default().push(game);
        }
        let first = since.is_none();
        let mut news = Vec::new();
        let found: Vec<Found> = players
            .iter()
            .map(|player| Found {
                player: *player,
                own: own.remove(player).unwrap_or_default(),
                challenges: addressed.remove(player).unwrap_or_default(),
            })
            .collect();
        for found in &found {
            let told = self.told.entry(found.player).or_default();
            let games = told.news(found, first).into_iter();
            news.extend(games.map(|game| (found.player, game)));
        }
        let described = describe(gateway, &news).await?;
        for found in &found {
            self.show(gateway, found, &described);
        }
        Ok(())
    }

    fn show(&mut self, gateway: &Gateway, found: &Found, described: &AllDescribed) {
        let told = self.told.entry(found.player).or_default();
        let events = told.take(found, described);
        let mut boards = lock(&gateway.boards().players);
        let Some(board) = boards.get_mut(&found.player) else {
            return;
        };
        if events.is_empty() && !board.is_blank() {
            return;
        }
        let shown = |games: &[(GameId, Value)]| -> Vec<Value> {
            games.iter().map(|(_, game)| game.clone()).collect()
        };
        let whole = json!({"type": "snapshot", "topic": "me", "games": shown(&told.live),
            "challenges": shown(&told.challenges)});
        let change = json!({"type": "event", "topic": "me", "events": events});
        board.post(&whole, &change);
    }
}

/// Each of these games as the player beside it sees it.
async fn describe(
    gateway: &Gateway,
    wanted: &[(PlayerId, GameId)],
) -> Result<AllDescribed, Problem> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let mut ids: Vec<GameId> = wanted.iter().map(|(_, game)| *game).collect();
    ids.sort_unstable();
    ids.dedup();
    let games = bounded(games_repo::load_all(gateway.pool(), &ids))
        .await
        .map_err(|error| Failures::read(&error))?;
    let games: HashMap<GameId, Game> = games.into_iter().map(|game| (game.id, game)).collect();
    let each: Vec<(&Game, Option<PlayerId>)> = wanted
        .iter()
        .filter_map(|(player, game)| Some((games.get(game)?, Some(*player))))
        .collect();
    let described = gateway.games().describe_each(&each).await?;
    let all = each.into_iter().zip(described);
    Ok(all
        .filter_map(|((game, viewer), mut value)| {
            let player = viewer?;
            mutants::own_game(game, &mut value);
            let described = Described {
                game: value,
                status: game.status,
                is_own: game.seat_of(player).is_some(),
            };
            Some(((player, game.id), described))
        })
        .collect())
}
