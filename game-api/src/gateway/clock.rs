//! The database's clock as seen from here: an offset to this machine's monotonic clock, measured
//! by queries. Good to half the best round trip of the last minute plus what the two clocks drift
//! apart in that time (at 50 ppm, 3 ms): enough for a display and a histogram. No rule uses it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A measurement is replaced by a better one, or by any one once it is as old as this.
const MEASUREMENT_AGE_MAX: Duration = Duration::from_mins(1);

/// How often the database is asked.
pub const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// The database's clock, read without asking it.
#[derive(Debug)]
pub struct DatabaseClock {
    started: Instant,
    best: Mutex<Option<Measurement>>,
}

#[derive(Clone, Copy, Debug)]
struct Measurement {
    /// The database's milliseconds since 1970 at this clock's start.
    offset_ms: f64,
    round_trip: Duration,
    taken: Instant,
}

impl DatabaseClock {
    /// A clock that has not been set.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            best: Mutex::new(None),
        }
    }

    /// Takes in that a query sent at `sent` and answered at `answered` said `database_ms`.
    pub fn measured(&self, database_ms: i64, sent: Instant, answered: Instant) {
        let round_trip = answered.duration_since(sent);
        let local = sent.duration_since(self.started) + round_trip / 2;
        let measurement = Measurement {
            offset_ms: ms(database_ms) - local.as_secs_f64() * 1000.0,
            round_trip,
            taken: answered,
        };
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = best.is_some_and(|old| {
            old.round_trip < round_trip && answered.duration_since(old.taken) < MEASUREMENT_AGE_MAX
        });
        if !keep {
            *best = Some(measurement);
        }
    }

    /// Whether the clock has been set at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.offset_ms().is_some()
    }

    /// The database's time at `now`, milliseconds since 1970; 0 before the first measurement.
    #[must_use]
    pub fn at_ms(&self, now: Instant) -> f64 {
        self.offset_ms().map_or(0.0, |offset| {
            offset + now.duration_since(self.started).as_secs_f64() * 1000.0
        })
    }

    /// The same, now, in whole milliseconds.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds since 1970 fit i64 for 292 million years"
    )]
    pub fn now_ms(&self) -> i64 {
        self.at_ms(Instant::now()) as i64
    }

    fn offset_ms(&self) -> Option<f64> {
        let best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        best.map(|measurement| measurement.offset_ms)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 are exact in f64 until the year 287396"
)]
fn ms(whole: i64) -> f64 {
    whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn reading(clock: &DatabaseClock, at: Instant) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let ms = clock.at_ms(at).round() as i64;
        ms
    }

    #[test]
    fn the_answer_is_taken_to_be_of_the_middle_of_the_round_trip() {
        let start = Instant::now();
        let clock = DatabaseClock::new(start);
        assert!(!clock.is_set());
        clock.measured(1_000_000, start, start + 10 * MS);
        assert_eq!(reading(&clock, start + 25 * MS), 1_000_020);
    }

    #[test]
    fn a_worse_measurement_does_not_replace_a_fresh_better_one() {
        let start = Instant::now();
        let clock = DatabaseClock::new(start);
        clock.measured(1_000_000, start, start + 2 * MS);
        clock.measured(1_000_500, start + 10 * MS, start + 100 * MS);
        assert_eq!(reading(&clock, start + MS), 1_000_000);
        let later = start + 2 * MEASUREMENT_AGE_MAX;
        clock.measured(2_000_000, later, later + 90 * MS);
        assert_eq!(reading(&clock, later + 45 * MS), 2_000_000);
    }
}
