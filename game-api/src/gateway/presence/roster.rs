//! Who is here, on this gateway: counts of connections by game and viewer, and what of it the
//! database does not know yet. Who leaves stays for a grace, so that a page being reloaded or a
//! phone that changes its network is not seen to come and go. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use shared::ids::{GameId, PlayerId};
use tokio::time::Instant;

/// Who watches. Viewers who are not signed in cannot be told apart, and need not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Viewer {
    /// A player, who counts once, however many connections there are.
    Player(PlayerId),
    /// Everyone else, each connection for itself.
    Anonymous,
}

/// One viewer of one game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The game.
    pub game: GameId,
    /// The viewer.
    pub viewer: Viewer,
}

/// What the database is to be told of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub key: Key,
    /// How many there are now; none if 0.
    pub viewers: u32,
    /// Whether the game is public.
    pub listed: bool,
}

/// The connections of a viewer.
#[derive(Debug, Default)]
struct Entry {
    here: u32,
    /// When each connection that has ended stops to count, in order. One that comes takes the place
    /// of the one that would go first.
    leaving: VecDeque<Instant>,
    listed: bool,
}

impl Entry {
    fn shown(&self, viewer: Viewer) -> u32 {
        let leaving = u32::try_from(self.leaving.len()).unwrap_or(u32::MAX);
        let all = self.here.saturating_add(leaving);
        match viewer {
            Viewer::Player(_) => all.min(1),
            Viewer::Anonymous => all,
        }
    }
}

/// The viewers of one gateway. As large as its connections and their topics.
#[derive(Debug)]
pub struct Roster {
    grace: Duration,
    entries: HashMap<Key, Entry>,
    /// All `leaving` of all entries, in order.
    expiries: VecDeque<(Instant, Key)>,
    dirty: HashSet<Key>,
    /// The gateway goes, and its viewers to others.
    parting: bool,
}

