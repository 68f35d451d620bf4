//! A room follows one game for all its viewers on this instance.
//!
//! One task per room (`actor`) hears of events over NATS and from this instance's own commits,
//! and reads from the log what it missed. Viewers share the [`Timeline`] and hold positions in it.

mod actor;
mod log;
mod peek;
pub mod timeline;
mod trace;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use shared::ids::GameId;
use tokio::sync::Notify;

pub(super) use actor::follow;
use timeline::{Slot, Timeline};

use super::Gateway;
use super::frame::{self, Drawn, Frame};
use super::presence::Counts;
use super::ring::Owed;
use crate::games::entity::{Game, Logged, Seq};
use crate::problem::{Problem, Reason};
use crate::rules::ViewClass;

/// How often a snapshot is tried again when the game changes under it. It takes two changes of
/// status, of which a game has two in its life.
const SNAPSHOT_ATTEMPTS_MAX: u32 = 3;

/// What the viewers of a game share on this instance.
#[derive(Debug)]
pub struct Room {
    game: GameId,
    state: Mutex<State>,
    /// Grows with every change of the state; then waiting viewers are told. A `watch` channel would
    /// take a third of a kilobyte for it.
    version: AtomicU64,
    told: Notify,
    /// Rings for the room's task: the log is wanted, or the last viewer has left.
    bell: Notify,
    /// One snapshot is drawn at a time, and whoever waited finds it drawn, or that it could not be.
    drawing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    viewers: usize,
    /// How often the log was asked for, and up to which of these it was read or could not be.
    log_wanted: u64,
    log_read: u64,
    log_failed: u64,
    /// The latest event that was heard of while the log was read for the first time.
    heard_of: Seq,
    /// The public's snapshot, which many may ask for at once. A seat's is drawn for one player.
    drawn: Option<(Seq, Arc<Drawn>)>,
    /// How many snapshots could not be drawn.
    undrawn: u32,
    presence: Option<Shown>,
}

/// Who is there, as the viewers were told.
#[derive(Debug)]
struct Shown {
    counts: Counts,
    /// Grows with each change; never 0.
    version: u64,
    text: Utf8Bytes,
}

#[derive(Debug)]
enum Phase {
    Starting,
    Live(Live),
    Gone(Reason),
}

/// A room that has read its game.
#[derive(Clone, Debug)]
struct Live {
    timeline: Timeline,
    /// The game's row, as of some moment; right about seats, status and result as soon as its
    /// status is the timeline's. Without what only moves need.
    game: Arc<Game>,
    /// Grows when the row is read again.
    game_version: u64,
}

/// The game's row in a room.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) game: Arc<Game>,
    pub(super) version: u64,
}

