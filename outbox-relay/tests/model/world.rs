//! Two relays, one database, one stream, and every step that any of them may take next.

use crate::database::Database;
use crate::event::Key;
use crate::faults::{Fault, Faults};
use crate::mutant::Mutant;
use crate::relay::{Job, Move, Relay, Wire};
use crate::stream::{Parcel, Stream};

/// Everything there is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) stream: Stream,
    pub(crate) relays: [Relay; 2],
    /// Batches whose senders have given up on them or died. Each may arrive, or never.
    pub(crate) late: Vec<Parcel>,
    pub(crate) copies: Copies,
    /// Whether event 1 cannot be published.
    pub(crate) spoiled: bool,
    /// Whether there is a second key.
    pub(crate) two_keys: bool,
    /// Events appended so far.
    pub(crate) appended: u8,
    /// How often the stream has lost something.
    pub(crate) life: u8,
    /// What has been lost so far; for the properties alone.
    pub(crate) lost: Lost,
    /// What may still go wrong.
    pub(crate) left: Faults,
}

/// Older copies, to be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Copies {
    pub(crate) stream: Option<Stream>,
    pub(crate) database: Option<Database>,
}

/// Who has lost something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lost {
    pub(crate) stream: bool,
    pub(crate) database: bool,
    /// Nobody, but an operator ordered a verification.
    pub(crate) ordered: bool,
}

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A producer appends.
    Append(Key),
    /// The transaction that was left open commits.
    CommitLate,
    /// A relay makes its next move.
    Relay(usize, Move),
    /// A relay's watcher looks at the stream.
    Look(usize),
    /// A relay drops its machine for a stream of another generation.
    StartAnew(usize),
    /// A relay's keeper learns that its lease is another's.
    Notice(usize),
    /// What a relay has sent reaches the broker, and the relay hears the answer.
    Arrive(usize),
    /// So does a batch that nobody waits for any more.
    ArriveLate(usize),
    /// The lease of a relay that is no more lapses.
    Expire,
    Fault(Fault),
}

/// Events of the first key, of which each batch may hold two.
const PROMPT_EVENTS: usize = 2;

/// Events that are ever appended. One that a database has forgotten is not appended again.
const EVENTS_MAX: u8 = 3;

impl World {
    pub(crate) fn new(faults: Faults, two_keys: bool) -> Self {
        let stream = Stream::new(1);
        let relay = Relay {
            facts: Some(0),
            held: None,
        };
        Self {
            db: Database::new(&stream.sighting()),
            stream,
            relays: [relay.clone(), relay],
            late: Vec::new(),
            copies: Copies::default(),
            spoiled: false,
            two_keys,
            appended: 0,
            life: 0,
            lost: Lost::default(),
            left: faults,
        }
    }

    /// What somebody may do if nothing goes wrong.
    pub(crate) fn regular_steps(&self, steps: &mut Vec<Step>) {
        let appends = [Key::Prompt, Key::Late].into_iter();
        steps.extend(
            appends
                .filter(|key| self.may_append(*key))
                .map(Step::Append),
        );
        steps.extend(self.db.open.map(|_| Step::CommitLate));
        steps.extend(self.db.shard.owner.map(|_| Step::Expire));
        for nth in 0..self.relays.len() {
            // The relays are alike: that the first one begins leaves out nothing but mirror images.
            if self.db.shard.epoch.0 > 0 || nth == 0 {
                self.steps_of_relay(nth, steps);
            }
        }
    }

    /// What may happen to one relay if nothing goes wrong.
    pub(crate) fn steps_of_relay(&self, nth: usize, steps: &mut Vec<Step>) {
        let relay = &self.relays[nth];
        steps.push(Step::Look(nth));
        let is_zombie = relay
            .writer(nth)
            .is_some_and(|writer| !self.db.holds(writer));
        if is_zombie {
            steps.push(Step::Notice(nth));
        }
        // A zombie begins anew once, and notices then: it looks at its leases every half second.
        let held = relay.held.as_ref();
        let may_begin = !is_zombie || held.is_some_and(|held| !held.again);
        if may_begin && relay.is_outdated() {
            steps.push(Step::StartAnew(nth));
        }
        if let Some(Wire::Sent(_)) = relay.run().map(|run| &run.wire) {
            steps.push(Step::Arrive(nth));
        }
        match relay.next_move() {
            Some(Move::Take) if !self.db.is_free() => {}
            Some(Move::ReadFence) if relay.run().is_none() && !may_begin => {}
            what => steps.extend(what.map(|what| Step::Relay(nth, what))),
        }
    }

    /// The world after a step; `None` if it cannot be taken, or changes nothing.
    pub(crate) fn after(&self, step: Step, mutant: Mutant) -> Option<Self> {
        let mut next = self.clone();
        next.take_step(step, mutant)?;
        for nth in 0..next.relays.len() {
            next.send_fence(nth);
        }
        Some(next)
    }

    fn take_step(&mut self, step: Step, mutant: Mutant) -> Option<()> {
        match step {
            Step::Append(key) => self.append(key),
            Step::CommitLate => {
                let event = self.db.open.take()?;
                self.db.commit(event);
                Some(())
            }
            Step::Relay(nth, what) => self.make_move(nth, what, mutant),
            Step::Look(nth) => self.look(nth),
            Step::StartAnew(nth) => {
                let held = self.relays[nth].held.as_mut()?;
                held.job = Job::Fresh;
                held.again = true;
                Some(())
            }
            Step::Notice(nth) => {
                self.drop_shard(nth);
                Some(())
            }
            Step::Arrive(nth) => self.arrive(nth, mutant),
            Step::ArriveLate(nth) => {
                let parcel = self.late.remove(nth);
                let fenced = mutant != Mutant::NoFence;
                self.stream.store(&parcel, self.life, fenced)?;
                Some(())
            }
            Step::Expire => {
                let lapses = !self.is_renewed() && !self.db.shard.lapsed;
                self.db.shard.lapsed = true;
                lapses.then_some(())
            }
            Step::Fault(fault) => self.strike(fault, mutant),
        }
    }

    fn may_append(&self, key: Key) -> bool {
        let rows = self.db.committed.iter().filter(|event| event.key == key);
        let room = match key {
            Key::Prompt => rows.count() < PROMPT_EVENTS,
            Key::Late => self.two_keys && rows.count() == 0 && self.db.open.is_none(),
        };
        room && self.appended < EVENTS_MAX
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "a step says whether it can be taken, and this one always can"
    )]
    fn append(&mut self, key: Key) -> Option<()> {
        self.appended += 1;
        self.db.append(self.appended, key);
        Some(())
    }

    /// A look at the stream. One that shows nothing new is left out.
    fn look(&mut self, nth: usize) -> Option<()> {
        let seen = self.stream.sighting();
        let known = self.db.known();
        if self.relays[nth].facts == Some(known.generation) && !known.is_lost(&seen) {
            return None;
        }
        self.db.look(&seen);
        self.relays[nth].facts = Some(self.db.identity.generation);
        Some(())
    }
}
