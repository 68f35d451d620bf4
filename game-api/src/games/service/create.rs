//! Making a game.

use std::sync::Arc;

use rand::RngExt;
use serde::Deserialize;
use shared::ids::{GameId, PlayerId};
use shared::telemetry::TraceContext;

use super::Games;
use crate::database::bounded;
use crate::games::entity::{ClockSettings, EventData, Game, GameStatus, Visibility};
use crate::games::repo::{self, Challenged, NewGame};
use crate::problem::{Problem, Reason};
use crate::rules::{self, Seat};

/// The longest initial time: a day. Longer games are correspondence games, played without a clock.
const INITIAL_MS_MAX: i64 = 24 * 3600 * 1000;
/// The longest increment: ten minutes.
const INCREMENT_MS_MAX: i64 = 600 * 1000;
/// A code is this many characters of [`CODE_ALPHABET`]: 10^12 codes, so that none is guessed.
const CODE_CHARS: usize = 8;
/// Without letters and digits that look alike.
const CODE_ALPHABET: &[u8] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
/// How often a code that is taken is drawn again.
const CODE_DRAWS_MAX: u32 = 5;

/// The body of `POST /v1/games`. Every member has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreateGame {
    /// `fog-chess` or `turn-log`.
    pub ruleset: String,
    /// The time control; null plays without clocks.
    pub clock: Option<ClockSettings>,
    /// The seat that the creator takes.
    pub seat: WantedSeat,
    /// Whether the lobby lists it.
    pub visibility: Visibility,
    /// Whether it counts for ratings.
    pub rated: bool,
    /// Whom it challenges: the other seat is reserved to them.
    pub opponent: Option<PlayerId>,
}

/// A seat, or whichever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedSeat {
    /// The seat that moves first.
    White,
    /// The other seat.
    Black,
    /// One of them, drawn.
    Random,
}

impl Default for CreateGame {
    fn default() -> Self {
        Self {
            ruleset: "fog-chess".to_owned(),
            clock: None,
            seat: WantedSeat::Random,
            visibility: Visibility::Public,
            rated: false,
            opponent: None,
        }
    }
}

impl Games {
    /// Makes a game with its creator on one seat; with an opponent it is a challenge.
    ///
    /// # Errors
    /// `invalid`, `not_found` for an opponent who is nobody, `conflict` for more open challenges than
    /// a player may have made, `persistence_failure`.
    pub async fn create(
        &self,
        creator: PlayerId,
        wanted: &CreateGame,
        trace: &TraceContext,
    ) -> Result<Arc<Game>, Problem> {
        let ruleset = rules::by_name(&wanted.ruleset).ok_or_else(|| {
            Problem::new(Reason::Invalid, "ruleset: there is no ruleset of that name")
        })?;
        check_clock(wanted.clock)?;
        if wanted.opponent == Some(creator) {
            let detail = "opponent: nobody plays against themselves";
            return Err(Problem::new(Reason::Invalid, detail));
        }
        let seat = match wanted.seat {
            WantedSeat::White => Seat::White,
            WantedSeat::Random if rand::rng().random_bool(0.5) => Seat::White,
            WantedSeat::Black | WantedSeat::Random => Seat::Black,
        };
        let opening = ruleset.opening();
        let data = EventData {
            ruleset: ruleset.name().to_owned(),
            scene: opening.scene.clone(),
            record: None,
            status: GameStatus::Open,
            draw_offer: None,
            result: None,
            audience: [true; 3],
        };
        let carrier = trace.carrier();
        let id = GameId::generate();
        let write = async {
            for _ in 0..CODE_DRAWS_MAX {
                let code = draw_code();
                let new = NewGame {
                    id,
                    code: &code,
                    ruleset,
                    opening: &opening,
                    visibility: wanted.visibility,
                    challenged: wanted.opponent,
                    rated: wanted.rated,
                    clock: wanted.clock,
                    creator,
                    seat,
                    data: &data,
                    carrier: &carrier,
                };
                match self.insert(&new).await {
                    Err(error) if repo::code_taken(&error) => {}
                    result => return result,
                }
            }
            Err(sqlx::Error::PoolTimedOut)
        };
        let game = bounded(write)
            .await
            .map_err(|error| self.0.failures.write(&error))??;
        self.0.wake.ring();
        Ok(self.remember(Arc::new(game)))
    }

    async fn insert(&self, new: &NewGame<'_>) -> Result<Result<Game, Problem>, sqlx::Error> {
        let mut tx = self.0.pool.begin().await?;
        if let Some(challenged) = new.challenged {
            let most = self.0.challenges_max;
            let noted =
                repo::challenge_in_tx(&mut tx, new.creator, challenged, new.id, most).await?;
            match noted {
                Challenged::Noted => {}
                Challenged::Nobody => return Ok(Err(no_such_player())),
                Challenged::Again => return Ok(Err(challenged_already())),
                Challenged::TooMany => return Ok(Err(too_many_challenges(most))),
            }
        }
        repo::create_in_tx(&mut tx, new).await?;
        let game = repo::load(&mut *tx, new.id).await?;
        tx.commit().await?;
        game.map(Ok).ok_or(sqlx::Error::RowNotFound)
    }
}

fn no_such_player() -> Problem {
    Problem::new(Reason::NotFound, "opponent: there is no such player")
}

fn challenged_already() -> Problem {
    let detail = "you have challenged this player already: withdraw that, or wait for the answer";
    Problem::new(Reason::Conflict, detail)
}

/// No time passes after which it would be otherwise: so it is a conflict, and no rate.
fn too_many_challenges(most: i64) -> Problem {
    let detail = format!("you have {most} open challenges: withdraw one, or wait for an answer");
    Problem::new(Reason::Conflict, detail)
}

fn check_clock(clock: Option<ClockSettings>) -> Result<(), Problem> {
    let Some(clock) = clock else { return Ok(()) };
    if !(1..=INITIAL_MS_MAX).contains(&clock.initial_ms) {
        let detail = format!("clock.initial_ms: a whole number from 1 to {INITIAL_MS_MAX}");
        return Err(Problem::new(Reason::Invalid, detail));
    }
    if !(0..=INCREMENT_MS_MAX).contains(&clock.increment_ms) {
        let detail = format!("clock.increment_ms: a whole number from 0 to {INCREMENT_MS_MAX}");
        return Err(Problem::new(Reason::Invalid, detail));
    }
    Ok(())
}

/// Whether a text can be a game's code at all.
#[must_use]
pub fn is_code(text: &str) -> bool {
    text.len() == CODE_CHARS && text.bytes().all(|byte| CODE_ALPHABET.contains(&byte))
}

fn draw_code() -> String {
    let mut rng = rand::rng();
    (0..CODE_CHARS)
        .map(|_| char::from(CODE_ALPHABET[rng.random_range(0..CODE_ALPHABET.len())]))
        .collect()
}
