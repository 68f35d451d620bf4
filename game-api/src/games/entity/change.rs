//! What a command does to a game: pure decisions, made on a copy that may be behind. The commit
//! is conditional on the copy's `seq`, so a decision on an old copy changes nothing.

use serde_json::{Map, Value};
use shared::ids::PlayerId;

use super::{EventData, EventKind, Game, GameResult, GameStatus, Numbers, Visibility};
use crate::mutants;
use crate::rules::{Ending, Refusal, Ruleset, Seat, Stored};

/// Half-moves from which on a game cannot be aborted: both sides have moved.
const ABORT_PLIES_MAX: i32 = 2;

/// What a player asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// A move of the ruleset, of the right form.
    Play(&'a Map<String, Value>),
    /// Gives the game up.
    Resign,
    /// Offers a draw.
    OfferDraw,
    /// Accepts the opponent's offer.
    AcceptDraw,
    /// Declines the opponent's offer.
    DeclineDraw,
    /// Ends the game before both sides have moved.
    Abort,
    /// Asks the server to look whether a flag has fallen.
    Flag,
}

impl<'a> Action<'a> {
    /// Reads an action's form; what is not one of every game's actions is the ruleset's.
    ///
    /// # Errors
    /// [`Refused::Malformed`] with a sentence.
    pub fn parse(ruleset: &dyn Ruleset, action: &'a Map<String, Value>) -> Result<Self, Refused> {
        let Some(kind) = action.get("type").and_then(Value::as_str) else {
            return Err(Refused::Malformed(
                "action.type must be a string".to_owned(),
            ));
        };
        let parsed = match kind {
            "resign" => Self::Resign,
            "offer_draw" => Self::OfferDraw,
            "accept_draw" => Self::AcceptDraw,
            "decline_draw" => Self::DeclineDraw,
            "abort" => Self::Abort,
            "flag" => Self::Flag,
            _ => {
                ruleset.check_form(action)?;
                return Ok(Self::Play(action));
            }
        };
        if action.len() > 1 {
            return Err(Refused::Malformed(format!(
                "action {kind} has no other members"
            )));
        }
        Ok(parsed)
    }

    /// The word for metrics and traces: a closed set, whatever rulesets there are.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Play(_) => "move",
            Self::Resign => "resign",
            Self::OfferDraw => "offer_draw",
            Self::AcceptDraw => "accept_draw",
            Self::DeclineDraw => "decline_draw",
            Self::Abort => "abort",
            Self::Flag => "flag",
        }
    }
}

/// Why a command makes no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not of the right form.
    #[error("{0}")]
    Malformed(String),
    /// The game has ended.
    #[error("the game has ended")]
    GameOver,
    /// The second seat is still free.
    #[error("the game has not started: a seat is still free")]
    NotStarted,
    /// The seat one asked for is taken, or one sits there oneself.
    #[error("there is no free seat for you in this game")]
    SeatTaken,
    /// The free seat is another player's.
    #[error("the free seat is reserved to another player")]
    Reserved,
    /// `at` is older than the player's latest frame.
    #[error("the game has moved on since the frame you acted upon")]
    Stale,
    /// `at` is a number that the player cannot have seen.
    #[error("at is ahead of your latest frame")]
    AheadOfLatest,
    /// The other seat is to move.
    #[error("it is the other side's turn")]
    NotYourTurn,
    /// The rules do not allow it. One sentence for every cause, so that it tells nothing.
    #[error("the rules do not allow this now")]
    Illegal,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(why) => Self::Malformed(why),
            Refusal::NotYourTurn => Self::NotYourTurn,
            Refusal::Illegal => Self::Illegal,
        }
    }
}

