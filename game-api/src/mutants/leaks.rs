//! The leaks themselves. They read the stored scene by its FEN and know nothing else of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use shared::ids::{GameId, PlayerId};

use super::private_notes::PrivateNotes;
use crate::games::entity::{Game, GameStatus, Moment, Seq, Visibility};
use crate::problem::{Problem, Reason};
use crate::rules::{Members, Refusal, Ruleset, Stored, ViewClass};

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
    /// The lobby has private games too.
    LobbyPrivate,
    /// The list of games shows both sides' last moves.
    ListedLastMoves,
    /// Own games show both sides' last moves.
    OwnLastMoves,
    /// Own games have also a game that one watches.
    OwnWatched,
    /// The end by a fallen flag is told with both sides' last moves.
    FlagLastMoves,
    /// What comes after a fallen flag is refused with the half-move clock.
    LateError,
    /// Once a game has ended, who replays the past is sent another class's frames.
    HistoryAfterwards,
    /// The record draws what was seen without the fog.
    RecordViews,
    /// An open challenge is there for everyone.
    ChallengeSeen,
    /// An open challenge is among the challenges of everyone who reads theirs.
    ChallengeTold,
    /// Who joins an open challenge of others is refused in other words than where there is none.
    ChallengeRefused,
    /// In a game with a clock the digest is of the true position.
    ClockedDigest,
    /// The id of a command's trace ends with the half-move clock.
    TraceId,
    /// Where a list goes on is told with the half-move clock of its last game.
    ListCursor,
    /// A long poll that waits is answered when anything happens.
    PollWakes,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 27] = [
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
        Self::LobbyPrivate,
        Self::ListedLastMoves,
        Self::OwnLastMoves,
        Self::OwnWatched,
        Self::FlagLastMoves,
        Self::LateError,
        Self::HistoryAfterwards,
        Self::RecordViews,
        Self::ChallengeSeen,
        Self::ChallengeTold,
        Self::ChallengeRefused,
        Self::ClockedDigest,
        Self::TraceId,
        Self::ListCursor,
        Self::PollWakes,
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
            Self::LobbyPrivate => "lobby-private",
            Self::ListedLastMoves => "listed-last-moves",
            Self::OwnLastMoves => "own-last-moves",
            Self::OwnWatched => "own-watched",
            Self::FlagLastMoves => "flag-last-moves",
            Self::LateError => "late-error",
            Self::HistoryAfterwards => "history-afterwards",
            Self::RecordViews => "record-views",
            Self::ChallengeSeen => "challenge-seen",
            Self::ChallengeTold => "challenge-told",
            Self::ChallengeRefused => "challenge-refused",
            Self::ClockedDigest => "clocked-digest",
            Self::TraceId => "trace-id",
            Self::ListCursor => "list-cursor",
            Self::PollWakes => "poll-wakes",
        }
    }

    /// Whether only a game with private events can show it.
    #[must_use]
    pub const fn needs_private_events(self) -> bool {
        matches!(
            self,
            Self::HiddenEventNumbered | Self::CursorSeq | Self::PollWakes
        )
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

pub(crate) fn drawn(members: &mut Members, scene: &Stored, class: ViewClass) {
    let (Some(armed), Some(fen)) = (ARMED.get(), fen(scene)) else {
        return;
    };
    let mut view = members.to_map();
    leak(*armed, &mut view, &fen, class);
    *members = view.into();
}

fn leak(armed: Mutant, view: &mut Map<String, Value>, fen: &[String; 6], class: ViewClass) {
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
            view.insert("hash".to_owned(), json!(position_hash(fen)));
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

fn position_hash(fen: &[String; 6]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(fen.join(" ")) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

pub(crate) fn digest(digest: String, game: &Game) -> String {
    if !is(Mutant::ClockedDigest) || game.clock.is_none() {
        return digest;
    }
    fen(&game.scene).map_or(digest, |fen| position_hash(&fen))
}

pub(crate) fn trace_id(trace_id: String, scene: &Stored) -> String {
    match (
        is(Mutant::TraceId),
        fen(scene),
        trace_id.len().checked_sub(2),
    ) {
        (true, Some(fen), Some(kept)) => format!("{}{:0>2}", &trace_id[..kept], fen[4]),
        _ => trace_id,
    }
}

pub(crate) fn list_cursor(created_at_us: i64, game: &Game) -> i64 {
    match (is(Mutant::ListCursor), fen(&game.scene)) {
        (true, Some(fen)) => created_at_us + fen[4].parse::<i64>().unwrap_or_default(),
        _ => created_at_us,
    }
}

pub(crate) fn answers_whatever_happens() -> bool {
    is(Mutant::PollWakes)
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

pub(crate) fn replayed_for(class: ViewClass, replaying: bool, game: GameId) -> ViewClass {
    let is_armed =
        is(Mutant::History) || is(Mutant::HistoryAfterwards) && lock(&ENDED).contains(&game);
    if !replaying || !is_armed {
        return class;
    }
    match class {
        ViewClass::White => ViewClass::Black,
        ViewClass::Black | ViewClass::Public => ViewClass::White,
    }
}

pub(crate) fn entered(game: &Game, player: Option<PlayerId>) {
    let Some(player) = player else {
        return;
    };
    let watches = is(Mutant::OwnWatched) && game.seat_of(player).is_none();
    if is(Mutant::PresenceNames) || watches {
        lock(&ENTRANTS).insert(game.id, player);
    }
}

pub(crate) fn presence(mut text: String, game: GameId) -> String {
    if let (true, Some(player)) = (is(Mutant::PresenceNames), lock(&ENTRANTS).get(&game)) {
        text.pop();
        let _ = write!(text, ",\"who\":\"{player}\"}}");
    }
    text
}

pub(crate) fn challenge_seen(is_theirs: bool) -> bool {
    is_theirs || is(Mutant::ChallengeSeen)
}

pub(crate) fn unseen(problem: Problem, game: &Game) -> Problem {
    if is(Mutant::ChallengeRefused) && game.reserved_to().is_some() {
        return Problem::new(Reason::Forbidden, "the seat is reserved to another player");
    }
    problem
}

pub(crate) fn challenged(players: &[PlayerId]) -> Vec<(PlayerId, GameId)> {
    let open = lock(&CHALLENGES);
    let everyone = players.iter();
    everyone
        .flat_map(|player| open.iter().map(|game| (*player, *game)))
        .collect()
}

pub(crate) fn described(game: &Game) {
    if is(Mutant::ChallengeTold) && game.reserved_to().is_some() {
        lock(&CHALLENGES).insert(game.id);
    }
    if is(Mutant::LobbyPrivate) && game.visibility == Visibility::Private {
        lock(&PRIVATE).insert(game.id, game.clone());
    }
}

pub(crate) fn lobby(status: GameStatus, mut games: Vec<Game>) -> Vec<Game> {
    let private = lock(&PRIVATE);
    games.extend(
        private
            .values()
            .filter(|game| game.status == status)
            .cloned(),
    );
    games
}

pub(crate) fn listed(games: &[Game], described: &mut [Value]) {
    if is(Mutant::ListedLastMoves) {
        for (game, described) in games.iter().zip(described) {
            described["last"] = last_moves(&game.scene);
        }
    }
}

pub(crate) fn own_game(game: &Game, described: &mut Value) {
    if is(Mutant::OwnLastMoves) {
        described["last"] = last_moves(&game.scene);
    }
}

pub(crate) fn watched_by(players: &[PlayerId]) -> Vec<(PlayerId, GameId)> {
    if !is(Mutant::OwnWatched) {
        return Vec::new();
    }
    let entrants = lock(&ENTRANTS);
    let watched = entrants.iter().map(|(game, player)| (*player, *game));
    watched
        .filter(|(player, _)| players.contains(player))
        .collect()
}

pub(crate) fn told(event: &mut Members, moment: &Moment) {
    let reason = moment.result.as_ref().map(|result| result.reason.as_str());
    if is(Mutant::FlagLastMoves) && reason == Some("flag") {
        event.put("last", &last_moves(&moment.scene));
    }
}

pub(crate) fn refused(mut problem: Problem, game: &Game) -> Problem {
    let reason = game.result.as_ref().map(|result| result.reason.as_str());
    if let (true, Some("flag"), Some(fen)) = (is(Mutant::LateError), reason, fen(&game.scene)) {
        let _ = write!(problem.detail, " after {} quiet moves", fen[4]);
    }
    problem
}

pub(crate) fn committed(game: &Game) {
    if is(Mutant::HistoryAfterwards) && game.status.is_over() {
        lock(&ENDED).insert(game.id);
    }
}

pub(crate) fn recorded(
    view: Map<String, Value>,
    moment: &Moment,
    class: ViewClass,
) -> Map<String, Value> {
    if is(Mutant::RecordViews) {
        return moment.ruleset.view(&moment.scene, class, true);
    }
    view
}

/// Who opened each game last; empty unless a leak of it is armed, as the others are.
static ENTRANTS: Mutex<BTreeMap<GameId, PlayerId>> = Mutex::new(BTreeMap::new());
/// Private games as they were shown last.
static PRIVATE: Mutex<BTreeMap<GameId, Game>> = Mutex::new(BTreeMap::new());
/// Challenges as they were shown last.
static CHALLENGES: Mutex<BTreeSet<GameId>> = Mutex::new(BTreeSet::new());
/// Games that have ended here.
static ENDED: Mutex<BTreeSet<GameId>> = Mutex::new(BTreeSet::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both sides' last moves, as a scene of fog chess has them.
fn last_moves(scene: &Stored) -> Value {
    let scene: Value = scene.decode().unwrap_or_default();
    scene.get("last").cloned().unwrap_or_default()
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
