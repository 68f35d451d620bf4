//! Two relays, one database, one stream, and every step that any of them may take next.

use crate::database::Database;
use crate::event::{KEYS, Key, Nth};
use crate::faults::{Fault, Faults};
use crate::mutant::Mutant;
use crate::relay::{Job, Move, Relay};
use crate::scope::Scope;
use crate::singly::Single;
use crate::stream::{Parcel, Stream};

/// Everything there is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) stream: Stream,
    pub(crate) relays: [Relay; 2],
    /// Batches whose senders have given up on them or died. Each may arrive, or never.
    pub(crate) late: Vec<Parcel>,
    /// Announced events of the same kind.
    pub(crate) late_singles: Vec<Single>,
    pub(crate) copies: Copies,
    /// Whether event 1 cannot be published.
    pub(crate) spoiled: bool,
    pub(crate) scope: Scope,
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
    /// A relay makes its next move for a shard.
    Relay(usize, Nth, Move),
    /// A relay sends one batch for both shards.
    SendTogether(usize),
    /// All of a relay's batch but its end reaches the broker.
    Begin(usize, usize),
    /// A relay's watcher looks at the stream.
    Look(usize),
    /// A relay drops its machine of a shard for a stream of another generation.
    StartAnew(usize, Nth),
    /// A relay's keeper learns that its lease of a shard is another's.
    Notice(usize, Nth),
    /// What a relay has sent reaches the broker, or the end of it, and the relay hears the answer.
    Arrive(usize, usize),
    /// So does a batch that nobody waits for any more.
    ArriveLate(usize),
    /// The first announced event that is on its way reaches the broker, and the relay hears the
    /// answer.
    ArriveSingly(usize),
    /// So does one that nobody waits for any more.
    ArriveSinglyLate(usize),
    /// The lease of a relay that is no more lapses.
    Expire(Nth),
    Fault(Fault),
}

/// Events that are ever appended. One that a database has forgotten is not appended again.
const EVENTS_MAX: u8 = 3;

impl World {
    pub(crate) fn new(faults: Faults, scope: Scope) -> Self {
        let stream = Stream::new(1);
        let relay = Relay {
            facts: Some(0),
            ..Relay::default()
        };
        let mut world = Self {
            db: Database::new(&stream.sighting()),
            stream,
            relays: [relay.clone(), relay],
            late: Vec::new(),
            late_singles: Vec::new(),
            copies: Copies::default(),
            spoiled: false,
            scope,
            appended: 0,
            life: 0,
            lost: Lost::default(),
            left: faults,
        };
        for key in scope.there() {
            world.append(*key);
            if let Some(event) = world.db.open.take() {
                world.db.commit(event);
            }
        }
        world
    }

    /// What somebody may do if nothing goes wrong.
    pub(crate) fn regular_steps(&self, steps: &mut Vec<Step>) {
        let appends = KEYS.into_iter();
        steps.extend(
            appends
                .filter(|key| self.may_append(*key))
                .map(Step::Append),
        );
        steps.extend(self.db.open.map(|_| Step::CommitLate));
        for shard in self.scope.shards() {
            steps.extend(self.db.shards[shard].owner.map(|_| Step::Expire(shard)));
        }
        for nth in 0..self.relays.len() {
            // The relays are alike: that the first one begins leaves out nothing but mirror images.
            let begun = self.db.shards.iter().any(|shard| shard.epoch.0 > 0);
            if begun || nth == 0 {
                self.steps_of_relay(nth, steps);
            }
        }
    }

    /// What may happen to one relay if nothing goes wrong.
    pub(crate) fn steps_of_relay(&self, nth: usize, steps: &mut Vec<Step>) {
        let relay = &self.relays[nth];
        steps.push(Step::Look(nth));
        for (flight, parcel) in relay.flights.iter().enumerate() {
            let begins = self.scope.has_two_shards() && !parcel.begun;
            steps.push(if begins {
                Step::Begin(nth, flight)
            } else {
                Step::Arrive(nth, flight)
            });
        }
        steps.extend(relay.singles.first().map(|_| Step::ArriveSingly(nth)));
        let mut moves = self.scope.shards().map(|shard| relay.next_move(shard));
        if self.scope.has_two_shards() && moves.all(|what| what == Some(Move::Send)) {
            steps.push(Step::SendTogether(nth));
        }
        for shard in self.scope.shards() {
            self.steps_of_shard(nth, shard, steps);
        }
    }

