//! From which id on a shard is read. Pure.
//!
//! A published row stays in the index until vacuum may take it out, and vacuum may not while some
//! transaction runs that began before: reading a shard from its first entry would become slower by
//! the minute. Ids are given after their transaction has its number (`outbox_next_id`), so a mark,
//! an id with a transaction number, splits what is still to come:
//!
//! - When no transaction below the mark runs any more, no row up to its id can appear: the shard's
//!   low id rises for good.
//! - While a few run, only they can bring such a row. They are the floor's witnesses: it holds in
//!   every snapshot in which all of them still run, and such a snapshot is what each reading
//!   statement takes. In any other, reading begins at the low id.

use std::collections::VecDeque;
use std::sync::Arc;

use super::repo::Mark;

/// Marks that wait for their transactions to end. One is set with each look at the horizon, so what is
/// read over is what was published since the look so many before the last.
const MARKS_MAX: usize = 4;

/// Transactions that a floor is held by at most: each reading statement asks for every one of them.
const WITNESSES_MAX: usize = 16;

/// Where a shard is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadFrom {
    /// No row up to this id is pending or can become so.
    pub low_id: i64,
    /// No row up to this id is visible in a snapshot in which all witnesses run.
    pub floor_id: i64,
    /// Numbers of transactions.
    pub witnesses: Arc<[i64]>,
}

/// What a look at the running transactions has settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Every row with an id up to this is to be seen, and none can come any more.
    pub closed: Option<i64>,
    /// Every row with an id up to this is to be seen, but for what the witnesses may bring.
    pub floor: Option<(i64, Arc<[i64]>)>,
}

/// The marks that were set, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Marks(VecDeque<Mark>);

impl Marks {
    /// A new mark. The oldest goes if there are too many.
    pub fn set(&mut self, mark: Mark) {
        self.0.push_back(mark);
        if self.0.len() > MARKS_MAX {
            self.0.pop_front();
        }
    }

    /// What follows from which transactions run now.
    pub fn settle(&mut self, running: &[i64]) -> Settled {
        let below = |mark: &Mark| -> Vec<i64> {
            let mut below: Vec<i64> = running
                .iter()
                .copied()
                .filter(|xid| *xid < mark.xid)
                .collect();
            below.sort_unstable();
            below
        };
        let closed = self
            .0
            .iter()
            .take_while(|mark| below(mark).is_empty())
            .count();
        let closed = self.0.drain(..closed).next_back();
        let full = self.0.len() >= MARKS_MAX;
        let floor = self.0.front().filter(|_| full).and_then(|mark| {
            let witnesses = below(mark);
            (witnesses.len() <= WITNESSES_MAX).then(|| (mark.given, witnesses.into()))
        });
        Settled {
            closed: closed.map(|mark| mark.given),
            floor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(given: i64, xid: i64) -> Mark {
        Mark { given, xid }
    }

    #[test]
    fn a_mark_closes_when_nothing_below_it_runs() {
        let mut marks = Marks::default();
        marks.set(mark(10, 100));
        marks.set(mark(20, 110));
        assert_eq!(marks.settle(&[99]).closed, None);
        assert_eq!(marks.settle(&[105, 120]).closed, Some(10));
        assert_eq!(marks.settle(&[110]).closed, Some(20));
        assert_eq!(marks.settle(&[]), Settled::default());
    }

    #[test]
    fn who_runs_for_long_is_the_floors_witness() {
        let mut marks = Marks::default();
        for n in 1..=6 {
            marks.set(mark(n * 10, n * 100));
        }
        // The oldest of four: 30, with transaction 300.
        let settled = marks.settle(&[250, 7, 350, 610]);
        assert_eq!(settled.closed, None);
        assert_eq!(settled.floor, Some((30, [7, 250].into())));
        let settled = marks.settle(&[350, 610]);
        assert_eq!((settled.closed, settled.floor), (Some(30), None));
    }

    #[test]
    fn too_many_witnesses_hold_no_floor() {
        let mut marks = Marks::default();
        for n in 1..=4 {
            marks.set(mark(n, 100));
        }
        let running: Vec<i64> = (0..17).collect();
        assert_eq!(marks.settle(&running), Settled::default());
        assert!(marks.settle(&running[1..]).floor.is_some());
    }
}
