//! Polling that adapts: short while there is work, longer and longer while there is none. Pure.

use std::time::Duration;

/// When to look next.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    min: Duration,
    max: Duration,
    now: Duration,
}

impl Pace {
    /// Starts at the short end.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, now: min }
    }

    /// There may be work from now on: gives how long to wait before the first look.
    pub fn restart(&mut self) -> Duration {
        self.now = self.min;
        self.min
    }

    /// How long to wait after a look that `found` something or nothing.
    pub fn after_look(&mut self, found: bool) -> Duration {
        if found {
            return self.restart();
        }
        let wait = self.now;
        self.now = (self.now * 2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_their_maximum_and_fall_back_with_work() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(ms(20), ms(1000));
        let waits: Vec<u128> = (0..8).map(|_| pace.after_look(false).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(pace.after_look(true), ms(20));
        assert_eq!(pace.after_look(false), ms(20));
        assert_eq!(pace.after_look(false), ms(40));
        assert_eq!(pace.restart(), ms(20));
        assert_eq!(pace.after_look(false), ms(20));
    }
}
