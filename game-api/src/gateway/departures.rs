//! When each client goes in a drain: one after the other over a window, so that neither their
//! leaving nor their return is a crowd, and each is served until its own time has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Gateway;

/// How long a socket stays open after the time at which its client was asked to come back: who goes
/// then can be elsewhere before it leaves, and has missed nothing.
const OVERLAP_MAX: Duration = Duration::from_secs(1);
/// The fractional part of the golden ratio, in units of 2^-64: its multiples fall into the largest
/// gap that those before have left, so that any number of clients is spread evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Gives each client its time within the window.
#[derive(Debug)]
pub(super) struct Departures {
    window: Duration,
    next: AtomicU64,
}

impl Departures {
    /// Over this time; `start` is any number, so that no client can tell how many went before it.
    pub(super) const fn new(window: Duration, start: u64) -> Self {
        Self {
            window,
            next: AtomicU64::new(start),
        }
    }

    /// When the next client is asked to come back elsewhere, from now on.
    pub(super) fn after(&self) -> Duration {
        let fraction = self.next.fetch_add(GOLDEN, Ordering::Relaxed);
        let nanos = (self.window.as_nanos() * u128::from(fraction)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long after that its socket is closed.
    pub(super) fn overlap(&self) -> Duration {
        OVERLAP_MAX.min(self.window)
    }
}

/// The departure of a stream or a long poll, which is not told before: it ends.
#[derive(Debug)]
pub(super) struct Departure {
    gateway: Gateway,
    draining: CancellationToken,
    at: Option<Instant>,
}

impl Departure {
    /// None before the drain.
    pub(super) fn new(gateway: &Gateway) -> Self {
        Self {
            draining: gateway.life().draining(),
            gateway: gateway.clone(),
            at: None,
        }
    }

    /// Waits until it is time to go. Can be given up and asked again.
    pub(super) async fn due(&mut self) {
        if self.at.is_none() {
            self.draining.cancelled().await;
        }
        let departures = self.gateway.departures();
        let at = self
            .at
            .get_or_insert_with(|| Instant::now() + departures.after());
        sleep_until(*at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(3);

    #[test]
    fn any_number_of_clients_is_spread_over_the_whole_window() {
        for start in [0, 1, u64::MAX / 3, u64::MAX] {
            for count in [1_u32, 2, 7, 100, 1000] {
                let departures = Departures::new(WINDOW, start);
                let mut all: Vec<Duration> = (0..count).map(|_| departures.after()).collect();
                all.sort_unstable();
                assert!(*all.last().unwrap() < WINDOW);
                // Around the window: no gap is three times what it would be if all were alike.
                let around = (all[0] + WINDOW).abs_diff(*all.last().unwrap());
                let gaps = all.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
                let widest = gaps.chain([around]).max().unwrap();
                assert!(widest <= WINDOW * 3 / count, "{widest:?} of {count}");
            }
        }
    }

    #[test]
    fn without_a_window_all_go_at_once() {
        let departures = Departures::new(Duration::ZERO, 5);
        assert_eq!(departures.after() + departures.overlap(), Duration::ZERO);
        let departures = Departures::new(WINDOW, 5);
        assert_eq!(departures.overlap(), OVERLAP_MAX);
    }
}
