//! Who holds which shard.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sqlx::PgPool;

/// How many shards there are: fixed, see migrations/0001.
const SHARDS: usize = 64;

/// The leases at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    /// Owner and epoch of each shard whose lease has not lapsed.
    held: BTreeMap<i16, (String, i64)>,
    /// When each of these leases lapses unless it is renewed, by the database's clock.
    lapses_at_ms: BTreeMap<i16, i64>,
    /// When this was, by the same clock.
    at_ms: i64,
}

impl Spread {
    pub(super) async fn now(pool: &PgPool) -> Result<Self> {
        let held: Vec<(i16, String, i64, i64, i64)> = sqlx::query_as(
            "select shard, owner, epoch, fogline_ms(lease_until), fogline_ms(statement_timestamp())
             from outbox_shards
             where owner is not null and lease_until > statement_timestamp()",
        )
        .fetch_all(pool)
        .await
        .context("the leases cannot be read")?;
        let mut now = Self {
            held: BTreeMap::new(),
            lapses_at_ms: BTreeMap::new(),
            at_ms: held.first().map_or(0, |(.., at_ms)| *at_ms),
        };
        for (shard, owner, epoch, lapses_at_ms, _) in held {
            now.held.insert(shard, (owner, epoch));
            now.lapses_at_ms.insert(shard, lapses_at_ms);
        }
        Ok(now)
    }

    /// The shards that are held by another, or were taken anew, since `before`.
    pub(super) fn moved_since(&self, before: &Self) -> Vec<i16> {
        let moved = |(shard, lease): &(&i16, &(String, i64))| {
            before.held.get(shard).is_some_and(|was| was != *lease)
        };
        self.held
            .iter()
            .filter(moved)
            .map(|(shard, _)| *shard)
            .collect()
    }

    /// Whether a lease that was seen `before` can have lapsed since: its owner did not come to renew
    /// it, which is no decision to give it up.
    pub(super) fn can_have_lapsed_since(&self, before: &Self, shard: i16) -> bool {
        let lapses_at = before.lapses_at_ms.get(&shard);
        lapses_at.is_none_or(|at_ms| *at_ms <= self.at_ms)
    }

    /// Whether so many relays hold all shards, in shares that differ by one at most.
    pub(super) fn is_even(&self, relays: usize) -> bool {
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for (owner, _) in self.held.values() {
            *shares.entry(owner).or_default() += 1;
        }
        let (least, most) = (shares.values().min(), shares.values().max());
        let apart = most.copied().unwrap_or(0) - least.copied().unwrap_or(0);
        self.held.len() == SHARDS && shares.len() == relays && apart <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::{SHARDS, Spread};

    fn spread(owner_of: impl Fn(usize) -> Option<&'static str>) -> Spread {
        let shard = |nth: usize| {
            let owner = owner_of(nth)?.to_owned();
            Some((i16::try_from(nth).ok()?, (owner, 1)))
        };
        Spread {
            held: (0..SHARDS).filter_map(shard).collect(),
            lapses_at_ms: (0..64).map(|shard| (shard, 1_500)).collect(),
            at_ms: 0,
        }
    }

    #[test]
    fn a_lease_lapses_when_its_time_is_over() {
        let before = spread(|_| Some("a"));
        let at = |at_ms| Spread {
            at_ms,
            ..before.clone()
        };
        assert!(!at(1_499).can_have_lapsed_since(&before, 3));
        assert!(at(1_500).can_have_lapsed_since(&before, 3));
    }

    #[test]
    fn a_shard_taken_anew_has_moved_and_one_that_lapsed_has_not() {
        let before = spread(|_| Some("a"));
        let mut after = spread(|nth| (nth != 5).then_some(if nth == 9 { "b" } else { "a" }));
        after.held.insert(7, ("a".to_owned(), 2));
        assert_eq!(after.moved_since(&before), [7, 9]);
    }

    #[test]
    fn shares_that_differ_by_one_are_even_and_nothing_else_is() {
        let thirds = spread(|nth| Some(["a", "b", "c"][nth % 3]));
        assert!(thirds.is_even(3) && !thirds.is_even(2) && !thirds.is_even(4));
        assert!(!spread(|nth| Some(if nth < 31 { "a" } else { "b" })).is_even(2));
        assert!(!spread(|nth| (nth > 0).then_some("a")).is_even(1));
    }
}
