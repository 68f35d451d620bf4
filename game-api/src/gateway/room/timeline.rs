//! What a room knows of its game: the latest event, and the recent frames of each view class.
//! Events go in strictly by sequence number. Pure.

use std::sync::{Arc, OnceLock};

use crate::games::entity::{Logged, Seq};
use crate::gateway::cursor::Cursors;
use crate::gateway::frame::{self, Frame};
use crate::gateway::ring::{NotDense, Owed, Ring};
use crate::rules::ViewClass;

/// Recent events a room keeps. A player who was away for half a minute is served from them, and
/// 64 frames of a kilobyte bound what one socket is written in one go.
pub const RING_EVENTS_MAX: usize = 64;

/// An event of which each class's frame is made when the first of that class asks for it.
#[derive(Debug)]
pub struct Slot {
    logged: Arc<Logged>,
    /// Boxed, as many events are not asked for by every class, or by any.
    frames: [OnceLock<Option<Box<Frame>>>; 3],
}

impl Slot {
    fn new(logged: Arc<Logged>) -> Self {
        Self {
            logged,
            frames: Default::default(),
        }
    }

    /// The frame for `class`, made once and shared; none if the event does not concern it.
    pub fn frame(&self, class: ViewClass, cursors: &Cursors) -> Option<Frame> {
        let frame = &self.frames[class.index()];
        let frame = frame.get_or_init(|| frame::event(cursors, &self.logged, class).map(Box::new));
        frame.as_deref().cloned()
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was the next one.
    Applied,
    /// It was there already.
    Old,
    /// Events before it are missing.
    Hole,
}

/// How an event stands to the latest one.
#[must_use]
pub fn judge(latest: Seq, incoming: Seq) -> Verdict {
    if incoming <= latest {
        Verdict::Old
    } else if incoming == latest.next() {
        Verdict::Applied
    } else {
        Verdict::Hole
    }
}

/// The applied part of a game's log, of which the end is kept.
#[derive(Clone, Debug)]
pub struct Timeline {
    latest: Arc<Logged>,
    rings: [Ring<Arc<Slot>>; 3],
}

impl Timeline {
    /// Begins with an event, whatever its number.
    #[must_use]
    pub fn beginning_with(first: Arc<Logged>) -> Self {
        let rings = ViewClass::ALL.map(|class| {
            let told = i64::from(first.audience[class.index()]);
            Ring::after_n(first.moment.numbers.of(class) - told, RING_EVENTS_MAX)
        });
        let mut timeline = Self {
            latest: Arc::clone(&first),
            rings,
        };
        if let Err(error) = timeline.push(first) {
            unreachable!("each ring begins right before the event: {error}");
        }
        timeline
    }

    /// The latest event.
    #[must_use]
    pub fn latest(&self) -> &Arc<Logged> {
        &self.latest
    }

    /// The latest event's sequence number.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.latest.moment.seq
    }

    /// The latest `n` of a class.
    #[must_use]
    pub fn latest_n(&self, class: ViewClass) -> i64 {
        self.rings[class.index()].latest()
    }

    /// Applies an event if it is the next one.
    ///
    /// # Errors
    /// [`NotDense`] if the next event's `n` is not its class's next: the log is at fault.
    pub fn apply(&mut self, logged: Arc<Logged>) -> Result<Verdict, NotDense> {
        let verdict = judge(self.seq(), logged.moment.seq);
        if verdict == Verdict::Applied {
            self.push(logged)?;
        }
        Ok(verdict)
    }

    /// What a viewer of `class` at `position` is owed.
    #[must_use]
    pub fn owed(&self, class: ViewClass, position: i64, limit: usize) -> Owed<Arc<Slot>> {
        self.rings[class.index()].owed(position, limit)
    }

