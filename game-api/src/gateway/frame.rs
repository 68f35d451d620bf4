//! Frames: the objects in which a viewer is told of a game, the same over every transport.
//!
//! An `event` frame is made once per view class and its bytes are shared by all who get it. The
//! public's `snapshot` is drawn once per state; only the time of sending is put in for each.

use std::io::Write as _;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use shared::ids::GameId;

use super::cursor::Cursors;
use crate::games::entity::{Logged, Moment};
use crate::mutants;
use crate::rules::{ViewClass, write_json};

/// Bytes of the usual frame.
const FRAME_BYTES_USUAL: usize = 1024;
/// Digits of a time, and what ends the object.
const NOW_BYTES_MAX: usize = 21;

/// Which kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// One change of what the viewer sees.
    Event,
    /// The whole of it, in place of the events that led to it.
    Snapshot,
}

impl FrameKind {
    /// The frame's `type`, and the event name of SSE.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Snapshot => "snapshot",
        }
    }
}

/// One frame, ready to be sent to any viewer of its class.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// Its number in its class.
    pub n: i64,
    /// The cursor of who has seen it.
    pub cursor: Arc<str>,
    /// The JSON text.
    pub text: Utf8Bytes,
    /// When its event was recorded, the database's time.
    pub at_ms: i64,
}

/// A snapshot but for the time of its sending.
#[derive(Clone, Debug)]
pub struct Drawn {
    n: i64,
    cursor: Arc<str>,
    at_ms: i64,
    /// The text up to the value of `now_ms`, the last member.
    head: Box<[u8]>,
}

impl Drawn {
    /// The frame, sent at `now_ms` of the database's clock.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Frame {
        let mut text = Vec::with_capacity(self.head.len() + NOW_BYTES_MAX);
        text.extend_from_slice(&self.head);
        write_json(&mut text, &now_ms);
        text.push(b'}');
        Frame {
            kind: FrameKind::Snapshot,
            n: self.n,
            cursor: Arc::clone(&self.cursor),
            text: whole(text),
            at_ms: self.at_ms,
        }
    }
}

/// The topic of a game.
#[must_use]
pub fn topic(game: GameId) -> String {
    format!("game:{game}")
}

/// The `event` frame of an event for `class`; none if the event does not concern that class.
#[must_use]
pub fn event(cursors: &Cursors, logged: &Logged, class: ViewClass) -> Option<Frame> {
    let n = logged.n(class)?;
    let cursor = mutants::cursor(cursors.seal(logged.game, class, n), logged.moment.seq);
    let view = logged.moment.view(class);
    let mut text = head(FrameKind::Event, logged.game, n, &cursor);
    text.extend_from_slice(b",\"event\":");
    logged.event(class, view.ply).write_to(&mut text);
    text.extend_from_slice(b",\"view\":");
    view.members.write_to(&mut text);
    text.push(b'}');
    Some(Frame {
        kind: FrameKind::Event,
        n,
        cursor: cursor.into(),
        text: whole(text),
        at_ms: logged.moment.at_ms,
    })
}

/// The `snapshot` of a game for `class`, `described` being the protocol's `game` object for it.
#[must_use]
pub fn snapshot(
    cursors: &Cursors,
    game: GameId,
    moment: &Moment,
    described: &Value,
    class: ViewClass,
) -> Drawn {
    let n = moment.numbers.of(class);
    let cursor = mutants::cursor(cursors.seal(game, class, n), moment.seq);
    let mut text = head(FrameKind::Snapshot, game, n, &cursor);
    text.extend_from_slice(b",\"game\":");
    write_json(&mut text, described);
    text.extend_from_slice(b",\"view\":");
    moment.view(class).members.write_to(&mut text);
    text.extend_from_slice(b",\"at_ms\":");
    write_json(&mut text, &moment.at_ms);
    text.extend_from_slice(b",\"now_ms\":");
    Drawn {
        n,
        cursor: cursor.into(),
        at_ms: moment.at_ms,
        head: text.into(),
    }
}

/// What a frame begins with, its end left open.
fn head(kind: FrameKind, game: GameId, n: i64, cursor: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(FRAME_BYTES_USUAL);
    // None of these has anything to escape: a cursor is base64url.
    let written = write!(
        text,
        r#"{{"type":"{}","topic":"game:{game}","n":{n},"cursor":"{cursor}""#,
        kind.as_str()
    );
    debug_assert!(written.is_ok(), "a buffer takes what it is given");
    text
}

fn whole(text: Vec<u8>) -> Utf8Bytes {
    Utf8Bytes::try_from(Bytes::from(text))
        .unwrap_or_else(|_| unreachable!("a frame is put together of texts"))
}