impl Room {
    fn new(game: GameId) -> Self {
        Self {
            game,
            state: Mutex::new(State {
                phase: Phase::Starting,
                viewers: 0,
                log_wanted: 0,
                log_read: 0,
                log_failed: 0,
                heard_of: Seq::default(),
                drawn: None,
                undrawn: 0,
                presence: None,
            }),
            version: AtomicU64::new(0),
            told: Notify::new(),
            bell: Notify::new(),
            drawing: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) const fn game(&self) -> GameId {
        self.game
    }

    /// Which state this is: to be looked at before the state is.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits for another state than `seen`.
    pub(super) async fn changed_from(&self, seen: u64) {
        loop {
            // It hears of what happens from here on, also before it is waited for.
            let told = self.told.notified();
            if self.version() != seen {
                return;
            }
            told.await;
        }
    }

    /// The latest sequence number; none before the room has read its game.
    pub(super) fn seq(&self) -> Option<Seq> {
        match &self.lock().phase {
            Phase::Live(live) => Some(live.timeline.seq()),
            Phase::Starting | Phase::Gone(_) => None,
        }
    }

    /// Waits until the room has read its game.
    pub(super) async fn started(&self) -> Result<(), Problem> {
        loop {
            let seen = self.version();
            match &self.lock().phase {
                Phase::Live(_) => return Ok(()),
                Phase::Gone(reason) => return Err(gone(*reason)),
                Phase::Starting => {}
            }
            self.changed_from(seen).await;
        }
    }

    pub(super) fn known(&self) -> Result<Known, Problem> {
        self.live(|live| Known {
            game: Arc::clone(&live.game),
            version: live.game_version,
        })
    }

    pub(super) fn latest_n(&self, class: ViewClass) -> Result<i64, Problem> {
        self.live(|live| live.timeline.latest_n(class))
    }

    /// What a viewer is owed now.
    pub(super) fn owed(
        &self,
        class: ViewClass,
        position: i64,
        limit: usize,
    ) -> Result<Owed<Arc<Slot>>, Problem> {
        self.live(|live| live.timeline.owed(class, position, limit))
    }

    /// Tells the viewers who is there, if it is not what they were told last.
    pub(super) fn show_presence(&self, counts: Counts) {
        let mut state = self.lock();
        let version = match &state.presence {
            Some(shown) if shown.counts == counts => return,
            Some(shown) => shown.version + 1,
            None => 1,
        };
        state.presence = Some(Shown {
            counts,
            version,
            text: counts.text(self.game),
        });
        drop(state);
        self.announce();
    }

    /// Who is there, if it has changed since version `seen`; with its version.
    pub(super) fn presence_since(&self, seen: u64) -> Option<(u64, Utf8Bytes)> {
        let state = self.lock();
        let shown = state.presence.as_ref()?;
        (shown.version != seen).then(|| (shown.version, shown.text.clone()))
    }

    /// Asks for the log without waiting for it.
    pub(super) fn nudge(&self) {
        self.lock().log_wanted += 1;
        self.bell.notify_one();
    }

    /// Reads the log up to what is committed now.
    ///
    /// # Errors
    /// `unavailable` if the database does not answer.
    pub(super) async fn catch_up(&self) -> Result<(), Problem> {
        let ticket = {
            let mut state = self.lock();
            state.log_wanted += 1;
            state.log_wanted
        };
        self.bell.notify_one();
        loop {
            let seen = self.version();
            {
                let state = self.lock();
                if let Phase::Gone(reason) = &state.phase {
                    return Err(gone(*reason));
                }
                if state.log_read >= ticket {
                    return Ok(());
                }
                if state.log_failed >= ticket {
                    return Err(gone(Reason::Unavailable));
                }
            }
            self.changed_from(seen).await;
        }
    }

    /// Reads the game's row again, and the log up to it.
    ///
    /// # Errors
    /// `unavailable` if the database does not answer.
    pub(super) async fn refresh(&self, gateway: &Gateway) -> Result<(), Problem> {
        let row = gateway.read_lane().row(self.game).await.map_err(|error| {
            tracing::warn!(%error, game = %self.game, "a game could not be read");
            gone(Reason::Unavailable)
        })?;
        let row = row.ok_or_else(|| gone(Reason::NotFound))?;
        let row_seq = row.seq;
        self.take_row(&row);
        if self.seq().is_some_and(|seq| seq < row_seq) {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// The whole of what `class` sees now.
    ///
    /// # Errors
    /// `unavailable` if it needs the database and the database does not answer.
    pub(super) async fn snapshot(
        &self,
        gateway: &Gateway,
        class: ViewClass,
    ) -> Result<Frame, Problem> {
        let undrawn = self.lock().undrawn;
        let _alone = self.drawing.lock().await;
        if self.lock().undrawn != undrawn {
            // Many may wait. If each tried for itself, the last would wait for all of them.
            return Err(gone(Reason::Unavailable));
        }
        let drawn = self.draw_now(gateway, class).await;
        if drawn.is_err() {
            let mut state = self.lock();
            state.undrawn = state.undrawn.wrapping_add(1);
        }
        drawn
    }

    async fn draw_now(&self, gateway: &Gateway, class: ViewClass) -> Result<Frame, Problem> {
        for _ in 0..SNAPSHOT_ATTEMPTS_MAX {
            let (latest, game) =
                self.live(|live| (Arc::clone(live.timeline.latest()), Arc::clone(&live.game)))?;
            if let Some(drawn) = self.already_drawn(class, latest.moment.seq) {
                return Ok(drawn.at(gateway.now_ms()));
            }
            if game.status != latest.moment.status {
                self.refresh(gateway).await?;
                continue;
            }
            let drawn = self.draw(gateway, class, &latest, &game).await?;
            return Ok(drawn.at(gateway.now_ms()));
        }
        Err(gone(Reason::Unavailable))
    }

    async fn draw(
        &self,
        gateway: &Gateway,
        class: ViewClass,
        latest: &Logged,
        game: &Game,
    ) -> Result<Arc<Drawn>, Problem> {
        let viewer = match class.seat() {
            Some(seat) => game.player_on(seat),
            // Nobody else sees a challenge from without a seat.
            None => game.reserved_to(),
        };
        let described = gateway.describe(game, viewer).await?;
        let cursors = gateway.cursors();
        let drawn = frame::snapshot(cursors, self.game, &latest.moment, &described, class);
        let drawn = Arc::new(drawn);
        // What the challenged player is shown is not for those who come when the seat is taken.
        if class == ViewClass::Public && game.reserved_to().is_none() {
            self.lock().drawn = Some((latest.moment.seq, Arc::clone(&drawn)));
        }
        Ok(drawn)
    }

    fn already_drawn(&self, class: ViewClass, seq: Seq) -> Option<Arc<Drawn>> {
        let drawn = self.lock().drawn.clone();
        drawn
            .filter(|(as_of, _)| *as_of == seq && class == ViewClass::Public)
            .map(|(_, drawn)| drawn)
    }

    /// Keeps a row that is not older than the one there is.
    fn take_row(&self, row: &Game) {
        let mut state = self.lock();
        if let Phase::Live(live) = &mut state.phase
            && row.seq >= live.game.seq
        {
            live.game = Arc::new(row.without_position());
            live.game_version += 1;
        }
        drop(state);
        self.announce();
    }

    fn live<T>(&self, read: impl FnOnce(&Live) -> T) -> Result<T, Problem> {
        match &self.lock().phase {
            Phase::Live(live) => Ok(read(live)),
            Phase::Starting => Err(gone(Reason::Unavailable)),
            Phase::Gone(reason) => Err(gone(*reason)),
        }
    }

    fn announce(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.told.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(reason: Reason) -> Problem {
    match reason {
        Reason::NotFound => Problem::new(reason, "there is no such game"),
        _ => Problem::new(reason, "the game cannot be read right now, try again"),
    }
}

/// A viewer's place in a room; the room ends when the last one is gone.
#[derive(Debug)]
pub(super) struct Seated {
    room: Arc<Room>,
}

impl Seated {
    /// Takes a place. The caller holds the lock of the rooms, under which a room ends.
    pub(super) fn take(room: &Arc<Room>) -> Self {
        room.lock().viewers += 1;
        Self {
            room: Arc::clone(room),
        }
    }
}

impl std::ops::Deref for Seated {
    type Target = Room;

    fn deref(&self) -> &Room {
        &self.room
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        state.viewers -= 1;
        let empty = state.viewers == 0;
        drop(state);
        if empty {
            self.room.bell.notify_one();
        }
    }
}
