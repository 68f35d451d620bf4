//! What a player was told of their games and challenges, and what of it is new. Pure.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use shared::ids::{GameId, PlayerId};

use super::repo::Standing;
use crate::games::entity::GameStatus;

/// Games that are not over of which a player is told, those that changed last: a snapshot is one
/// message, and nobody plays more at a time.
pub(super) const LIVE_MAX: usize = 100;

/// What one player was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How their games stand, of those that change or have changed just now.
    statuses: HashMap<GameId, GameStatus>,
    /// Those that are not over, the latest change first, as they were described.
    pub(super) live: Vec<(GameId, Value)>,
    /// The open challenges addressed to them, newest first, as they were described.
    pub(super) challenges: Vec<(GameId, Value)>,
}

/// A game as it is described to one player.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) game: Value,
    pub(super) status: GameStatus,
    /// Whether the player has a seat in it.
    pub(super) is_own: bool,
}

/// Each game as each player who is to be told of it sees it.
pub(super) type AllDescribed = HashMap<(PlayerId, GameId), Described>;

/// What a look has found of one player.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) player: PlayerId,
    /// Their games, the latest change first.
    pub(super) own: Vec<Standing>,
    /// The open challenges addressed to them, the newest first.
    pub(super) challenges: Vec<GameId>,
}

impl Told {
    /// The games of which there may be something to tell.
    pub(super) fn news(&self, found: &Found, first: bool) -> HashSet<GameId> {
        let own = found.own.iter().filter(|standing| {
            let before = self.statuses.get(&standing.game);
            before != Some(&standing.status) && !(first && standing.status.is_over())
        });
        let own = own.map(|standing| standing.game);
        let told: HashSet<GameId> = self.challenges.iter().map(|(game, _)| *game).collect();
        let open: HashSet<GameId> = found.challenges.iter().copied().collect();
        own.chain(told.symmetric_difference(&open).copied())
            .collect()
    }

    /// Takes in what was found, and gives what is new of it, oldest first.
    pub(super) fn take(&mut self, found: &Found, described: &AllDescribed) -> Vec<Value> {
        let of = |game: GameId| described.get(&(found.player, game));
        let mut events = Vec::new();
        for standing in found.own.iter().rev() {
            let before = self.statuses.insert(standing.game, standing.status);
            let news = before != Some(standing.status);
            let Some(described) = of(standing.game).filter(|_| news) else {
                continue;
            };
            self.live.retain(|(id, _)| *id != standing.game);
            if !standing.status.is_over() {
                self.live.insert(0, (standing.game, described.game.clone()));
            }
            events.push(json!({"kind": kind(standing.status), "game": described.game}));
        }
        for (gone, _) in self.live.drain(LIVE_MAX.min(self.live.len())..) {
            self.statuses.remove(&gone);
        }
        // A game that is over is not found any more after a while, and need not be remembered.
        self.statuses.retain(|game, status| {
            !status.is_over() || found.own.iter().any(|standing| standing.game == *game)
        });
        self.take_challenges(&found.challenges, of, &mut events);
        events
    }

