//! A moment of a game: what every view is drawn from, and one event of the log.

use serde::{Deserialize, Serialize};
use shared::ids::{EventId, GameId};

use super::{GameResult, GameStatus};
use crate::mutants;
use crate::rules::{Members, Ruleset, Seat, Stored, View, ViewClass};

/// Position of an event in a game's log: 1, 2, 3 … without a hole.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Seq(pub i64);

impl Seq {
    /// The next event's number.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How many frames each view class has got so far, in the order of [`ViewClass::ALL`]: the dense
/// per-class numbering `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Numbers(pub [i64; 3]);

impl Numbers {
    /// The latest `n` of a class.
    #[must_use]
    pub const fn of(self, class: ViewClass) -> i64 {
        self.0[class.index()]
    }

    /// One frame more for each class that is concerned.
    #[must_use]
    pub fn advance(self, audience: [bool; 3]) -> Self {
        let mut next = self.0;
        for (number, concerned) in next.iter_mut().zip(audience) {
            *number += i64::from(concerned);
        }
        Self(next)
    }
}

/// A clock as of a moment, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// White's remaining time.
    pub white_ms: i64,
    /// Black's remaining time.
    pub black_ms: i64,
    /// Whose time runs, if the clock runs.
    pub running: Option<Seat>,
}

/// All that a view of a game is drawn from, at one point of its log.
#[derive(Clone)]
pub struct Moment {
    /// The rules that draw the view.
    pub ruleset: &'static dyn Ruleset,
    /// The event that led here.
    pub seq: Seq,
    /// The latest `n` of each class.
    pub numbers: Numbers,
    /// What the ruleset draws from.
    pub scene: Stored,
    /// Open, active, finished or aborted.
    pub status: GameStatus,
    /// Who has offered a draw that still stands.
    pub draw_offer: Option<Seat>,
    /// How it ended, if it has.
    pub result: Option<GameResult>,
    /// The clock as of `at_ms`; none for an untimed game.
    pub clock: Option<ClockReading>,
    /// When the event was recorded, the database's time.
    pub at_ms: i64,
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither scene nor state may reach a log: they hold what players must not see.
        f.debug_struct("Moment")
            .field("ruleset", &self.ruleset.name())
            .field("seq", &self.seq)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Moment {
    /// The `view` object of the protocol for `class`: the only way from a scene to a client.
    #[must_use]
    pub fn view(&self, class: ViewClass) -> View {
        let class = mutants::drawn_for(class);
        let mut view = self.ruleset.draw(&self.scene, class, self.status.is_over());
        let members = &mut view.members;
        if self.status == GameStatus::Open {
            // Nobody is to move until the second seat is taken.
            members.remove("moves");
            members.put("turn", &None::<Seat>);
        }
        members.put("clock", &self.clock);
        members.put("draw_offer", &self.draw_offer);
        members.put("result", &self.result);
        mutants::drawn(members, &self.scene, class);
        view
    }
}

/// What happened, as in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The game was made: always sequence number 1.
    Created,
    /// The second seat was taken.
    Joined,
    /// A move of the ruleset, also one that ended the game.
    Moved,
    /// A draw was offered.
    DrawOffered,
    /// A draw offer was declined.
    DrawDeclined,
    /// Every end that is not a move.
    Ended,
}

impl EventKind {
    /// The word of the protocol and of the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Joined => "joined",
            Self::Moved => "moved",
            Self::DrawOffered => "draw_offered",
            Self::DrawDeclined => "draw_declined",
            Self::Ended => "ended",
        }
    }
}

/// What the log and the stream keep of an event beside its columns. No client ever gets this.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventData {
    /// The ruleset's name.
    pub ruleset: String,
    /// See [`crate::rules::Played::scene`].
    pub scene: Stored,
    /// The move, if it was one: see [`crate::rules::Played::record`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Stored>,
    /// The game's status after the event.
    pub status: GameStatus,
    /// The draw offer that stands after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw_offer: Option<Seat>,
    /// The result, if this event ended the game.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<GameResult>,
    /// Which classes get a frame of this event; all, if absent.
    #[serde(default = "everyone", skip_serializing_if = "is_everyone")]
    pub audience: [bool; 3],
}

const fn everyone() -> [bool; 3] {
    [true; 3]
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_everyone(audience: &[bool; 3]) -> bool {
    *audience == everyone()
}

/// One committed event of a game.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The game.
    pub game: GameId,
    /// The event's id, the same on the stream.
    pub event_id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The seat that did it; none for the server and for a flag.
    pub by: Option<Seat>,
    /// The move, if it was one.
    pub record: Option<Stored>,
    /// Which classes get a frame of it.
    pub audience: [bool; 3],
    /// Where the game stands after it.
    pub moment: Moment,
}

impl Logged {
    /// The `event` object of the protocol for `class`: `{kind, by, ply, at_ms, uci?}`; `ply` is that
    /// of the view.
    #[must_use]
    pub fn event(&self, class: ViewClass, ply: u32) -> Members {
        let moment = &self.moment;
        let mut event = match (&self.record, self.by) {
            (Some(record), Some(by)) => {
                moment
                    .ruleset
                    .event_members(record, by, class, moment.status.is_over())
            }
            _ => Members::default(),
        };
        event.put("kind", &self.kind);
        event.put("by", &self.by);
        event.put("ply", &ply);
        event.put("at_ms", &moment.at_ms);
        mutants::told(&mut event, moment);
        event
    }

    /// The `n` under which `class` gets this event, if it gets it at all.
    #[must_use]
    pub fn n(&self, class: ViewClass) -> Option<i64> {
        self.audience[class.index()].then(|| self.moment.numbers.of(class))
    }
}

/// The JSON of a game event on NATS, `{game_id, seq, …}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// The game.
    pub game_id: GameId,
    /// Its place in the log.
    pub seq: Seq,
    /// The event's id.
    pub event_id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The seat that did it.
    pub by: Option<Seat>,
    /// When it was recorded.
    pub at_ms: i64,
    /// The latest `n` of each class.
    pub n: Numbers,
    /// White's remaining time, milliseconds.
    pub white_ms: Option<i64>,
    /// Black's remaining time, milliseconds.
    pub black_ms: Option<i64>,
    /// Whose clock runs.
    pub running: Option<Seat>,
    /// The rest.
    pub data: EventData,
}

impl Published {
    /// The event, if its ruleset is known to this build.
    #[must_use]
    pub fn into_logged(self) -> Option<Logged> {
        let ruleset = crate::rules::by_name(&self.data.ruleset)?;
        let clock = match (self.white_ms, self.black_ms) {
            (Some(white_ms), Some(black_ms)) => Some(ClockReading {
                white_ms,
                black_ms,
                running: self.running,
            }),
            _ => None,
        };
        Some(Logged {
            game: self.game_id,
            event_id: self.event_id,
            kind: self.kind,
            by: self.by,
            record: self.data.record,
            audience: self.data.audience,
            moment: Moment {
                ruleset,
                seq: self.seq,
                numbers: self.n,
                scene: self.data.scene,
                status: self.data.status,
                draw_offer: self.data.draw_offer,
                result: self.data.result,
                clock,
                at_ms: self.at_ms,
            },
        })
    }
}