    fn steps_of_shard(&self, nth: usize, shard: Nth, steps: &mut Vec<Step>) {
        let relay = &self.relays[nth];
        let writer = relay.writer(nth, shard);
        let is_zombie = writer.is_some_and(|writer| !self.db.holds(writer));
        if is_zombie {
            steps.push(Step::Notice(nth, shard));
        }
        // A zombie begins anew once, and notices then: it looks at its leases every half second.
        let held = relay.held[shard].as_ref();
        let may_begin = !is_zombie || held.is_some_and(|held| !held.again);
        if may_begin && relay.is_outdated(shard) {
            steps.push(Step::StartAnew(nth, shard));
        }
        match relay.next_move(shard) {
            Some(Move::Take) if !self.db.is_free(shard) => {}
            Some(Move::ReadFence) if relay.run(shard).is_none() && !may_begin => {}
            Some(Move::Send) if self.may_announce(nth, shard) => {
                steps.push(Step::Relay(nth, shard, Move::Announce));
                steps.push(Step::Relay(nth, shard, Move::Send));
            }
            what => steps.extend(what.map(|what| Step::Relay(nth, shard, what))),
        }
    }

    /// The world after a step; `None` if it cannot be taken, or changes nothing.
    pub(crate) fn after(&self, step: Step, mutant: Mutant) -> Option<Self> {
        // These change nothing most of the time, and need no copy of the world to see it.
        let changes = match step {
            Step::Look(nth) => self.has_news(nth),
            Step::Expire(shard) => self.lapses(shard),
            _ => true,
        };
        if !changes {
            return None;
        }
        let mut next = self.clone();
        next.take_step(step, mutant)?;
        for nth in 0..next.relays.len() {
            next.send_fence(nth, mutant);
        }
        next.forget_hopeless(mutant);
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
            Step::Relay(nth, shard, what) => self.make_move(nth, shard, what, mutant),
            Step::SendTogether(nth) => self.send_together(nth, mutant),
            Step::Begin(nth, flight) => {
                self.begin(nth, flight, mutant);
                Some(())
            }
            Step::Look(nth) => {
                self.look(nth);
                Some(())
            }
            Step::StartAnew(nth, shard) => {
                let held = self.relays[nth].held[shard].as_mut()?;
                held.job = Job::Fresh;
                held.again = true;
                Some(())
            }
            Step::Notice(nth, shard) => {
                self.drop_shard(nth, shard);
                Some(())
            }
            Step::Arrive(nth, flight) => {
                self.arrive(nth, flight, mutant);
                Some(())
            }
            Step::ArriveLate(nth) => {
                let parcel = self.late.remove(nth);
                self.commit(&parcel, mutant)?;
                Some(())
            }
            Step::ArriveSingly(nth) => {
                self.arrive_singly(nth, mutant);
                Some(())
            }
            Step::ArriveSinglyLate(which) => {
                let single = self.late_singles.remove(which);
                self.commit_singly(&single, mutant)?;
                Some(())
            }
            Step::Expire(shard) => {
                self.db.shards[shard].lapsed = true;
                Some(())
            }
            Step::Fault(fault) => self.strike(fault, mutant),
        }
    }

    fn may_append(&self, key: Key) -> bool {
        let rows = self.db.committed.iter().filter(|event| event.key == key);
        let room =
            rows.count() < self.scope.comes(key) && (key != Key::Late || self.db.open.is_none());
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

    /// Whether a look at the stream shows anything new. One that does not is left out.
    fn has_news(&self, nth: usize) -> bool {
        let known = self.db.known();
        let is_seen = self.relays[nth].facts == Some(known.generation);
        !is_seen || known.is_lost(&self.stream.sighting())
    }

    fn lapses(&self, shard: Nth) -> bool {
        let row = &self.db.shards[shard];
        row.owner.is_some() && !row.lapsed && !self.is_renewed(shard)
    }

    /// A look at the stream.
    fn look(&mut self, nth: usize) {
        self.db.look(&self.stream.sighting());
        self.relays[nth].facts = Some(self.db.identity.generation);
    }
}
