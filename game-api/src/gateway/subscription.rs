//! A viewer's subscription to a game: a position in the room's ring of its view class, and how it
//! gets from wherever its cursor says to the live end.
//!
//! The viewer's class may change under it, when it takes a seat: it then gets a snapshot of its new
//! class and goes on with that class's frames.

use axum::extract::ws::Utf8Bytes;
use futures_util::future::BoxFuture;
use prometheus::IntGauge;
use shared::ids::{GameId, PlayerId};
use tokio::time::timeout;

use super::Gateway;
use super::cursor::Position;
use super::frame::{self, Frame, FrameKind};
use super::presence::Present;
use super::ring::Owed;
use super::room::{Known, Seated};
use crate::games::entity::{GameStatus, Visibility};
use crate::games::repo;
use crate::games::service::may_see;
use crate::mutants;
use crate::problem::{Problem, Reason};
use crate::rules::ViewClass;

/// Frames handed over at once: a write's worth.
pub const BATCH_FRAMES_MAX: usize = 64;
/// A socket that missed more than this is given a snapshot instead: its reader wants the present.
const RESUME_FRAMES_MAX: i64 = 512;
/// Events of one query of the log for one viewer.
const PAGE_EVENTS_MAX: usize = 128;
/// A query that takes longer has failed.
const QUERY_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// What a viewer asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The game.
    pub game: GameId,
    /// Who asks, if signed in.
    pub player: Option<PlayerId>,
    /// The game's code, if the viewer presents it.
    pub code: Option<String>,
    /// Where the viewer was.
    pub cursor: Option<String>,
    /// What it is for.
    pub manner: Manner,
}

/// What a subscription is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// To be up to date: a snapshot without a cursor, and in place of very many missed frames.
    Present,
    /// To have every frame: from n = 1 without a cursor, however many they are.
    Log,
}

/// How a subscription begins.
#[derive(Debug)]
pub struct Opened {
    /// The subscription.
    pub subscription: Subscription,
    /// The snapshot that it begins with, if it does not begin with the frames after the cursor.
    pub snapshot: Option<Frame>,
}

/// Where a subscription begins.
enum Begin {
    /// After frame `n`.
    After(i64),
    /// With a snapshot, as asked for.
    Snapshot,
    /// With a snapshot in place of the frames after the cursor.
    Reset,
}

/// What a subscription may have to be given from elsewhere than the ring.
#[derive(Clone, Copy, Debug)]
enum Read {
    /// At most so many frames from the log.
    Page(usize),
    /// A snapshot of a new class.
    Snapshot,
    /// A snapshot in place of frames, with why.
    Resync(&'static str),
}

/// A viewer's place in a game's frames.
#[derive(Debug)]
pub struct Subscription {
    gateway: Gateway,
    room: Seated,
    /// Which state of the room was looked at last.
    seen: u64,
    player: Option<PlayerId>,
    class: ViewClass,
    game_version: u64,
    position: i64,
    /// Frames above this happened while the viewer was there.
    live_after: i64,
    /// Still on the way through the log: who is behind the ring then reads on in the log. Once at
    /// the live end, who falls behind the ring is given a snapshot.
    replaying: bool,
    /// Which version of who is there was told.
    presence_seen: u64,
    /// Whoever stays counts as being there.
    present: Option<Present>,
    _counted: Counted,
}

impl Subscription {
    /// Subscribes.
    ///
    /// # Errors
    /// `not_found` for a game that the viewer may not know of, `invalid` for a false cursor,
    /// `unavailable` if the game cannot be read.
    pub async fn open(gateway: &Gateway, wanted: Wanted) -> Result<Opened, Problem> {
        // Thousands may wait for their rooms at once. What follows is in a box of its own, which
        // they do not have yet.
        let room = gateway.enter(wanted.game).await?;
        Box::pin(Self::enter(gateway, room, wanted)).await
    }

    async fn enter(gateway: &Gateway, room: Seated, wanted: Wanted) -> Result<Opened, Problem> {
        let seen = room.version();
        let known = current(gateway, &room, wanted.player).await?;
        if !may_see(&known.game, wanted.player, wanted.code.as_deref()) {
            return Err(Problem::new(Reason::NotFound, "there is no such game"));
        }
        let class = known.game.class_of(wanted.player);
        let begin = begin(gateway, &room, class, &wanted).await?;
        let mut subscription = Self {
            gateway: gateway.clone(),
            live_after: room.latest_n(class)?,
            room,
            seen,
            player: wanted.player,
            class,
            game_version: known.version,
            position: 0,
            replaying: true,
            presence_seen: 0,
            present: None,
            _counted: Counted::new(&gateway.metrics().gateway_subscriptions),
        };
        let snapshot = match begin {
            Begin::After(n) => {
                subscription.position = n;
                None
            }
            Begin::Snapshot => Some(subscription.snapshot().await?),
            Begin::Reset => Some(subscription.resync("cursor").await?),
        };
        Ok(Opened {
            subscription,
            snapshot,
        })
    }