/// The digest of a view: hexadecimal SHA-256 of its RFC 8785 form.
#[must_use]
pub fn digest(view: &Map<String, Value>) -> String {
    let canonical = serde_jcs::to_vec(view).unwrap_or_else(|error| {
        unreachable!("a view has text keys and finite numbers: {error}");
    });
    let hash = Sha256::digest(&canonical);
    hash.iter().fold(String::with_capacity(64), |mut hex, b| {
        let _ = std::fmt::Write::write_fmt(&mut hex, format_args!("{b:02x}"));
        hex
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::ids::EventId;
    use uuid::Uuid;

    use super::*;
    use crate::games::entity::{EventKind, GameStatus, Numbers, Seq};
    use crate::keys::Keys;
    use crate::rules::{Seat, by_name};

    fn cursors() -> Cursors {
        Cursors::new(Arc::new(Keys::new([7; 32], &[])))
    }

    /// White has moved in a game that lives.
    fn moved() -> Logged {
        let ruleset = by_name("fog-chess").unwrap();
        let action = json!({"type": "move", "uci": "e2e4"});
        let played = ruleset
            .play(
                &ruleset.opening().state,
                Seat::White,
                action.as_object().unwrap(),
            )
            .unwrap();
        Logged {
            game: GameId(Uuid::from_u128(5)),
            event_id: EventId(Uuid::from_u128(6)),
            kind: EventKind::Moved,
            by: Some(Seat::White),
            record: Some(played.record),
            audience: played.audience,
            moment: Moment {
                ruleset,
                seq: Seq(3),
                numbers: Numbers([3, 2, 3]),
                scene: played.scene,
                status: GameStatus::Active,
                draw_offer: None,
                result: None,
                clock: None,
                at_ms: 1_700_000_000_000,
            },
        }
    }

    fn parsed(frame: &Frame) -> Value {
        serde_json::from_str(&frame.text).unwrap()
    }

    fn members(value: &Value) -> Vec<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn an_event_frame_has_the_members_of_the_protocol_and_its_classs_number() {
        let frame = event(&cursors(), &moved(), ViewClass::Black).unwrap();
        let value = parsed(&frame);
        assert_eq!(
            members(&value),
            ["cursor", "event", "n", "topic", "type", "view"]
        );
        assert_eq!(value["type"], "event");
        assert_eq!(value["topic"], "game:00000000-0000-0000-0000-000000000005");
        assert_eq!((frame.n, &value["n"]), (2, &json!(2)));
        assert_eq!(value["cursor"], &*frame.cursor);
    }

    #[test]
    fn only_the_mover_is_told_the_move() {
        let uci = |class| {
            parsed(&event(&cursors(), &moved(), class).unwrap())["event"]
                .get("uci")
                .cloned()
        };
        assert_eq!(uci(ViewClass::White), Some(json!("e2e4")));
        assert_eq!(uci(ViewClass::Black), None);
        assert_eq!(uci(ViewClass::Public), None);
    }

    #[test]
    fn the_public_sees_fog_alone() {
        let frame = event(&cursors(), &moved(), ViewClass::Public).unwrap();
        assert_eq!(parsed(&frame)["view"]["board"], "?".repeat(64));
    }

    #[test]
    fn a_class_that_is_not_concerned_gets_no_frame() {
        let mut hidden = moved();
        hidden.audience = [true, false, false];
        assert!(event(&cursors(), &hidden, ViewClass::Black).is_none());
    }

    #[test]
    fn a_snapshot_says_when_it_was_sent_and_when_its_clock_was_read() {
        let logged = moved();
        let described = json!({"id": "x"});
        let drawn = snapshot(
            &cursors(),
            logged.game,
            &logged.moment,
            &described,
            ViewClass::White,
        );
        let value = parsed(&drawn.at(1_700_000_000_250));
        assert_eq!(
            members(&value),
            [
                "at_ms", "cursor", "game", "n", "now_ms", "topic", "type", "view"
            ]
        );
        assert_eq!(value["now_ms"], 1_700_000_000_250_i64);
        assert_eq!(value["at_ms"], 1_700_000_000_000_i64);
        assert_eq!((&value["n"], &value["game"]), (&json!(3), &described));
    }

    #[test]
    fn a_snapshot_and_an_event_of_the_same_state_carry_one_cursor() {
        let logged = moved();
        let drawn = snapshot(
            &cursors(),
            logged.game,
            &logged.moment,
            &json!({}),
            ViewClass::White,
        );
        let frame = event(&cursors(), &logged, ViewClass::White).unwrap();
        assert_eq!(drawn.at(1).cursor, frame.cursor);
    }

    #[test]
    fn the_digest_is_that_of_the_canonical_form() {
        let view = json!({"b": 1, "a": [1.0, "é"]});
        // printf '{"a":[1,"é"],"b":1}' | sha256sum
        let expected = "8717ac25ea6b88548fae92fcf938c6f0764f85913ba025812e1859bf0166f5d8";
        assert_eq!(digest(view.as_object().unwrap()), expected);
    }
}