    fn push(&mut self, logged: Arc<Logged>) -> Result<(), NotDense> {
        let numbers = ViewClass::ALL.map(|class| logged.n(class));
        for (ring, n) in self.rings.iter().zip(numbers) {
            let (n, latest) = (n.unwrap_or(ring.latest() + 1), ring.latest());
            if n != latest + 1 {
                return Err(NotDense { n, latest });
            }
        }
        let slot = Arc::new(Slot::new(Arc::clone(&logged)));
        for (ring, n) in self.rings.iter_mut().zip(numbers) {
            if let Some(n) = n {
                ring.push(n, Arc::clone(&slot))?;
            }
        }
        self.latest = logged;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use shared::ids::{EventId, GameId};
    use uuid::Uuid;

    use super::*;
    use crate::games::entity::{EventKind, GameStatus, Moment, Numbers};
    use crate::keys::Keys;
    use crate::rules::by_name;

    /// A log in which event `i` is told to the classes of `audiences[i]`.
    fn log(audiences: &[[bool; 3]]) -> Vec<Logged> {
        let ruleset = by_name("turn-log").unwrap();
        let mut numbers = Numbers::default();
        let events = audiences.iter().zip(1..).map(|(audience, seq)| {
            numbers = numbers.advance(*audience);
            Logged {
                game: GameId(Uuid::from_u128(5)),
                event_id: EventId(Uuid::from_u128(seq)),
                kind: EventKind::Moved,
                by: None,
                record: None,
                audience: *audience,
                moment: Moment {
                    ruleset,
                    seq: Seq(i64::try_from(seq).unwrap()),
                    numbers,
                    scene: json!({"ply": 1, "last": seq.to_string()}).into(),
                    status: GameStatus::Active,
                    draw_offer: None,
                    result: None,
                    clock: None,
                    at_ms: 1,
                },
            }
        });
        events.collect()
    }

    fn numbers_owed(timeline: &Timeline, class: ViewClass, position: i64) -> Vec<i64> {
        let cursors = Cursors::new(Arc::new(Keys::new([7; 32], &[])));
        match timeline.owed(class, position, usize::MAX) {
            Owed::Frames(slots) => {
                let frames = slots.iter().filter_map(|slot| slot.frame(class, &cursors));
                frames.map(|frame| frame.n).collect()
            }
            _ => Vec::new(),
        }
    }

    proptest! {
        /// Events in any order, some twice, the log read at every hole: what a gateway goes through.
        #[test]
        fn however_events_arrive_each_class_gets_its_own_dense_numbers(
            audiences in prop::collection::vec(any::<[bool; 3]>(), 1..40),
            arrivals in prop::collection::vec(0_usize..40, 0..120),
        ) {
            let log = log(&audiences);
            let mut timeline = Timeline::beginning_with(Arc::new(log[0].clone()));
            for arrival in arrivals.into_iter().filter(|i| *i < log.len()) {
                let incoming = Arc::new(log[arrival].clone());
                match timeline.apply(Arc::clone(&incoming)).unwrap() {
                    Verdict::Applied => prop_assert_eq!(timeline.seq(), incoming.moment.seq),
                    Verdict::Old => prop_assert!(incoming.moment.seq <= timeline.seq()),
                    Verdict::Hole => {
                        let from = usize::try_from(timeline.seq().0).unwrap();
                        for missing in &log[from..] {
                            let verdict = timeline.apply(Arc::new(missing.clone())).unwrap();
                            prop_assert_eq!(verdict, Verdict::Applied);
                        }
                    }
                }
            }
            let applied = usize::try_from(timeline.seq().0).unwrap();
            for class in ViewClass::ALL {
                let told = log[..applied].iter().filter(|e| e.audience[class.index()]).count();
                let told = i64::try_from(told).unwrap();
                prop_assert_eq!(timeline.latest_n(class), told);
                prop_assert_eq!(numbers_owed(&timeline, class, 0), (1..=told).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_timeline_that_begins_in_the_middle_of_a_log_goes_on_with_its_numbers() {
        let log = log(&[
            [true; 3],
            [true, false, false],
            [false, true, false],
            [true; 3],
        ]);
        let mut timeline = Timeline::beginning_with(Arc::new(log[2].clone()));
        timeline.apply(Arc::new(log[3].clone())).unwrap();
        assert_eq!(numbers_owed(&timeline, ViewClass::White, 2), [3]);
        assert_eq!(numbers_owed(&timeline, ViewClass::Black, 1), [2, 3]);
        assert!(matches!(
            timeline.owed(ViewClass::White, 1, 9),
            Owed::Behind
        ));
    }

    #[test]
    fn a_log_whose_numbers_are_not_dense_is_refused_and_changes_nothing() {
        let log = log(&[[true; 3], [true; 3]]);
        let mut timeline = Timeline::beginning_with(Arc::new(log[0].clone()));
        let mut wrong = log[1].clone();
        wrong.moment.numbers = Numbers([2, 2, 3]);
        assert!(timeline.apply(Arc::new(wrong)).is_err());
        assert_eq!(timeline.seq(), Seq(1));
        assert_eq!(timeline.latest_n(ViewClass::White), 1);
    }

    #[test]
    fn a_frame_is_made_once_and_shared() {
        let cursors = Cursors::new(Arc::new(Keys::new([7; 32], &[])));
        let slot = Slot::new(Arc::new(log(&[[true; 3]]).remove(0)));
        let bytes = |frame: Option<Frame>| frame.unwrap().text.as_str().as_ptr();
        let first = bytes(slot.frame(ViewClass::White, &cursors));
        assert_eq!(first, bytes(slot.frame(ViewClass::White, &cursors)));
    }
}
