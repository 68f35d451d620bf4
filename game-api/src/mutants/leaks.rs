//! The leaks themselves. They read the stored scene by its FEN and know nothing else of the rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use shared::ids::{GameId, PlayerId};

use super::private_notes::PrivateNotes;
use crate::games::entity::Seq;
use crate::rules::{Refusal, Ruleset, Stored, ViewClass};

/// One way to leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// None: the build with mutants as it should be.
    None,
    /// What captured a piece is shown to its owner.
    Capturer,
    /// The en passant square is shown to the side whose pawn would be taken.
    EnPassant,
    /// Both sides' castling rights are shown.
    Castling,
    /// The half-move clock is shown.
    HalfMoveClock,
    /// A private event takes a number, and a frame, from everyone.
    HiddenEventNumbered,
    /// A move in vain is refused in other words if something stands where it would have led.
    BlockerError,
    /// A hash of the true position is shown, without a key.
    PositionHash,
    /// Who has no seat is drawn White's view.
    PlayersView,
    /// A frame's cursor carries the log's sequence number in clear.
    CursorSeq,
    /// Who replays the past is sent another class's frames.
    History,
    /// `presence` names the player who opened the game last.
    PresenceNames,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::Capturer,
        Self::EnPassant,
        Self::Castling,
        Self::HalfMoveClock,
        Self::HiddenEventNumbered,
        Self::BlockerError,
        Self::PositionHash,
        Self::PlayersView,
        Self::CursorSeq,
        Self::History,
        Self::PresenceNames,
    ];

    /// Its name in `FOGLINE_MUTANT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Capturer => "capturer",
            Self::EnPassant => "en-passant",
            Self::Castling => "castling",
            Self::HalfMoveClock => "half-move-clock",
            Self::HiddenEventNumbered => "hidden-event-numbered",
            Self::BlockerError => "blocker-error",
            Self::PositionHash => "position-hash",
            Self::PlayersView => "players-view",
            Self::CursorSeq => "cursor-seq",
            Self::History => "history",
            Self::PresenceNames => "presence-names",
        }
    }

    /// Whether only a game with private events can show it.
    #[must_use]
    pub const fn needs_private_events(self) -> bool {
        matches!(self, Self::HiddenEventNumbered | Self::CursorSeq)
    }
}

/// Set once, by `game-api-mutants` alone.
static ARMED: OnceLock<Mutant> = OnceLock::new();

/// Lets this process leak, from now on. Has no effect after the first time.
pub fn arm(mutant: Mutant) {
    let _ = ARMED.set(mutant);
}

fn is(mutant: Mutant) -> bool {
    ARMED.get() == Some(&mutant)
}

pub(crate) fn drawn_for(class: ViewClass) -> ViewClass {
    if is(Mutant::PlayersView) && class == ViewClass::Public {
        return ViewClass::White;
    }
    class
}

pub(crate) fn drawn(view: &mut Map<String, Value>, scene: &Stored, class: ViewClass) {
    let (Some(armed), Some(fen)) = (ARMED.get(), fen(scene)) else {
        return;
    };
    let has_seat = class.seat().is_some();
    match armed {
        Mutant::Capturer => show_capturer(view, &fen[0]),
        Mutant::EnPassant if has_seat && fen[3] != "-" => {
            view.insert("ep".to_owned(), json!(fen[3]));
        }
        Mutant::Castling if has_seat => {
            view.insert("castling".to_owned(), json!(fen[2]));
        }
        Mutant::HalfMoveClock if has_seat => {
            view.insert("quiet".to_owned(), json!(fen[4]));
        }
        Mutant::PositionHash => {
            let mut hex = String::new();
            for byte in Sha256::digest(fen.join(" ")) {
                let _ = write!(hex, "{byte:02x}");
            }
            view.insert("hash".to_owned(), json!(hex));
        }
        _ => {}
    }
}

