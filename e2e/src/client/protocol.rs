//! The protocol's objects, as a client reads them.
//!
//! What depends on the fog (`view`, `event`) is read strictly: an unknown member there is a leak
//! until someone has looked at it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Moves first.
    White,
    /// Moves second.
    Black,
}

impl Side {
    /// The other seat.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::White => Self::Black,
            Self::Black => Self::White,
        }
    }
}

/// The three classes of viewers, each with its own numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViewClass {
    /// Whoever has that seat.
    Seat(Side),
    /// Everyone without a seat.
    Public,
}

/// Both clocks, as of the frame's `at_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// White's remaining time in milliseconds.
    pub white_ms: i64,
    /// Black's remaining time in milliseconds.
    pub black_ms: i64,
    /// Whose clock runs.
    pub running: Option<Side>,
}

/// How a game ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GameResult {
    /// Who won; none for a draw and for an aborted game.
    pub winner: Option<Side>,
    /// Why: `king_captured`, `resigned`, …
    pub reason: String,
}

/// What a viewer may see of a `fog-chess` game.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// 64 characters, a8 to h1: piece letters, `.` seen and empty, `?` fog.
    pub board: String,
    /// Who is to move; none once the game is over or before it starts.
    pub turn: Option<Side>,
    /// Half-moves made.
    pub ply: usize,
    /// Both clocks; none in a game without.
    pub clock: Option<Clock>,
    /// UCI strings, for the seat to move alone.
    #[serde(default)]
    pub moves: Option<Vec<String>>,
    /// The viewer's own castling rights.
    #[serde(default)]
    pub castling: Option<String>,
    /// The en passant square that the seat to move can use.
    #[serde(default)]
    pub ep: Option<String>,
    /// The viewer's own last move.
    #[serde(default)]
    pub last: Option<String>,
    /// Where the last ply captured a piece of the viewer.
    #[serde(default)]
    pub lost: Option<String>,
    /// Who offers a draw.
    pub draw_offer: Option<Side>,
    /// The result, once there is one.
    pub result: Option<GameResult>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// `created`, `joined`, `moved`, …
    pub kind: String,
    /// Which seat did it.
    pub by: Option<Side>,
    /// Half-moves made, with this one.
    pub ply: usize,
    /// The database's time, milliseconds since 1970.
    pub at_ms: i64,
    /// The move, for the mover alone while the game lives.
    #[serde(default)]
    pub uci: Option<String>,
}

/// A player as others see them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Seated {
    /// Their id.
    pub id: Uuid,
    /// Their name.
    pub name: String,
}

/// A game, as lists and snapshots describe it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Game {
    /// Its id.
    pub id: Uuid,
    /// `fog-chess`, `turn-log`.
    pub ruleset: String,
    /// `open`, `active`, `finished`, `aborted`.
    pub status: String,
    /// What one shares; for the seats alone.
    #[serde(default)]
    pub code: Option<String>,
    /// Who has the white seat.
    pub white: Option<Seated>,
    /// Who has the black seat.
    pub black: Option<Seated>,
    /// To whom the free seat is reserved; for the two players alone.
    #[serde(default)]
    pub challenged: Option<Seated>,
    /// The result, once there is one.
    pub result: Option<GameResult>,
}

/// What changes a viewer's view, and the view after it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Frame {
    /// One event.
    Event {
        /// `game:<id>`.
        topic: String,
        /// Its number in the viewer's class: 1, 2, 3 …
        n: u64,
        /// Where to resume after it.
        cursor: String,
        /// What happened.
        event: Event,
        /// The view after it.
        view: View,
    },
    /// Where the game stands.
    Snapshot {
        /// `game:<id>`.
        topic: String,
        /// The number of the last event in it.
        n: u64,
        /// Where to resume after it.
        cursor: String,
        /// The game.
        game: Game,
        /// The view.
        view: View,
    },
}

