//! Whether few events go in an atomic batch or one by one: whichever has taken less time of late. Pure.
//!
//! A batch has a price of its own, whatever is in it: with one replica the server makes a store in the
//! file system for each. One by one, every message has its price, which is that of a flush where each
//! is flushed. Which is more depends on the server's settings and its disk.

use std::time::Duration;

/// How events are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In an atomic batch.
    Batch,
    /// One by one, behind fences that announce them.
    Singly,
}

/// How much of what was known a longer time replaces: a stall now and then says little.
const WEIGHT_OF_LONGER: f64 = 0.125;
/// And so many times what was known is as much as it counts for.
const LONGER_MAX: f64 = 4.0;
/// How much a shorter time replaces: it shows what can be.
const WEIGHT_OF_SHORTER: f64 = 0.5;
/// So often the way that seems slower is taken all the same, to see whether it still is; the less
/// often, the slower it seems, by how many times it is.
const TRY_EVERY: f64 = 128.0;
/// But never less often than if it were so many times slower.
const SLOWER_MAX: f64 = 16.0;

/// What each way has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways {
    /// Seconds of so many messages one by one, by how many they are: to the first answer and back
    /// twice, and then some for each, so that their number alone does not say it.
    singly: [Option<f64>; SIZES.len()],
    /// Seconds of a batch of few messages, which hardly depends on their number.
    batch: Option<f64>,
    /// Choices since the way that seems slower was taken.
    since_tried: f64,
}

/// Up to so many messages each.
const SIZES: [usize; 5] = [2, 4, 8, 16, usize::MAX];

fn size(messages: usize) -> usize {
    SIZES
        .iter()
        .position(|max| messages <= *max)
        .unwrap_or(SIZES.len() - 1)
}

impl Ways {
    /// The way for so many messages, fences included.
    pub fn choose(&mut self, messages: usize) -> Way {
        let size = size(messages);
        // Fewer took less.
        let known = self.singly[..=size].iter().rev().flatten().next();
        let Some(singly) = known.copied() else {
            return Way::Singly;
        };
        let Some(batch) = self.batch else {
            return Way::Batch;
        };
        let (way, other, ratio) = if singly < batch {
            (Way::Singly, Way::Batch, batch / singly)
        } else {
            (Way::Batch, Way::Singly, singly / batch)
        };
        self.since_tried += 1.0;
        if self.since_tried < TRY_EVERY * ratio.min(SLOWER_MAX) {
            return way;
        }
        self.since_tried = 0.0;
        other
    }

    /// So many messages took so long, until the last was answered.
    pub fn took(&mut self, way: Way, messages: usize, time: Duration) {
        let known = match way {
            Way::Batch => &mut self.batch,
            Way::Singly => &mut self.singly[size(messages)],
        };
        let seconds = time.as_secs_f64();
        *known = Some(match *known {
            None => seconds,
            Some(before) if seconds < before => before - (before - seconds) * WEIGHT_OF_SHORTER,
            Some(before) => before + (seconds.min(before * LONGER_MAX) - before) * WEIGHT_OF_LONGER,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: fn(u64) -> Duration = Duration::from_micros;

    /// Ways of which so much is known: two messages one by one, and a batch.
    fn known(singly: u64, batch: u64) -> Ways {
        let mut ways = Ways::default();
        assert_eq!(ways.choose(2), Way::Singly);
        ways.took(Way::Singly, 2, US(singly));
        assert_eq!(ways.choose(2), Way::Batch);
        ways.took(Way::Batch, 2, US(batch));
        ways
    }

    #[test]
    fn each_way_is_tried_and_then_the_quicker_one_taken() {
        let mut flushed = known(600, 2_000);
        assert_eq!(flushed.choose(2), Way::Singly);
        // Of more messages nothing is known but that fewer took less: so it is tried.
        assert_eq!(flushed.choose(12), Way::Singly);
        flushed.took(Way::Singly, 12, US(3_000));
        assert_eq!(flushed.choose(12), Way::Batch);
        assert_eq!(flushed.choose(30), Way::Batch);
        assert_eq!(flushed.choose(4), Way::Singly);
        let mut staged = known(600, 550);
        assert_eq!(staged.choose(2), Way::Batch);
    }

    /// Publishes four messages so often, each way of which takes so long; gives the ways taken.
    fn publish(ways: &mut Ways, times: u32, singly: u64, batch: u64) -> Vec<Way> {
        let one = |_| {
            let way = ways.choose(4);
            let time = match way {
                Way::Batch => batch,
                Way::Singly => singly,
            };
            ways.took(way, 4, US(time));
            way
        };
        (0..times).map(one).collect()
    }

    fn singly(taken: &[Way]) -> usize {
        taken.iter().filter(|way| **way == Way::Singly).count()
    }

    #[test]
    fn a_disk_that_became_slow_is_noticed() {
        let mut ways = known(200, 2_000);
        assert_eq!(singly(&publish(&mut ways, 8, 400, 2_000)), 8);
        let taken = publish(&mut ways, 1_000, 4_000, 2_000);
        assert!(singly(&taken[100..]) <= 8);
    }

    #[test]
    fn what_was_slow_once_is_tried_again_however_slow_it_was() {
        for once in [3_000, 60_000] {
            let mut ways = known(200, 2_000);
            ways.took(Way::Singly, 4, US(once));
            let taken = publish(&mut ways, 20_000, 400, 2_000);
            assert!(singly(&taken[taken.len() - 100..]) >= 99, "{once}");
        }
    }

    #[test]
    fn one_stall_changes_nothing() {
        let mut ways = known(600, 2_000);
        ways.took(Way::Singly, 2, US(5_000_000));
        assert_eq!(ways.choose(2), Way::Singly);
        let mut staged = known(2_000, 600);
        staged.took(Way::Batch, 2, US(5_000_000));
        assert_eq!(staged.choose(2), Way::Batch);
    }
}
