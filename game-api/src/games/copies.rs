//! The instance's copies of games: hints, since each commit is conditional on what it was judged by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::ids::GameId;

use super::entity::Game;

/// Copies kept. A copy is half a kilobyte, and more by what a turn log holds; one that is missing
/// costs one query.
const COPIES_MAX: usize = 20_000;
/// A copy that nobody used for so long is dropped, and perhaps after half of it.
const IDLE_MAX: Duration = Duration::from_mins(7);
/// Parts with a lock each, so that few wait for one.
const PARTS: usize = 16;

/// Copies of games, of which those are forgotten that were not used for longest.
#[derive(Debug)]
pub(super) struct Copies([Mutex<Part>; PARTS]);

/// Two generations: what is used moves to the younger one, and the older one is forgotten as a whole
/// when the younger has filled up or grown old.
#[derive(Debug)]
struct Part {
    young: HashMap<GameId, Arc<Game>>,
    old: HashMap<GameId, Arc<Game>>,
    begun: Instant,
}

impl Copies {
    pub(super) fn new() -> Self {
        let begun = Instant::now();
        Self(std::array::from_fn(|_| {
            Mutex::new(Part {
                young: HashMap::new(),
                old: HashMap::new(),
                begun,
            })
        }))
    }

    pub(super) fn get(&self, id: GameId) -> Option<Arc<Game>> {
        self.part(id).get(id)
    }

    pub(super) fn put(&self, game: Arc<Game>) {
        self.part(game.id).put(game, Instant::now());
    }

    pub(super) fn forget(&self, id: GameId) {
        let mut part = self.part(id);
        part.young.remove(&id);
        part.old.remove(&id);
    }

    fn part(&self, id: GameId) -> MutexGuard<'_, Part> {
        // The last byte of a UUIDv7 is random.
        let [.., last] = *id.0.as_bytes();
        let part = &self.0[usize::from(last) % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn get(&mut self, id: GameId) -> Option<Arc<Game>> {
        if let Some(game) = self.young.get(&id) {
            return Some(Arc::clone(game));
        }
        let game = self.old.remove(&id)?;
        self.young.insert(id, Arc::clone(&game));
        Some(game)
    }

    fn put(&mut self, game: Arc<Game>, now: Instant) {
        let aged = now.duration_since(self.begun) >= IDLE_MAX / 2;
        if aged || self.young.len() >= COPIES_MAX / PARTS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.begun = now;
        }
        let known = self.get(game.id);
        // Whoever has read the row before a commit may come later with it.
        if known.is_none_or(|known| known.seq <= game.seq) {
            self.young.insert(game.id, game);
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::shard::Shard;

    use super::*;
    use crate::games::entity::{GameStatus, Numbers, Seq, Visibility};
    use crate::rules::{Seat, by_name};

    fn game(seq: i64) -> Arc<Game> {
        let id = GameId::generate();
        let ruleset = by_name("turn-log").unwrap();
        let opening = ruleset.opening();
        Arc::new(Game {
            shard: Shard::of_key("game.x"),
            id,
            code: String::new(),
            ruleset,
            status: GameStatus::Active,
            visibility: Visibility::Public,
            rated: false,
            seq: Seq(seq),
            numbers: Numbers::default(),
            state: opening.state,
            scene: opening.scene,
            turn: Seat::White,
            moves_made: 0,
            draw_offer: None,
            white: None,
            black: None,
            challenge: None,
            clock: None,
            result: None,
            rematch_of: None,
            created_at_us: 0,
            at_ms: 0,
            read_at_ms: 0,
            flag_in_ms: None,
        })
    }

    #[test]
    fn what_is_used_stays_and_there_are_never_too_many() {
        let copies = Copies::new();
        let used = game(1);
        copies.put(Arc::clone(&used));
        for _ in 0..COPIES_MAX * 2 {
            copies.put(game(1));
            assert!(copies.get(used.id).is_some());
        }
        let parts = copies.0.iter().map(|part| part.lock().unwrap());
        let count: usize = parts.map(|part| part.young.len() + part.old.len()).sum();
        assert!(count > COPIES_MAX / 4 && count <= COPIES_MAX, "{count}");
    }

    #[test]
    fn the_latest_copy_counts_and_a_forgotten_one_is_gone() {
        let copies = Copies::new();
        let first = game(1);
        copies.put(Arc::clone(&first));
        copies.put(Arc::new(Game {
            seq: Seq(2),
            ..(*first).clone()
        }));
        assert_eq!(copies.get(first.id).unwrap().seq, Seq(2));
        copies.forget(first.id);
        assert!(copies.get(first.id).is_none());
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let copies = Copies::new();
        let idle = game(1);
        let mut part = copies.part(idle.id);
        part.put(Arc::clone(&idle), Instant::now());
        let later = Instant::now() + IDLE_MAX / 2;
        part.put(game(1), later);
        assert_eq!((part.young.len(), part.old.len()), (1, 1));
        part.put(game(1), later + IDLE_MAX / 2);
        assert!(part.get(idle.id).is_none());
    }

    #[test]
    fn an_older_copy_does_not_take_the_place_of_a_newer_one() {
        let copies = Copies::new();
        let newer = game(3);
        let older = Arc::new(Game {
            seq: Seq(2),
            ..(*newer).clone()
        });
        copies.put(newer.clone());
        copies.put(older.clone());
        assert_eq!(copies.get(newer.id).unwrap().seq, Seq(3));
        copies.forget(newer.id);
        copies.put(older);
        assert_eq!(copies.get(newer.id).unwrap().seq, Seq(2));
    }
}
