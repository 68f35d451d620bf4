//! The recent frames of one view class. A connection holds a position in it, not a queue, so a
//! slow reader costs no memory: it reads what it missed in one piece, or has fallen behind. Pure.

use std::collections::VecDeque;

/// What a position is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed<T> {
    /// Nothing yet.
    Nothing,
    /// The frames right after the position, in order, without a hole.
    Frames(Vec<T>),
    /// What comes next is not in the ring any more.
    Behind,
    /// The position is beyond the latest frame.
    Ahead,
}

/// A frame that does not follow the ring's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {n} does not follow frame {latest}")]
pub struct NotDense {
    /// The frame's number.
    pub n: i64,
    /// The ring's latest.
    pub latest: i64,
}

/// The last few items of a sequence that is numbered 1, 2, 3 … without a hole.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    items: VecDeque<T>,
    latest: i64,
    capacity: usize,
}

impl<T: Clone> Ring<T> {
    /// An empty ring whose next item is `n + 1`.
    #[must_use]
    pub fn after_n(n: i64, capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            latest: n,
            capacity: capacity.max(1),
        }
    }

    /// The number of the last item, or where the ring began.
    #[must_use]
    pub const fn latest(&self) -> i64 {
        self.latest
    }

    /// Appends item `n`; the oldest goes if the ring is full.
    ///
    /// # Errors
    /// [`NotDense`] if `n` is not the next number; the ring is as it was.
    pub fn push(&mut self, n: i64, item: T) -> Result<(), NotDense> {
        let latest = self.latest;
        if n != latest + 1 {
            return Err(NotDense { n, latest });
        }
        if self.items.len() == self.capacity {
            self.items.pop_front();
        }
        self.items.push_back(item);
        self.latest = n;
        Ok(())
    }

    /// What follows `position`, at most `limit` items of it.
    #[must_use]
    pub fn owed(&self, position: i64, limit: usize) -> Owed<T> {
        let missing = self.latest - position;
        if missing < 0 {
            return Owed::Ahead;
        }
        if missing == 0 {
            return Owed::Nothing;
        }
        let held = self.items.len();
        match usize::try_from(missing) {
            Ok(missing) if missing <= held => {
                let from = held - missing;
                Owed::Frames(self.items.range(from..).take(limit).cloned().collect())
            }
            _ => Owed::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ring that begins after `start` and has been pushed `count` times; items are their numbers.
    fn filled(start: i64, count: i64, capacity: usize) -> Ring<i64> {
        let mut ring = Ring::after_n(start, capacity);
        for n in start + 1..=start + count {
            ring.push(n, n).unwrap();
        }
        ring
    }

    proptest! {
        #[test]
        fn a_reader_at_any_position_gets_what_follows_or_is_told_why_not(
            start in 0_i64..100, count in 0_i64..100, capacity in 1_usize..20,
            position in 0_i64..210, limit in 1_usize..30,
        ) {
            let latest = start + count;
            let kept = count.min(i64::try_from(capacity).unwrap());
            let oldest = latest - kept + 1;
            match filled(start, count, capacity).owed(position, limit) {
                Owed::Nothing => prop_assert_eq!(position, latest),
                Owed::Ahead => prop_assert!(position > latest),
                Owed::Behind => prop_assert!(position + 1 < oldest || kept == 0),
                Owed::Frames(frames) => {
                    prop_assert!(position + 1 >= oldest && frames.len() <= limit);
                    let end = latest.min(position + i64::try_from(limit).unwrap());
                    prop_assert_eq!(frames, (position + 1..=end).collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn whoever_reads_on_from_where_it_stopped_sees_every_item_once(
            bursts in prop::collection::vec(0_i64..8, 1..30), limit in 1_usize..4,
        ) {
            let mut ring = Ring::after_n(0, 8);
            let mut seen = Vec::new();
            for burst in bursts {
                for _ in 0..burst {
                    let n = ring.latest() + 1;
                    ring.push(n, n).unwrap();
                }
                let mut position = seen.last().copied().unwrap_or(0);
                while let Owed::Frames(frames) = ring.owed(position, limit) {
                    seen.extend(frames);
                    position = *seen.last().unwrap();
                }
                prop_assert_eq!(position, ring.latest());
            }
            prop_assert_eq!(&seen, &(1..=ring.latest()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_hole_and_a_repetition_are_refused() {
        let mut ring = filled(0, 3, 8);
        assert_eq!(ring.push(3, 3), Err(NotDense { n: 3, latest: 3 }));
        assert_eq!(ring.push(5, 5), Err(NotDense { n: 5, latest: 3 }));
        assert_eq!(ring.owed(0, 9), Owed::Frames(vec![1, 2, 3]));
    }
}
