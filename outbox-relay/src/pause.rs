//! How long to pause before trying again. Pure: the random number comes in.

use std::time::Duration;

/// Exponential backoff with full jitter over the upper half: after `attempt` failures (from 0),
/// between half and all of `min * 2^attempt`, at most `max`. `random` is in 0..1.
#[must_use]
pub fn backoff(attempt: u32, min: Duration, max: Duration, random: f64) -> Duration {
    let full = min.saturating_mul(1_u32 << attempt.min(16)).min(max);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_maximum_and_never_vanish() {
        let (min, max) = (Duration::from_millis(20), Duration::from_secs(1));
        for attempt in 0..40 {
            for random in [0.0, 0.5, 1.0] {
                let pause = backoff(attempt, min, max, random);
                assert!(pause >= min / 2 && pause <= max, "{attempt}: {pause:?}");
            }
        }
        assert_eq!(backoff(0, min, max, 1.0), min);
        assert_eq!(backoff(39, min, max, 1.0), max);
    }
}