    /// Takes in which challenges are open.
    fn take_challenges<'a>(
        &mut self,
        open: &[GameId],
        of: impl Fn(GameId) -> Option<&'a Described>,
        events: &mut Vec<Value>,
    ) {
        let mut before = std::mem::take(&mut self.challenges);
        for (id, as_told) in before.iter().rev().filter(|(id, _)| !open.contains(id)) {
            // One that was accepted is among the player's own; one that is open has given way to
            // newer ones.
            let Some(gone) = of(*id).filter(|gone| !gone.is_own) else {
                continue;
            };
            let game = match gone.status {
                GameStatus::Open => continue,
                GameStatus::Finished | GameStatus::Aborted => &gone.game,
                // Others play it: an instance that knows of no challenges let somebody take the seat.
                GameStatus::Active => as_told,
            };
            events.push(json!({"kind": "challenge_ended", "game": game}));
        }
        for id in open.iter().rev() {
            if self.statuses.contains_key(id) {
                continue;
            }
            if let Some(at) = before.iter().position(|(known, _)| known == id) {
                self.challenges.insert(0, before.swap_remove(at));
            } else if let Some(new) = of(*id).filter(|new| new.status == GameStatus::Open) {
                self.challenges.insert(0, (*id, new.game.clone()));
                events.push(json!({"kind": "challenged", "game": new.game}));
            }
        }
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
    use GameStatus::{Aborted, Active, Finished, Open};
    use uuid::Uuid;

    use super::*;

    const PLAYER: PlayerId = PlayerId(Uuid::from_u128(99));

    fn id(n: u128) -> GameId {
        GameId(Uuid::from_u128(n))
    }

    /// One look; gives the kinds of what is told.
    fn look(
        told: &mut Told,
        own: &[(u128, GameStatus)],
        challenges: &[u128],
        described: &[(u128, GameStatus, bool)],
    ) -> Vec<String> {
        let own = own.iter().map(|(game, status)| Standing {
            player: PLAYER,
            game: id(*game),
            status: *status,
        });
        let found = Found {
            player: PLAYER,
            own: own.collect(),
            challenges: challenges.iter().copied().map(id).collect(),
        };
        let described = described.iter().map(|(game, status, is_own)| {
            let described = Described {
                game: json!(game.to_string()),
                status: *status,
                is_own: *is_own,
            };
            ((PLAYER, id(*game)), described)
        });
        let described: AllDescribed = described.collect();
        let news = told.news(&found, false);
        let events = told.take(&found, &described);
        for event in &events {
            let game: u128 = event["game"].as_str().unwrap().parse().unwrap();
            assert!(news.contains(&id(game)), "{event} would not be described");
        }
        let words = events.iter().map(|event| {
            let word = |member: &str| event[member].as_str().unwrap().to_owned();
            format!("{} {}", word("game"), word("kind"))
        });
        words.collect()
    }

    fn shown(told: &Told) -> Vec<&str> {
        let challenges = told.challenges.iter();
        challenges.map(|(_, game)| game.as_str().unwrap()).collect()
    }

    #[test]
    fn a_player_is_told_once_of_each_change_of_a_game() {
        let mut told = Told::default();
        let mut take = |status| {
            let kinds = look(&mut told, &[(1, status)], &[], &[(1, status, true)]);
            (kinds, told.live.len())
        };
        assert_eq!(take(Open), (vec!["1 created".to_owned()], 1));
        assert_eq!(take(Open), (vec![], 1));
        assert_eq!(take(Active), (vec!["1 started".to_owned()], 1));
        assert_eq!(take(Finished), (vec!["1 ended".to_owned()], 0));
        assert_eq!(take(Finished), (vec![], 0));
        assert!(look(&mut told, &[], &[], &[]).is_empty());
        assert!(told.statuses.is_empty());
    }

    #[test]
    fn a_challenge_is_told_when_it_comes_and_when_it_goes_and_starts_when_it_is_accepted() {
        let mut told = Told::default();
        let open = |game| (game, Open, false);
        assert_eq!(
            look(&mut told, &[], &[2, 1], &[open(1), open(2)]),
            ["1 challenged", "2 challenged"]
        );
        assert_eq!(shown(&told), ["2", "1"]);
        assert!(look(&mut told, &[], &[2, 1], &[]).is_empty());
        // Accepted, and found open for the last time before that was seen.
        assert_eq!(
            look(&mut told, &[(2, Active)], &[2, 1], &[(2, Active, true)]),
            ["2 started"]
        );
        assert_eq!((shown(&told), told.live.len()), (vec!["1"], 1));
        assert!(look(&mut told, &[(2, Active)], &[1], &[]).is_empty());
        assert_eq!(
            look(&mut told, &[(2, Active)], &[], &[(1, Aborted, false)]),
            ["1 challenge_ended"]
        );
        assert!(shown(&told).is_empty());
    }

    #[test]
    fn a_challenge_accepted_and_given_up_between_two_looks_has_ended_as_an_own_game() {
        let mut told = Told::default();
        look(&mut told, &[], &[1], &[(1, Open, false)]);
        assert_eq!(
            look(&mut told, &[(1, Aborted)], &[], &[(1, Aborted, true)]),
            ["1 ended"]
        );
    }

    #[test]
    fn one_whose_seat_another_has_taken_has_ended_and_is_shown_as_it_was() {
        let mut told = Told::default();
        look(&mut told, &[], &[1], &[(1, Open, false)]);
        let as_told = told.challenges[0].1.clone();
        let found = Found {
            player: PLAYER,
            own: Vec::new(),
            challenges: Vec::new(),
        };
        let described = Described {
            game: json!({"id": id(1), "white": "somebody"}),
            status: Active,
            is_own: false,
        };
        let events = told.take(&found, &HashMap::from([((PLAYER, id(1)), described)]));
        assert_eq!(
            events,
            [json!({"kind": "challenge_ended", "game": as_told})]
        );
    }

    #[test]
    fn of_many_games_the_latest_are_kept_and_the_end_of_each_is_told() {
        let mut told = Told::default();
        let count = LIVE_MAX as u128 + 10;
        for game in 1..=count {
            let came = look(&mut told, &[(game, Active)], &[], &[(game, Active, true)]);
            assert_eq!(came, [format!("{game} started")]);
        }
        assert_eq!((told.live.len(), told.statuses.len()), (LIVE_MAX, LIVE_MAX));
        assert_eq!(told.live[0].0, id(count));
        assert_eq!(
            look(&mut told, &[(1, Finished)], &[], &[(1, Finished, true)]),
            ["1 ended"]
        );
        assert_eq!(told.live.len(), LIVE_MAX);
    }

    #[test]
    fn one_that_gives_way_to_newer_ones_is_told_again_when_there_is_room() {
        let mut told = Told::default();
        look(&mut told, &[], &[1], &[(1, Open, false)]);
        let came = [(1, Open, false), (2, Open, false)];
        assert_eq!(look(&mut told, &[], &[2], &came), ["2 challenged"]);
        assert_eq!(shown(&told), ["2"]);
        let went = [(1, Open, false), (2, Aborted, false)];
        assert_eq!(
            look(&mut told, &[], &[1], &went),
            ["2 challenge_ended", "1 challenged"]
        );
    }
}
