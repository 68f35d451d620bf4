//! How often a child may be restarted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More restarts than these within the window mean that restarting does not help.
const RESTARTS_MAX: usize = 5;
/// The window in which restarts are counted.
const WINDOW: Duration = Duration::from_secs(30);
/// The first restart comes after this; each further one waits this much longer, and even the last
/// comes well within a second.
const STEP: Duration = Duration::from_millis(120);

/// Counts the restarts of one child within a sliding window.
#[derive(Debug, Default)]
pub(super) struct RestartBudget {
    recent: VecDeque<Instant>,
}

impl RestartBudget {
    /// Which restart within the window this is, and how long to wait before it; `None` when the
    /// budget is used up.
    pub(super) fn take(&mut self, now: Instant) -> Option<(usize, Duration)> {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= WINDOW)
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= RESTARTS_MAX {
            return None;
        }
        self.recent.push_back(now);
        let count = self.recent.len();
        Some((count, STEP * u32::try_from(count).unwrap_or(1)))
    }

    /// The limits in words.
    pub(super) fn in_words() -> String {
        format!("{RESTARTS_MAX} times in {} s", WINDOW.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::{RESTARTS_MAX, RestartBudget, WINDOW};
    use std::time::{Duration, Instant};

    #[test]
    fn allows_five_in_the_window_each_within_a_second_and_no_sixth() {
        let mut budget = RestartBudget::default();
        let start = Instant::now();
        for nth in 1..=RESTARTS_MAX {
            let (count, delay) = budget
                .take(start + Duration::from_secs(nth as u64))
                .expect("allowed");
            assert_eq!(count, nth);
            assert!(delay < Duration::from_millis(800), "{delay:?}");
        }
        assert_eq!(budget.take(start + Duration::from_secs(6)), None);
    }

    #[test]
    fn forgets_what_lies_before_the_window() {
        let mut budget = RestartBudget::default();
        let start = Instant::now();
        for _ in 0..RESTARTS_MAX {
            budget.take(start).expect("allowed");
        }
        assert_eq!(
            budget.take(
                start
                    + WINDOW
                        .checked_sub(Duration::from_millis(1))
                        .expect("positive")
            ),
            None
        );
        assert_eq!(budget.take(start + WINDOW).map(|(count, _)| count), Some(1));
    }
}
