//! Comparing a stretch of the stream with what the database has recorded for it. Pure.

use std::collections::HashSet;

use shared::shard::Shard;
use uuid::Uuid;

use crate::shard::fence::StreamSeq;

/// An event at a place in the stream: as found there, or as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placed {
    /// Where.
    pub seq: StreamSeq,
    /// The shard of its key.
    pub shard: Shard,
    /// Which.
    pub event_id: Uuid,
}

/// Where stream and database do not agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the stream, and not recorded there.
    pub unrecorded: Vec<Placed>,
    /// Recorded there, and not in the stream.
    pub absent: Vec<Placed>,
}

/// Compares both for one stretch of the stream.
#[must_use]
pub fn compare(stream: &[Placed], recorded: &[Placed]) -> Difference {
    let set = |side: &[Placed]| -> HashSet<(StreamSeq, Uuid)> {
        side.iter().map(|p| (p.seq, p.event_id)).collect()
    };
    let (found, known) = (set(stream), set(recorded));
    let missing_in = |other: &HashSet<(StreamSeq, Uuid)>, side: &[Placed]| {
        side.iter()
            .filter(|p| !other.contains(&(p.seq, p.event_id)))
            .copied()
            .collect()
    };
    Difference {
        unrecorded: missing_in(&known, stream),
        absent: missing_in(&found, recorded),
    }
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages read from the stream.
    pub scanned: u64,
    /// Events published again.
    pub republished: u64,
    /// Waiting events that were in the stream already.
    pub settled: u64,
    /// Events recorded at another place than where they stand.
    pub moved: u64,
    /// Events in the stream that the database does not know at all.
    pub unknown: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placed(seq: u64, id: u128) -> Placed {
        Placed {
            seq: StreamSeq(seq),
            shard: Shard::of_key("k"),
            event_id: Uuid::from_u128(id),
        }
    }

    #[test]
    fn agreement_is_no_difference() {
        let both = [placed(2, 1), placed(3, 2)];
        assert_eq!(compare(&both, &both), Difference::default());
    }

    #[test]
    fn another_event_at_the_place_is_a_difference_both_ways() {
        let difference = compare(&[placed(2, 1)], &[placed(2, 9)]);
        assert_eq!(difference.unrecorded, [placed(2, 1)]);
        assert_eq!(difference.absent, [placed(2, 9)]);
    }

    proptest! {
        #[test]
        fn nothing_is_overlooked(
            lost in proptest::collection::vec(any::<bool>(), 1..60),
            forgotten in proptest::collection::vec(any::<bool>(), 1..60),
        ) {
            let all = |skip: &[bool]| -> Vec<Placed> {
                (0..60_u64)
                    .filter(|n| !skip.get(usize::try_from(*n).unwrap()).copied().unwrap_or(false))
                    .map(|n| placed(n, u128::from(n)))
                    .collect()
            };
            let difference = compare(&all(&lost), &all(&forgotten));
            for n in 0..60_usize {
                let is = |skip: &[bool]| skip.get(n).copied().unwrap_or(false);
                let this = placed(n as u64, n as u128);
                prop_assert_eq!(difference.absent.contains(&this), is(&lost) && !is(&forgotten));
                prop_assert_eq!(difference.unrecorded.contains(&this), is(&forgotten) && !is(&lost));
            }
        }
    }
}
