//! One timer for the pings of all sockets: a wheel of slots, one of which ticks at a time, so that
//! a socket needs no timer of its own and pings do not go out all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Sockets of one slot ping together; with 64 of them 20,000 sockets are some 300 a tick.
const SLOTS: usize = 64;

/// What the sockets of a slot are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Grows with each tick: time for a ping, and to see whether the last one was answered.
    pub ticks: u64,
    /// The instance drains: take leave, once.
    pub draining: bool,
}

/// The wheel. Clones share it.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    slots: Arc<[watch::Sender<Beat>]>,
    next: Arc<AtomicUsize>,
}

impl Heartbeat {
    /// Starts the wheel: each slot ticks every `period`.
    #[must_use]
    pub fn start(period: Duration, life: &Lifecycle) -> Self {
        let slots = (0..SLOTS).map(|_| watch::Sender::new(Beat::default()));
        let heartbeat = Self {
            slots: slots.collect(),
            next: Arc::default(),
        };
        life.spawn_worker("heartbeat", heartbeat.clone().run(period, life.clone()));
        heartbeat
    }

    /// A place in the slot whose turn it is.
    #[must_use]
    pub fn place(&self) -> watch::Receiver<Beat> {
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
        let mut place = self.slots[slot].subscribe();
        // Whoever was about to open when the drain began hears of it too.
        if place.borrow().draining {
            place.mark_changed();
        }
        place
    }

    /// Runs until the last socket has gone in the drain, or its hard stop.
    async fn run(self, period: Duration, life: Lifecycle) {
        let (draining, stopping) = (life.draining(), life.stopping());
        let told_and_gone = async {
            draining.cancelled().await;
            for slot in self.slots.iter() {
                slot.send_modify(|beat| beat.draining = true);
            }
            for slot in self.slots.iter() {
                slot.closed().await;
            }
        };
        tokio::select! {
            () = self.turn(period) => {}
            () = told_and_gone => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn turn(&self, period: Duration) {
        let mut step = interval(period / u32::try_from(SLOTS).unwrap_or(1));
        step.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for slot in self.slots.iter().cycle() {
            step.tick().await;
            slot.send_modify(|beat| beat.ticks += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_socket_is_told_once_a_period_and_all_of_them_of_the_drain() {
        let life = Lifecycle::new();
        let heartbeat = Heartbeat::start(Duration::from_secs(64), &life);
        let mut places: Vec<_> = (0..100).map(|_| heartbeat.place()).collect();
        tokio::time::sleep(Duration::from_secs(64 * 3)).await;
        for place in &mut places {
            let beat = *place.borrow_and_update();
            assert!((3..=4).contains(&beat.ticks) && !beat.draining, "{beat:?}");
        }
        life.drain();
        for place in &mut places {
            place.wait_for(|beat| beat.draining).await.unwrap();
        }
        let mut late = heartbeat.place();
        late.changed().await.unwrap();
        assert!(late.borrow_and_update().draining);
        // Pings go on for those who have not gone yet, and with the last of them the wheel ends.
        let before = late.borrow().ticks;
        late.wait_for(|beat| beat.ticks > before).await.unwrap();
        drop((places, late));
        life.finish(Duration::from_millis(1)).await.unwrap();
        assert!(
            heartbeat
                .slots
                .iter()
                .all(|slot| slot.receiver_count() == 0)
        );
    }
}
