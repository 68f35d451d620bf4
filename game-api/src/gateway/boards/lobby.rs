//! The lobby: the public games that wait for a player, newest first, and how many are there.

use std::collections::HashMap;

use serde_json::{Value, json};
use shared::ids::GameId;

use super::lock;
use crate::games::entity::GameStatus;
use crate::gateway::Gateway;
use crate::problem::Problem;

/// Games that the lobby shows, the newest: some 40 KB. Whoever looks for older ones has the list.
const GAMES_MAX: i64 = 100;

/// What the lobby shows now.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    games: Vec<(GameId, Value)>,
    stats: Value,
}

impl Lobby {
    /// Whether somebody waits for it.
    pub(super) fn is_wanted(gateway: &Gateway) -> bool {
        let board = lock(&gateway.boards().lobby);
        board.has_readers() && board.is_blank()
    }

    /// Looks what is there, and shows it if it is new.
    pub(super) async fn look(&mut self, gateway: &Gateway) -> Result<(), Problem> {
        {
            let mut board = lock(&gateway.boards().lobby);
            if !board.has_readers() {
                if !board.is_blank() {
                    board.wipe();
                }
                return Ok(());
            }
        }
        let games = gateway.games();
        let open = games.lobby(GameStatus::Open, None, GAMES_MAX).await?;
        let described = gateway.describe_listed(&open, None).await?;
        let now: Vec<(GameId, Value)> = open.iter().map(|game| game.id).zip(described).collect();
        let stats = gateway.stats().get(gateway).await?;
        self.show(gateway, now, json!(stats));
        Ok(())
    }

    fn show(&mut self, gateway: &Gateway, now: Vec<(GameId, Value)>, stats: Value) {
        let mut board = lock(&gateway.boards().lobby);
        let (changed, gone) = difference(&self.games, &now);
        let news = !changed.is_empty() || !gone.is_empty() || stats != self.stats;
        if news || board.is_blank() {
            let games: Vec<&Value> = now.iter().map(|(_, game)| game).collect();
            let whole = json!({"type": "snapshot", "topic": "lobby", "games": games,
                "stats": stats});
            let change = json!({"type": "event", "topic": "lobby", "games": changed,
                "gone": gone, "stats": stats});
            board.post(&whole, &change);
        }
        drop(board);
        (self.games, self.stats) = (now, stats);
    }
}

/// What is new or not as it was, and what is not there any more.
fn difference<'a>(
    before: &[(GameId, Value)],
    now: &'a [(GameId, Value)],
) -> (Vec<&'a Value>, Vec<GameId>) {
    let was: HashMap<GameId, &Value> = before.iter().map(|(id, game)| (*id, game)).collect();
    let is: HashMap<GameId, &Value> = now.iter().map(|(id, game)| (*id, game)).collect();
    let changed = now.iter().filter(|(id, game)| was.get(id) != Some(&game));
    let gone = before.iter().filter(|(id, _)| !is.contains_key(id));
    (
        changed.map(|(_, game)| game).collect(),
        gone.map(|(id, _)| *id).collect(),
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_what_is_new_or_changed_or_gone_is_told() {
        let id = |n| GameId(Uuid::from_u128(n));
        let before = [
            (id(1), json!("a")),
            (id(2), json!("b")),
            (id(3), json!("c")),
        ];
        let now = [
            (id(4), json!("d")),
            (id(3), json!("C")),
            (id(1), json!("a")),
        ];
        let (changed, gone) = difference(&before, &now);
        assert_eq!(
            (changed, gone),
            (vec![&json!("d"), &json!("C")], vec![id(2)])
        );
        assert_eq!(difference(&now, &now), (vec![], vec![]));
    }
}
