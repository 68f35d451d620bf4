//! Events that come one by one at a rate, each in a transaction of its own, and when each of them
//! was committed and read from the stream.

mod arrivals;
mod paced;
mod waking;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use e2e::load::Latencies;

pub(crate) use arrivals::Arrivals;
pub(crate) use paced::{Pace, produce};
pub(crate) use waking::{Bell, Waking};

/// The moment of something, for each event by its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments(Arc<Mutex<Vec<Option<Instant>>>>);

impl Moments {
    /// It has happened now. The first time counts.
    pub(crate) fn note(&self, nth: u64) {
        let now = Instant::now();
        let Ok(nth) = usize::try_from(nth) else {
            return;
        };
        let mut moments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if moments.len() <= nth {
            moments.resize(nth + 1, None);
        }
        moments[nth].get_or_insert(now);
    }

    /// Of how many events it is known.
    pub(crate) fn count(&self) -> u64 {
        let moments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moments.iter().flatten().count() as u64
    }

    /// From these moments to the same events' moments in `later`, the first `skipped` events left
    /// out: the load was still settling. What came first is not waited for: zero.
    pub(crate) fn until(&self, later: &Self, skipped: u64) -> Latencies {
        let from = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let to = later
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let pairs = from.iter().zip(&to);
        let known = pairs.filter_map(|(from, to)| Some((*to)?.saturating_duration_since((*from)?)));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Latencies::new(known.skip(skipped).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn pairs_moments_of_the_same_event() {
        let (committed, arrived) = (Moments::default(), Moments::default());
        for nth in [0, 2, 3] {
            committed.note(nth);
        }
        for nth in [3, 1, 0, 0] {
            arrived.note(nth);
        }
        assert_eq!(arrived.count(), 3);
        assert_eq!(committed.until(&arrived, 0).count(), 2);
        assert_eq!(committed.until(&arrived, 1).count(), 1);
        assert_eq!(committed.until(&Moments::default(), 0).count(), 0);
    }
}