/// The next event of a game, and the state it leads to.
#[derive(Clone)]
pub struct Change {
    /// What happens.
    pub kind: EventKind,
    /// The seat that does it.
    pub by: Option<Seat>,
    /// The ruleset's state afterwards.
    pub state: Stored,
    /// What the ruleset draws from afterwards.
    pub scene: Stored,
    /// The move, if it is one.
    pub record: Option<Stored>,
    /// Whose move it is afterwards.
    pub turn: Seat,
    /// Half-moves made afterwards.
    pub moves_made: i32,
    /// The status afterwards.
    pub status: GameStatus,
    /// The visibility afterwards.
    pub visibility: Visibility,
    /// The draw offer that stands afterwards.
    pub draw_offer: Option<Seat>,
    /// The result, if this ends the game.
    pub result: Option<GameResult>,
    /// Which classes get a frame.
    pub audience: [bool; 3],
    /// The latest `n` of each class afterwards.
    pub numbers: Numbers,
    /// Whose clock runs afterwards.
    pub running: Option<Seat>,
    /// Who gets the increment.
    pub increment: Option<Seat>,
    /// The player on the white seat afterwards.
    pub white: Option<PlayerId>,
    /// The player on the black seat afterwards.
    pub black: Option<PlayerId>,
    /// Whether this is only so if the flag has fallen by the database's clock. Any other change
    /// is only so if it has not.
    pub needs_fallen_flag: bool,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change")
            .field("kind", &self.kind)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Change {
    /// What the log keeps beside its columns.
    #[must_use]
    pub fn data(&self, ruleset: &dyn Ruleset) -> EventData {
        EventData {
            ruleset: ruleset.name().to_owned(),
            scene: self.scene.clone(),
            record: self.record.clone(),
            status: self.status,
            draw_offer: self.draw_offer,
            result: self.result.clone(),
            audience: self.audience,
        }
    }

    fn unchanged(game: &Game, kind: EventKind, by: Option<Seat>) -> Self {
        let audience = [true; 3];
        Self {
            kind,
            by,
            state: game.state.clone(),
            scene: game.scene.clone(),
            record: None,
            turn: game.turn,
            moves_made: game.moves_made,
            status: game.status,
            visibility: game.visibility,
            draw_offer: game.draw_offer,
            result: None,
            audience,
            numbers: game.numbers.advance(audience),
            running: game.clock.and_then(|clock| clock.reading.running),
            increment: None,
            white: game.white,
            black: game.black,
            needs_fallen_flag: false,
        }
    }

    fn ended(mut self, status: GameStatus, winner: Option<Seat>, reason: &str) -> Self {
        self.status = status;
        self.result = Some(GameResult {
            winner,
            reason: reason.to_owned(),
        });
        self.running = None;
        self.draw_offer = None;
        self
    }
}

/// Judges a command of the player on `seat`, in the order of the contract (DESIGN §9). Who is
/// challenged is judged as being on the seat that is reserved to them: in an open game nothing but
/// `abort` is allowed to either.
///
/// # Errors
/// The first reason that applies.
pub fn decide(
    game: &Game,
    seat: Seat,
    action: Action<'_>,
    at: Option<i64>,
) -> Result<Change, Refused> {
    if game.status.is_over() {
        return Err(Refused::GameOver);
    }
    if game.status == GameStatus::Open && action != Action::Abort {
        return Err(Refused::NotStarted);
    }
    let latest = game.numbers.of(game.class_on(seat));
    match at {
        Some(at) if at < latest => return Err(Refused::Stale),
        Some(at) if at > latest => return Err(Refused::AheadOfLatest),
        _ => {}
    }
    match action {
        Action::Play(action) => play(game, seat, action),
        Action::Resign => {
            Ok(ended(game, Some(seat)).ended(GameStatus::Finished, Some(seat.other()), "resigned"))
        }
        Action::OfferDraw if game.draw_offer.is_none() => {
            let mut change = Change::unchanged(game, EventKind::DrawOffered, Some(seat));
            change.draw_offer = Some(seat);
            Ok(change)
        }
        Action::AcceptDraw if game.draw_offer == Some(seat.other()) => {
            Ok(ended(game, Some(seat)).ended(GameStatus::Finished, None, "agreed"))
        }
        Action::DeclineDraw if game.draw_offer == Some(seat.other()) => {
            let mut change = Change::unchanged(game, EventKind::DrawDeclined, Some(seat));
            change.draw_offer = None;
            Ok(change)
        }
        Action::Abort if game.moves_made < ABORT_PLIES_MAX => {
            Ok(ended(game, Some(seat)).ended(GameStatus::Aborted, None, "aborted"))
        }
        Action::Flag => flag(game).ok_or(Refused::Illegal),
        Action::OfferDraw | Action::AcceptDraw | Action::DeclineDraw | Action::Abort => {
            Err(Refused::Illegal)
        }
    }
}

/// The fall of the running clock's flag; `None` if no clock runs. The database decides whether it
/// has fallen.
#[must_use]
pub fn flag(game: &Game) -> Option<Change> {
    let loser = game.clock?.reading.running?;
    let mut change = ended(game, None).ended(GameStatus::Finished, Some(loser.other()), "flag");
    change.needs_fallen_flag = true;
    Some(change)
}

/// A player takes the free seat; White's clock starts. A challenge becomes a game like any other.
///
/// # Errors
/// [`Refused::GameOver`], [`Refused::SeatTaken`] if no seat is free or the player has one, or
/// [`Refused::Reserved`].
pub fn join(game: &Game, player: PlayerId) -> Result<Change, Refused> {
    if game.status.is_over() {
        return Err(Refused::GameOver);
    }
    if game.status != GameStatus::Open || game.seat_of(player).is_some() {
        return Err(Refused::SeatTaken);
    }
    if game.reserved_to().is_some_and(|other| other != player) {
        return Err(Refused::Reserved);
    }
    let seat = game.free_seat();
    let mut change = Change::unchanged(game, EventKind::Joined, Some(seat));
    match seat {
        Seat::White => change.white = Some(player),
        Seat::Black => change.black = Some(player),
    }
    change.status = GameStatus::Active;
    change.visibility = game.visibility_wanted();
    change.running = game.clock.map(|_| game.turn);
    Ok(change)
}

fn ended(game: &Game, by: Option<Seat>) -> Change {
    Change::unchanged(game, EventKind::Ended, by)
}

fn play(game: &Game, seat: Seat, action: &Map<String, Value>) -> Result<Change, Refused> {
    let played = game.ruleset.play(&game.state, seat, action);
    let played = played.map_err(|why| mutants::refusal(why, &game.state, action))?;
    let audience = mutants::audience(played.audience);
    let mut change = Change::unchanged(game, EventKind::Moved, Some(seat));
    change.state = played.state;
    change.scene = played.scene;
    change.record = Some(played.record);
    change.turn = played.turn;
    change.moves_made += 1;
    change.audience = audience;
    change.numbers = game.numbers.advance(audience);
    if game.draw_offer == Some(seat.other()) {
        change.draw_offer = None;
    }
    change.increment = game.clock.map(|_| seat);
    change.running = game.clock.map(|_| played.turn);
    if let Some(Ending { winner, reason }) = played.ending {
        return Ok(change.ended(GameStatus::Finished, winner, reason));
    }
    Ok(change)
}