    /// The viewer stays, and counts as being there from now on. Who was there already, by an earlier
    /// subscription, has left it before.
    pub fn arrive(&mut self) {
        if let Ok(known) = self.room.known() {
            self.present = Some(self.gateway.presence().enter(&known.game, self.player));
        }
    }

    /// The view class at present.
    #[must_use]
    pub fn class(&self) -> ViewClass {
        self.class
    }

    /// The cursor of where the viewer is.
    #[must_use]
    pub fn cursor(&self) -> String {
        self.gateway
            .cursors()
            .seal(self.room.game(), self.class, self.position)
    }

    /// Whether a frame happened while the viewer was there, so that its way here can be timed.
    #[must_use]
    pub fn saw_live(&self, frame: &Frame) -> bool {
        frame.kind == FrameKind::Event && frame.n > self.live_after
    }

    /// Waits for the next frames, at most [`BATCH_FRAMES_MAX`].
    ///
    /// # Errors
    /// `unavailable` if they must be read and the database does not answer.
    pub async fn next(&mut self) -> Result<Vec<Frame>, Problem> {
        loop {
            let frames = self.ready(BATCH_FRAMES_MAX).await?;
            if !frames.is_empty() {
                return Ok(frames);
            }
            self.changed().await;
        }
    }

    /// The frames that there are already, at most `limit`; a snapshot comes alone.
    ///
    /// # Errors
    /// `unavailable` if they must be read and the database does not answer.
    pub async fn ready(&mut self, limit: usize) -> Result<Vec<Frame>, Problem> {
        self.seen = self.room.version();
        if self.is_reclassified()? {
            return self.read(Read::Snapshot).await;
        }
        match self.room.owed(self.class, self.position, limit)? {
            Owed::Nothing => {
                self.replaying = false;
                Ok(Vec::new())
            }
            Owed::Frames(slots) => {
                let cursors = self.gateway.cursors();
                let game = self.room.game();
                let class = mutants::replayed_for(self.class, self.replaying, game);
                let frames = slots.iter().filter_map(|slot| slot.frame(class, cursors));
                let frames: Vec<Frame> = frames.collect();
                self.position = frames.last().map_or(self.position, |frame| frame.n);
                Ok(frames)
            }
            Owed::Behind if self.replaying => self.read(Read::Page(limit)).await,
            Owed::Behind | Owed::Ahead => self.read(Read::Resync("lagged")).await,
        }
    }

    /// What is not in the ring. In a box of its own: a subscription waits for the next frame most
    /// of the time, and is as large as the largest that it can wait for.
    fn read(&mut self, what: Read) -> BoxFuture<'_, Result<Vec<Frame>, Problem>> {
        Box::pin(async move {
            match what {
                Read::Page(limit) => self.page(limit).await,
                Read::Snapshot => Ok(vec![self.snapshot().await?]),
                Read::Resync(reason) => Ok(vec![self.resync(reason).await?]),
            }
        })
    }

    /// The message of who is there, if it was not told yet.
    pub fn presence(&mut self) -> Option<Utf8Bytes> {
        let (version, text) = self.room.presence_since(self.presence_seen)?;
        self.presence_seen = version;
        Some(text)
    }

    /// Waits for a change after the last look.
    pub async fn changed(&mut self) {
        self.room.changed_from(self.seen).await;
    }

