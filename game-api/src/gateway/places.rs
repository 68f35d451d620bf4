//! How many sockets each player has open on this instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;
use shared::ids::PlayerId;

use crate::problem::{Problem, Reason};

/// The open connections of this instance.
#[derive(Clone, Debug)]
pub struct Places {
    of_players: Arc<Mutex<HashMap<PlayerId, usize>>>,
    per_player_max: usize,
    open: IntGauge,
}

impl Places {
    /// Nobody is here yet; `open` counts who is.
    #[must_use]
    pub fn new(per_player_max: usize, open: IntGauge) -> Self {
        Self {
            of_players: Arc::default(),
            per_player_max,
            open,
        }
    }

    /// A place for one more connection. Who is not signed in is limited by address alone.
    ///
    /// # Errors
    /// `rate_limited` for a player who has too many.
    pub fn take(&self, player: Option<PlayerId>) -> Result<Place, Problem> {
        if let Some(player) = player {
            let mut of_players = self
                .of_players
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = of_players.entry(player).or_default();
            if *count >= self.per_player_max {
                let detail = format!("a player has at most {} sockets here", self.per_player_max);
                return Err(Problem::new(Reason::RateLimited, detail));
            }
            *count += 1;
        }
        self.open.inc();
        Ok(Place {
            places: self.clone(),
            player,
        })
    }
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    player: Option<PlayerId>,
}

impl Place {
    /// Whose it is.
    #[must_use]
    pub fn player(&self) -> Option<PlayerId> {
        self.player
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.dec();
        let Some(player) = self.player else { return };
        let mut of_players = self
            .places
            .of_players
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of_players.get_mut(&player) {
            *count -= 1;
            if *count == 0 {
                of_players.remove(&player);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_has_so_many_places_and_gets_them_back() {
        let places = Places::new(2, IntGauge::new("open", "open").unwrap());
        let player = PlayerId::generate();
        let first = places.take(Some(player)).unwrap();
        let _second = places.take(Some(player)).unwrap();
        let refusal = places.take(Some(player)).unwrap_err();
        assert_eq!(refusal.reason, Reason::RateLimited);
        let _stranger = places.take(None).unwrap();
        assert_eq!(places.open.get(), 3);
        drop(first);
        let _third = places.take(Some(player)).unwrap();
        assert_eq!(places.open.get(), 3);
    }
}
