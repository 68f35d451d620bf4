//! How many shards each relay should hold. Every relay computes the same answer from the same
//! list, so shards move once and stay.

use shared::shard::SHARD_COUNT;

/// How many shards `me` should hold while `alive` are the living relays, in any order. A relay
/// that the list does not hold yet counts as living.
#[must_use]
pub fn fair_share(me: &str, alive: &[String]) -> usize {
    let shards = usize::from(SHARD_COUNT.unsigned_abs());
    let others = alive.iter().filter(|owner| *owner != me).count();
    let before_me = alive.iter().filter(|owner| owner.as_str() < me).count();
    let relays = others + 1;
    shards / relays + usize::from(before_me < shards % relays)
}

/// What a relay does about its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Hand this many over.
    Release(usize),
    /// Take up to this many that are free.
    Take(usize),
    /// Neither.
    Keep,
}

/// Compares what is held with the fair share.
#[must_use]
pub fn balance(held: usize, share: usize) -> Balance {
    match held.cmp(&share) {
        std::cmp::Ordering::Greater => Balance::Release(held - share),
        std::cmp::Ordering::Less => Balance::Take(share - held),
        std::cmp::Ordering::Equal => Balance::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_differ_by_one_at_most_and_sum_to_all_shards() {
        for relays in 1..=70_usize {
            let names: Vec<String> = (0..relays).map(|n| format!("r{n:03}")).collect();
            let shares: Vec<usize> = names.iter().map(|me| fair_share(me, &names)).collect();
            assert_eq!(shares.iter().sum::<usize>(), 64, "{relays} relays");
            let (low, high) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(high - low <= 1, "{relays} relays: {shares:?}");
        }
    }

    #[test]
    fn a_relay_counts_itself_before_its_heartbeat_is_seen() {
        assert_eq!(fair_share("b", &["a".to_owned()]), 32);
        assert_eq!(fair_share("b", &[]), 64);
    }

    #[test]
    fn the_balance_is_the_difference() {
        assert_eq!(balance(40, 32), Balance::Release(8));
        assert_eq!(balance(0, 32), Balance::Take(32));
        assert_eq!(balance(32, 32), Balance::Keep);
    }
}