impl Frame {
    /// Its number.
    #[must_use]
    pub const fn n(&self) -> u64 {
        match self {
            Self::Event { n, .. } | Self::Snapshot { n, .. } => *n,
        }
    }

    /// Where to resume after it.
    #[must_use]
    pub fn cursor(&self) -> &str {
        match self {
            Self::Event { cursor, .. } | Self::Snapshot { cursor, .. } => cursor,
        }
    }

    /// The view after it.
    #[must_use]
    pub const fn view(&self) -> &View {
        match self {
            Self::Event { view, .. } | Self::Snapshot { view, .. } => view,
        }
    }

    /// What happened, for an event.
    #[must_use]
    pub const fn event(&self) -> Option<&Event> {
        match self {
            Self::Event { event, .. } => Some(event),
            Self::Snapshot { .. } => None,
        }
    }
}

/// What a gateway says over a WebSocket, frames aside.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Control {
    /// The first message.
    Welcome {},
    /// A subscription stands.
    Subscribed {
        /// The client's reference.
        r#ref: String,
        /// What was subscribed to.
        topic: String,
        /// Whether it goes on where the cursor says; else a snapshot comes.
        resumed: bool,
    },
    /// A subscription is over.
    Unsubscribed {
        /// The client's reference.
        r#ref: String,
    },
    /// Who watches.
    Presence {},
    /// A command was carried out.
    Ack {
        /// The client's reference.
        r#ref: String,
        /// The number of the frame that it made, in the sender's class.
        n: u64,
        /// Whether it had been carried out before.
        duplicate: bool,
        /// The trace that it belongs to.
        trace_id: Option<String>,
    },
    /// A message was refused.
    Error {
        /// The client's reference, where there was one.
        r#ref: Option<String>,
        /// One of the protocol's reasons.
        reason: String,
        /// For people.
        detail: Option<String>,
    },
    /// The answer to a ping.
    Pong {
        /// The client's reference.
        r#ref: String,
    },
    /// The gateway is about to go: connect to another.
    Reconnect {
        /// After so many milliseconds.
        after_ms: u64,
    },
}

/// The action of moving a piece.
#[must_use]
pub fn move_action(uci: &str) -> serde_json::Value {
    serde_json::json!({ "type": "move", "uci": uci })
}

#[cfg(test)]
mod tests {
    use super::{Control, Frame};

    const EVENT: &str = r#"{"type":"event","topic":"game:x","n":3,"cursor":"c",
        "event":{"kind":"moved","by":"white","ply":1,"at_ms":5,"uci":"e2e4"},
        "view":{"board":"?","turn":"black","ply":1,"clock":null,"draw_offer":null,"result":null}}"#;

    #[test]
    fn reads_an_event() {
        let frame: Frame = serde_json::from_str(EVENT).expect("an event");
        assert_eq!((frame.n(), frame.cursor(), frame.view().ply), (3, "c", 1));
        assert_eq!(
            frame.event().and_then(|event| event.uci.as_deref()),
            Some("e2e4")
        );
    }

    #[test]
    fn an_unknown_member_of_a_view_or_an_event_is_refused() {
        for (member, in_it) in [
            (r#""ply":1,"clock""#, r#""ply":1,"material":3,"clock""#),
            (r#""by":"white""#, r#""by":"white","piece":"P""#),
        ] {
            let leaky = EVENT.replace(member, in_it);
            assert_ne!(leaky, EVENT);
            serde_json::from_str::<Frame>(&leaky).expect_err("a leak");
        }
    }

    #[test]
    fn reads_controls_whatever_else_they_say() {
        let text = r#"{"type":"welcome","now_ms":1,"more":{}}"#;
        assert!(matches!(
            serde_json::from_str(text),
            Ok(Control::Welcome {})
        ));
        let text = r#"{"type":"error","ref":null,"reason":"invalid","detail":"no"}"#;
        assert!(matches!(
            serde_json::from_str(text),
            Ok(Control::Error { .. })
        ));
    }
}
