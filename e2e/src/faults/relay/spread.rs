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
}

impl Spread {
    pub(super) async fn now(pool: &PgPool) -> Result<Self> {
        let held: Vec<(i16, String, i64)> = sqlx::query_as(
            "select shard, owner, epoch from outbox_shards
             where owner is not null and lease_until > statement_timestamp()",
        )
        .fetch_all(pool)
        .await
        .context("the leases cannot be read")?;
        let held = held
            .into_iter()
            .map(|(shard, owner, epoch)| (shard, (owner, epoch)));
        Ok(Self {
            held: held.collect(),
        })
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
        }
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
