//! From a command to the opponent's frame.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Takes the time between a bot's command and the frame that its opponent gets of it.
#[derive(Clone, Debug, Default)]
pub struct LatencyBook {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    sent: HashMap<(Uuid, usize), Instant>,
    taken: Vec<Duration>,
}

/// Latencies in order.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl LatencyBook {
    /// The command that makes this half-move is about to be sent, for the first time.
    pub fn sent(&self, game: Uuid, ply: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.sent.entry((game, ply)).or_insert_with(Instant::now);
    }

    /// The opponent has read the frame of this half-move.
    pub fn arrived(&self, game: Uuid, ply: usize, at: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = inner.sent.remove(&(game, ply)) {
            inner.taken.push(at.duration_since(sent));
            tracing::debug!("half-move {ply} took {:?}", at.duration_since(sent));
        }
    }

    /// What was taken so far.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Latencies::new(inner.taken.clone())
    }
}

impl Latencies {
    /// What was taken, in any order.
    #[must_use]
    pub fn new(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self(taken)
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that at least so many per cent do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Latencies, LatencyBook};
    use std::time::{Duration, Instant};
    use uuid::Uuid;

    #[test]
    fn takes_the_nearest_rank() {
        let latencies = Latencies((1..=200).map(Duration::from_millis).collect());
        assert_eq!(latencies.percentile(50), Duration::from_millis(100));
        assert_eq!(latencies.percentile(99), Duration::from_millis(198));
        assert_eq!(Latencies(vec![]).percentile(50), Duration::ZERO);
    }

    #[test]
    fn counts_a_move_once_from_its_first_sending() {
        let book = LatencyBook::default();
        book.sent(Uuid::nil(), 1);
        book.arrived(Uuid::nil(), 1, Instant::now());
        book.arrived(Uuid::nil(), 1, Instant::now());
        book.arrived(Uuid::nil(), 2, Instant::now());
        assert_eq!(book.latencies().count(), 1);
    }
}