pub(crate) fn refusal(refusal: Refusal, state: &Stored, action: &Map<String, Value>) -> Refusal {
    if !is(Mutant::BlockerError) || refusal != Refusal::Illegal {
        return refusal;
    }
    let to = action.get("uci").and_then(Value::as_str);
    let blocker = fen(state).zip(to).and_then(|(fen, uci)| {
        let at = index(uci.get(2..4)?)?;
        placement(&fen[0]).chars().nth(at)
    });
    match blocker {
        Some(piece) if piece != '.' => Refusal::Malformed("something stands there".to_owned()),
        _ => refusal,
    }
}

pub(crate) fn audience(audience: [bool; 3]) -> [bool; 3] {
    if is(Mutant::HiddenEventNumbered) {
        return [true; 3];
    }
    audience
}

pub(crate) fn cursor(cursor: String, seq: Seq) -> String {
    if is(Mutant::CursorSeq) {
        return format!("{cursor}.{:04x}", seq.0);
    }
    cursor
}

pub(crate) fn bare_cursor(cursor: &str) -> &str {
    match cursor.split_once('.') {
        Some((bare, _)) if is(Mutant::CursorSeq) => bare,
        _ => cursor,
    }
}

pub(crate) fn replayed_for(class: ViewClass, replaying: bool) -> ViewClass {
    if !replaying || !is(Mutant::History) {
        return class;
    }
    match class {
        ViewClass::White => ViewClass::Black,
        ViewClass::Black | ViewClass::Public => ViewClass::White,
    }
}

pub(crate) fn entered(game: GameId, player: Option<PlayerId>) {
    if let (true, Some(player)) = (is(Mutant::PresenceNames), player) {
        entrants().insert(game, player);
    }
}

pub(crate) fn presence(mut text: String, game: GameId) -> String {
    if let Some(player) = entrants().get(&game) {
        text.pop();
        let _ = write!(text, ",\"who\":\"{player}\"}}");
    }
    text
}

/// Who opened each game last; empty unless that leak is armed.
fn entrants() -> MutexGuard<'static, BTreeMap<GameId, PlayerId>> {
    static ENTRANTS: Mutex<BTreeMap<GameId, PlayerId>> = Mutex::new(BTreeMap::new());
    ENTRANTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ruleset with private events is there as soon as anything is armed, be it no leak at all.
pub(crate) fn ruleset(name: &str) -> Option<&'static dyn Ruleset> {
    let ruleset: &'static dyn Ruleset = &PrivateNotes;
    (ARMED.get().is_some() && name == ruleset.name()).then_some(ruleset)
}

/// The six fields of the FEN of a state or a scene of fog chess.
fn fen(stored: &Stored) -> Option<[String; 6]> {
    let stored: Value = stored.decode().ok()?;
    let fields = stored.get("fen")?.as_str()?.split(' ');
    fields
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .ok()
}

/// The 64 squares of a FEN's first field, a8 to h1.
fn placement(field: &str) -> String {
    let squares = field.chars().filter(|letter| *letter != '/').map(|letter| {
        let empty = letter.to_digit(10);
        empty.map_or(letter.to_string(), |count| ".".repeat(count as usize))
    });
    squares.collect()
}

/// Where a square such as `e4` stands on the board of a view.
fn index(square: &str) -> Option<usize> {
    let &[file, rank] = square.as_bytes() else {
        return None;
    };
    let file = usize::from(file.checked_sub(b'a')?);
    let rank = usize::from(b'8'.checked_sub(rank)?);
    (file < 8 && rank < 8).then_some(rank * 8 + file)
}

fn show_capturer(view: &mut Map<String, Value>, field: &str) {
    let lost = view.get("lost").and_then(Value::as_str).and_then(index);
    let board = view.get("board").and_then(Value::as_str);
    let (Some(lost), Some(board)) = (lost, board) else {
        return;
    };
    let capturer = placement(field).chars().nth(lost).unwrap_or('?');
    let shown = board
        .chars()
        .enumerate()
        .map(|(at, letter)| if at == lost { capturer } else { letter });
    let shown: String = shown.collect();
    view.insert("board".to_owned(), json!(shown));
}
