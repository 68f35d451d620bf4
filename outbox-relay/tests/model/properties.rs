//! What must hold in every state that can be reached. The numbers are those of the invariants in
//! ARCHITECTURE.md.

use stateright::Property;

use crate::event::{Event, KEYS, Key};
use crate::relay::Relay;
use crate::setting::Setting;
use crate::world::{Step, World};

/// More steps than a relay needs for three events, two take-overs and two verifications.
const STEPS_TO_DRAIN_MAX: usize = 100;

pub(crate) const NOT_LOST: &str = "3: no committed event is lost";
pub(crate) const PUBLISHED: &str = "3: nothing is recorded as published and was not";
pub(crate) const COMPLETE: &str = "3: whoever has nothing to do has left nothing";
pub(crate) const DRAINS: &str = "3: left alone, a relay gets everything out";
pub(crate) const IN_ORDER: &str = "4: each key is in order and without a hole";
pub(crate) const ONCE: &str = "5: no event is in the stream twice";
pub(crate) const NOT_DEAD: &str = "5: a dead letter is not in the stream";
pub(crate) const NO_FALSE_ALARM: &str = "a loss is declared only after one";

/// All of them.
pub(crate) fn all() -> Vec<Property<Setting>> {
    vec![
        Property::always(NOT_LOST, |_, world: &World| {
            world.db.committed.iter().all(|event| world.knows(*event))
        }),
        Property::always(PUBLISHED, |_, world: &World| {
            let records = world.db.published.iter().map(|row| row.event);
            world.lost.stream || records.into_iter().all(|event| world.stream.holds(event))
        }),
        Property::always(COMPLETE, |setting, world: &World| {
            world.is_complete() || world.goes_on(setting)
        }),
        Property::always(DRAINS, |setting, world: &World| {
            !setting.drains || (0..world.relays.len()).all(|nth| world.drains_by(nth, setting))
        }),
        Property::always(IN_ORDER, |_, world: &World| {
            KEYS.into_iter().all(|key| world.is_in_order(key))
        }),
        Property::always(ONCE, |_, world: &World| {
            let mut events: Vec<Event> = world.stream.events().collect();
            let stored = events.len();
            events.sort_unstable();
            events.dedup();
            events.len() == stored
        }),
        Property::always(NOT_DEAD, |_, world: &World| {
            let dead = &world.db.dead;
            world.lost.database || !dead.iter().any(|event| world.stream.holds(*event))
        }),
        Property::always(NO_FALSE_ALARM, |_, world: &World| {
            let lost = world.lost;
            world.db.identity.generation == 0 || lost.stream || lost.database || lost.ordered
        }),
    ]
}

impl World {
    fn knows(&self, event: Event) -> bool {
        let db = &self.db;
        db.pending.contains(&event)
            || db.dead.contains(&event)
            || db.published.iter().any(|row| row.event == event)
            || self.stream.holds(event)
    }

    /// Whether every committed event is in the stream or dead, or waits behind a dead one.
    pub(crate) fn is_complete(&self) -> bool {
        let db = &self.db;
        let settled = |event: &Event| {
            self.stream.holds(*event) && !db.pending.contains(event)
                || db.dead.iter().any(|letter| letter.key == event.key)
        };
        db.open.is_none() && db.committed.iter().all(settled)
    }

    /// Whether anybody can do anything, if nothing more goes wrong.
    fn goes_on(&self, setting: &Setting) -> bool {
        let mut steps = Vec::new();
        self.regular_steps(&mut steps);
        steps
            .into_iter()
            .any(|step| self.after(step, setting.mutant).is_some())
    }

    /// Whether one relay gets everything out that is committed, if the other one is no more and
    /// nothing goes wrong any more.
    fn drains_by(&self, survivor: usize, setting: &Setting) -> bool {
        let mut world = self.clone();
        world.relays[1 - survivor] = Relay::default();
        world.late.clear();
        world.late_singles.clear();
        let mut steps = Vec::new();
        for _ in 0..STEPS_TO_DRAIN_MAX {
            steps.extend([Step::CommitLate, Step::Expire(0), Step::Expire(1)]);
            world.steps_of_relay(survivor, &mut steps);
            let next = steps
                .drain(..)
                .find_map(|step| world.after(step, setting.mutant));
            match next {
                Some(next) => world = next,
                None => return world.is_complete(),
            }
        }
        false
    }

    /// Whether the stream holds the key's first events, in the order of their commits. What a
    /// database has forgotten is none of its events.
    fn is_in_order(&self, key: Key) -> bool {
        let committed = self.db.committed.iter().filter(|event| event.key == key);
        let stored = self
            .stream
            .events()
            .filter(|event| event.key == key && self.db.committed.contains(event));
        let mut committed = committed.copied();
        stored
            .into_iter()
            .all(|event| committed.next() == Some(event))
    }
}