    /// The next frames from the log.
    async fn page(&mut self, limit: usize) -> Result<Vec<Frame>, Problem> {
        let limit = i64::try_from(limit.min(PAGE_EVENTS_MAX)).unwrap_or(i64::MAX);
        // No further than the room is, whose ring goes on from there: who is beyond it would be taken
        // for somebody who has seen what is no more.
        let limit = limit.min(self.room.latest_n(self.class)? - self.position);
        let game = self.room.game();
        let query =
            repo::events_after_n(self.gateway.pool(), game, self.class, self.position, limit);
        let turn = self.gateway.turn().await?;
        let read = timeout(QUERY_MAX, query).await;
        drop(turn);
        let error: Box<dyn std::error::Error> = match read {
            Ok(Ok(events)) => {
                let frames = events
                    .iter()
                    .filter_map(|logged| frame::event(self.gateway.cursors(), logged, self.class));
                let (position, frames) = contiguous(self.position, frames);
                if frames.is_empty() {
                    // The room is ahead of this position, so the log must go on.
                    return Ok(vec![self.resync("lagged").await?]);
                }
                self.position = position;
                return Ok(frames);
            }
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        tracing::warn!(error, %game, "a viewer's missing frames could not be read");
        Err(Problem::new(
            Reason::Unavailable,
            "the game cannot be read right now, try again",
        ))
    }

    async fn resync(&mut self, reason: &str) -> Result<Frame, Problem> {
        let snapshot = self.snapshot().await?;
        self.gateway
            .metrics()
            .gateway_resyncs_total
            .with_label_values(&[reason])
            .inc();
        Ok(snapshot)
    }

    async fn snapshot(&mut self) -> Result<Frame, Problem> {
        let snapshot = self.room.snapshot(&self.gateway, self.class).await?;
        self.position = snapshot.n;
        self.live_after = self.live_after.max(snapshot.n);
        self.replaying = false;
        Ok(snapshot)
    }

    /// Whether the viewer has taken a seat since the last look.
    fn is_reclassified(&mut self) -> Result<bool, Problem> {
        let known = self.room.known()?;
        if known.version == self.game_version {
            return Ok(false);
        }
        if let (Visibility::Public, Some(present)) = (known.game.visibility, &self.present) {
            // A challenge is not counted among the public games before it is accepted.
            present.list();
        }
        let class = known.game.class_of(self.player);
        let changed = class != self.class;
        if changed {
            self.class = class;
            self.live_after = 0;
            // Behind everything, so that a snapshot that fails is tried again as a resync.
            self.position = -1;
            self.replaying = false;
        }
        self.game_version = known.version;
        Ok(changed)
    }
}

/// The game's row as the room knows it, read again if the viewer may have taken the free seat
/// meanwhile through another instance, or if it is another's, and may have been taken.
async fn current(
    gateway: &Gateway,
    room: &Seated,
    player: Option<PlayerId>,
) -> Result<Known, Problem> {
    let known = room.known()?;
    let seated = player.is_some_and(|player| known.game.seat_of(player).is_some());
    let is_open = known.game.status == GameStatus::Open;
    let may_differ = player.is_some() || known.game.reserved_to().is_some();
    if seated || !is_open || !may_differ {
        return Ok(known);
    }
    room.refresh(gateway).await?;
    room.known()
}

async fn begin(
    gateway: &Gateway,
    room: &Seated,
    class: ViewClass,
    wanted: &Wanted,
) -> Result<Begin, Problem> {
    let Some(cursor) = &wanted.cursor else {
        return Ok(match wanted.manner {
            Manner::Present => Begin::Snapshot,
            Manner::Log => Begin::After(0),
        });
    };
    let position = gateway
        .cursors()
        .parse(cursor, wanted.game, class)
        .map_err(|error| Problem::new(Reason::Invalid, error.to_string()))?;
    let n = match position {
        Position::Start => return Ok(Begin::After(0)),
        Position::Reset => {
            // How much the viewer has seen is not known: all that there is, perhaps.
            room.catch_up().await?;
            return Ok(Begin::Reset);
        }
        Position::At(n) => n,
    };
    if n > room.latest_n(class)? {
        // Another gateway was ahead of this one: never show less than the viewer has seen.
        room.catch_up().await?;
    }
    let missing = room.latest_n(class)? - n;
    let far = wanted.manner == Manner::Present && missing > RESUME_FRAMES_MAX;
    // What is still ahead was seen in a database that has been set back since.
    Ok(if missing < 0 || far {
        Begin::Reset
    } else {
        Begin::After(n)
    })
}

/// The frames that follow `position` without a hole, and where they lead.
fn contiguous(position: i64, frames: impl Iterator<Item = Frame>) -> (i64, Vec<Frame>) {
    let mut at = position;
    let frames = frames.take_while(|frame| {
        let follows = frame.n == at + 1;
        at += i64::from(follows);
        follows
    });
    let frames: Vec<Frame> = frames.collect();
    (frames.last().map_or(position, |frame| frame.n), frames)
}

/// Counts a subscription for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(IntGauge);

impl Counted {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
