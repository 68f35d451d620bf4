//! How many rows wait, counted some shards at a time. Pure.
//!
//! One count of the whole table would take longer the more waits, until the statement's timeout ends
//! it. A round over the shards takes as many at once as are counted quickly, and each shard's last
//! count stands until its next: exact every second while little waits, some time behind while much
//! does.

use std::time::Duration;

use shared::shard::Shard;

/// Shards of the outbox.
const SHARDS: usize = 64;
/// A count may take so long before fewer shards are counted at once.
const COUNT_MAX: Duration = Duration::from_millis(20);

/// The last counts, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Census {
    counts: [i64; SHARDS],
    next: usize,
    at_once: usize,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            counts: [0; SHARDS],
            next: 0,
            at_once: SHARDS,
        }
    }
}

impl Census {
    /// The shards to be counted next.
    #[must_use]
    pub fn next(&self) -> Vec<i16> {
        (self.next..self.next + self.at_once)
            .filter_map(|index| i16::try_from(index % SHARDS).ok())
            .collect()
    }

    /// They were counted.
    pub fn counted(&mut self, counts: &[(Shard, i64)], took: Duration) {
        for (shard, count) in counts {
            if let Ok(index) = usize::try_from(shard.number())
                && let Some(known) = self.counts.get_mut(index)
            {
                *known = *count;
            }
        }
        self.next = (self.next + self.at_once) % SHARDS;
        if took > COUNT_MAX {
            self.at_once = (self.at_once / 2).max(1);
        } else if took < COUNT_MAX / 4 {
            self.at_once = (self.at_once * 2).min(SHARDS);
        }
    }

    /// They could not be counted: perhaps they were too many.
    pub fn failed(&mut self) {
        self.at_once = (self.at_once / 2).max(1);
    }

    /// How many rows wait, as far as is known.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(shards: &[i16], count: i64) -> Vec<(Shard, i64)> {
        shards
            .iter()
            .map(|number| {
                let shard = Shard::all().find(|shard| shard.number() == *number);
                (shard.unwrap(), count)
            })
            .collect()
    }

    #[test]
    fn a_round_counts_every_shard_however_few_at_once() {
        let mut census = Census::default();
        let slow = COUNT_MAX * 2;
        for _ in 0..6 {
            let next = census.next();
            census.counted(&all(&next, 0), slow);
        }
        assert_eq!(census.next().len(), 1);
        for _ in 0..64 {
            let next = census.next();
            census.counted(&all(&next, 7), slow);
        }
        assert_eq!(census.total(), 64 * 7);
    }

    #[test]
    fn what_fails_is_tried_with_fewer_shards() {
        let mut census = Census::default();
        census.failed();
        assert_eq!(census.next(), (0..32).collect::<Vec<i16>>());
    }

    #[test]
    fn quick_counts_take_all_shards_at_once() {
        let mut census = Census::default();
        for took in [COUNT_MAX * 2, COUNT_MAX * 2, Duration::ZERO, Duration::ZERO] {
            let next = census.next();
            census.counted(&all(&next, 1), took);
        }
        assert_eq!(census.next().len(), 64);
        let next = census.next();
        census.counted(&all(&next, 0), Duration::ZERO);
        assert_eq!(census.total(), 0);
    }
}