impl Roster {
    /// Nobody is here.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            entries: HashMap::new(),
            expiries: VecDeque::new(),
            dirty: HashSet::new(),
            parting: false,
        }
    }

    /// A connection opens the game.
    pub fn enter(&mut self, key: Key, listed: bool) {
        self.change(key, |entry| {
            entry.here += 1;
            entry.leaving.pop_front();
        });
        if listed {
            self.list(key);
        }
    }

    /// The game is public, or has become so under its viewers.
    pub fn list(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key)
            && !entry.listed
        {
            entry.listed = true;
            self.dirty.insert(key);
        }
    }

    /// A connection closes the game.
    pub fn leave(&mut self, key: Key, now: Instant) {
        // Anonymous viewers are counted wherever they are: one who is sent to another gateway must
        // not count at both. A player counts once all the same.
        let at_once = self.parting && key.viewer == Viewer::Anonymous;
        let until = now + self.grace;
        self.change(key, |entry| {
            entry.here = entry.here.saturating_sub(1);
            if !at_once {
                entry.leaving.push_back(until);
            }
        });
        if !at_once {
            self.expiries.push_back((until, key));
        }
    }

    /// From now on whoever leaves is on the way to another gateway, and so is who has just left.
    pub fn part(&mut self) {
        self.parting = true;
        let strangers = self
            .entries
            .keys()
            .filter(|key| key.viewer == Viewer::Anonymous);
        for key in strangers.copied().collect::<Vec<_>>() {
            self.change(key, |entry| entry.leaving.clear());
        }
    }

    /// Lets those go whose grace is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some((_, key)) = self.expiries.pop_front_if(|(until, _)| *until <= now) {
            self.change(key, |entry| {
                while entry.leaving.pop_front_if(|until| *until <= now).is_some() {}
            });
        }
    }

    /// What the database is to be told, at most `max` of it. What could not be told is given back
    /// to [`Self::untold`].
    pub fn changes(&mut self, max: usize) -> Vec<Change> {
        let keys: Vec<Key> = self.dirty.iter().take(max).copied().collect();
        let changes = keys.into_iter().map(|key| {
            self.dirty.remove(&key);
            let entry = self.entries.get(&key);
            Change {
                key,
                viewers: entry.map_or(0, |entry| entry.shown(key.viewer)),
                listed: entry.is_some_and(|entry| entry.listed),
            }
        });
        changes.collect()
    }

    /// These changes did not reach the database.
    pub fn untold(&mut self, changes: &[Change]) {
        self.dirty.extend(changes.iter().map(|change| change.key));
    }

    /// The database knows nothing of this gateway.
    pub fn forgotten(&mut self) {
        self.dirty = self.entries.keys().copied().collect();
    }

    fn change(&mut self, key: Key, change: impl FnOnce(&mut Entry)) {
        let entry = self.entries.entry(key).or_default();
        let before = entry.shown(key.viewer);
        change(entry);
        let after = entry.shown(key.viewer);
        if after != before {
            self.dirty.insert(key);
        }
        if after == 0 {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn key(viewer: Viewer) -> Key {
        Key {
            game: GameId(uuid::Uuid::from_u128(1)),
            viewer,
        }
    }

    fn player() -> Key {
        key(Viewer::Player(PlayerId(uuid::Uuid::from_u128(2))))
    }

    /// What the database would hold after being told everything.
    fn told(roster: &mut Roster) -> Vec<u32> {
        let changes = roster.changes(100);
        changes.iter().map(|change| change.viewers).collect()
    }

    #[test]
    fn a_player_counts_once_however_many_tabs() {
        let (mut roster, start) = (Roster::new(GRACE), Instant::now());
        roster.enter(player(), true);
        roster.enter(player(), true);
        assert_eq!(told(&mut roster), [1]);
        roster.leave(player(), start);
        roster.expire(start + GRACE);
        assert_eq!(told(&mut roster), [0; 0], "one tab is left");
        roster.leave(player(), start + GRACE);
        roster.expire(start + GRACE * 2);
        assert_eq!(told(&mut roster), [0]);
        assert!(roster.entries.is_empty() && roster.expiries.is_empty());
    }

    #[test]
    fn who_is_back_within_the_grace_was_never_gone() {
        let (mut roster, start) = (Roster::new(GRACE), Instant::now());
        for key in [player(), key(Viewer::Anonymous)] {
            roster.enter(key, true);
            told(&mut roster);
            roster.leave(key, start);
            roster.expire(start + GRACE - SECOND);
            roster.enter(key, true);
            roster.leave(key, start + GRACE - SECOND);
            // The first absence is over; the second has just begun.
            roster.expire(start + GRACE);
            assert_eq!(told(&mut roster), [0; 0]);
            roster.expire(start + GRACE * 2 - SECOND);
            assert_eq!(told(&mut roster), [0]);
        }
    }

    #[test]
    fn when_the_gateway_goes_the_anonymous_leave_at_once_and_players_do_not() {
        let (mut roster, start) = (Roster::new(GRACE), Instant::now());
        roster.enter(player(), true);
        roster.enter(key(Viewer::Anonymous), true);
        roster.enter(key(Viewer::Anonymous), true);
        told(&mut roster);
        roster.leave(key(Viewer::Anonymous), start);
        roster.part();
        roster.leave(player(), start);
        roster.leave(key(Viewer::Anonymous), start);
        let changes = roster.changes(100);
        assert_eq!(changes.len(), 1);
        assert_eq!(
            (changes[0].key.viewer, changes[0].viewers),
            (Viewer::Anonymous, 0)
        );
    }

    #[test]
    fn what_was_not_told_is_told_as_it_is_by_then() {
        let (mut roster, start) = (Roster::new(Duration::ZERO), Instant::now());
        roster.enter(player(), false);
        let lost = roster.changes(100);
        roster.leave(player(), start);
        roster.expire(start);
        roster.untold(&lost);
        assert_eq!(told(&mut roster), [0]);
        roster.enter(player(), false);
        told(&mut roster);
        roster.forgotten();
        assert_eq!(told(&mut roster), [1]);
    }

    #[test]
    fn a_game_that_becomes_public_counts_from_then_on() {
        let mut roster = Roster::new(GRACE);
        let listed = |roster: &mut Roster| -> Vec<bool> {
            let changes = roster.changes(100);
            changes.iter().map(|change| change.listed).collect()
        };
        roster.enter(player(), false);
        assert_eq!(listed(&mut roster), [false]);
        roster.list(player());
        assert_eq!(listed(&mut roster), [true]);
        roster.list(player());
        roster.list(key(Viewer::Anonymous));
        assert_eq!(
            listed(&mut roster),
            [false; 0],
            "it was told, or is not here"
        );
    }

    proptest! {
        /// A database that is told the changes holds what there is, whatever happens in between.
        #[test]
        fn told_changes_add_up(steps in prop::collection::vec((0_u8..4, 0_u128..3), 1..60)) {
            let (mut roster, mut now) = (Roster::new(GRACE), Instant::now());
            let (mut database, mut open) = (HashMap::new(), Vec::new());
            for (step, who) in steps {
                let viewer = match who {
                    0 => Viewer::Anonymous,
                    who => Viewer::Player(PlayerId(uuid::Uuid::from_u128(who))),
                };
                match step {
                    0 => { roster.enter(key(viewer), true); open.push(viewer); }
                    1 => if let Some(viewer) = open.pop() { roster.leave(key(viewer), now); },
                    2 => { now += GRACE / 2; roster.expire(now); }
                    _ => for change in roster.changes(2) {
                        database.insert(change.key, change.viewers);
                    }
                }
            }
            roster.expire(now + GRACE);
            for change in roster.changes(usize::MAX) {
                database.insert(change.key, change.viewers);
            }
            for (key, viewers) in database {
                let connections = open.iter().filter(|viewer| **viewer == key.viewer).count();
                let expected = match key.viewer {
                    Viewer::Player(_) => connections.min(1),
                    Viewer::Anonymous => connections,
                };
                prop_assert_eq!(usize::try_from(viewers).unwrap(), expected);
            }
        }
    }
}
