//! From rows to entities. A row that does not decode is corrupt: loudly so, never guessed at.

use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::ids::{EventId, GameId, PlayerId};
use shared::shard::Shard;
use uuid::Uuid;

use crate::games::entity::{
    Challenge, Clock, ClockReading, ClockSettings, EventData, EventKind, Game, GameResult, Logged,
    Moment, Numbers, Seq, Visibility,
};
use crate::rules::{self, Ruleset, Seat};

/// A row that this build cannot read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("column {column} of game {game} cannot be read")]
pub struct CorruptRow {
    column: &'static str,
    game: Uuid,
}

impl From<CorruptRow> for sqlx::Error {
    fn from(corrupt: CorruptRow) -> Self {
        Self::Decode(Box::new(corrupt))
    }
}

pub(super) struct GameRow {
    pub(super) shard: i16,
    pub(super) id: Uuid,
    pub(super) code: String,
    pub(super) ruleset: String,
    pub(super) status: String,
    pub(super) visibility: String,
    pub(super) rated: bool,
    pub(super) seq: i64,
    pub(super) n_white: i64,
    pub(super) n_black: i64,
    pub(super) n_public: i64,
    pub(super) state: Value,
    pub(super) scene: Value,
    pub(super) turn: String,
    pub(super) moves_made: i32,
    pub(super) draw_offer: Option<String>,
    pub(super) white_id: Option<Uuid>,
    pub(super) black_id: Option<Uuid>,
    pub(super) challenged_id: Option<Uuid>,
    pub(super) visibility_joined: Option<String>,
    pub(super) initial_ms: Option<i64>,
    pub(super) increment_ms: Option<i64>,
    pub(super) white_ms: Option<i64>,
    pub(super) black_ms: Option<i64>,
    pub(super) running: Option<String>,
    pub(super) result: Option<Value>,
    pub(super) rematch_of: Option<Uuid>,
    pub(super) created_at_us: i64,
    pub(super) at_ms: i64,
    pub(super) read_at_ms: i64,
    pub(super) flag_in_ms: Option<i64>,
}

impl TryFrom<GameRow> for Game {
    type Error = CorruptRow;

    fn try_from(row: GameRow) -> Result<Self, CorruptRow> {
        let corrupt = |column| CorruptRow {
            column,
            game: row.id,
        };
        let clock = match (row.initial_ms, row.increment_ms, row.white_ms, row.black_ms) {
            (Some(initial_ms), Some(increment_ms), Some(white_ms), Some(black_ms)) => Some(Clock {
                settings: ClockSettings {
                    initial_ms,
                    increment_ms,
                },
                reading: ClockReading {
                    white_ms,
                    black_ms,
                    running: optional_word(row.running.as_deref(), || corrupt("running"))?,
                },
            }),
            _ => None,
        };
        Ok(Self {
            shard: Shard::new(row.shard).ok_or_else(|| corrupt("shard"))?,
            id: GameId(row.id),
            ruleset: ruleset(&row.ruleset).ok_or_else(|| corrupt("ruleset"))?,
            status: word(&row.status, || corrupt("status"))?,
            visibility: word::<Visibility>(&row.visibility, || corrupt("visibility"))?,
            rated: row.rated,
            seq: Seq(row.seq),
            numbers: Numbers([row.n_white, row.n_black, row.n_public]),
            state: row.state.into(),
            scene: row.scene.into(),
            turn: word(&row.turn, || corrupt("turn"))?,
            moves_made: row.moves_made,
            draw_offer: optional_word(row.draw_offer.as_deref(), || corrupt("draw_offer"))?,
            white: row.white_id.map(PlayerId),
            black: row.black_id.map(PlayerId),
            challenge: match row.challenged_id {
                Some(player) => Some(Challenge {
                    player: PlayerId(player),
                    visibility: word(row.visibility_joined.as_deref().unwrap_or_default(), || {
                        corrupt("visibility_joined")
                    })?,
                }),
                None => None,
            },
            clock,
            result: match row.result {
                Some(value) => Some(
                    serde_json::from_value::<GameResult>(value).map_err(|_| corrupt("result"))?,
                ),
                None => None,
            },
            rematch_of: row.rematch_of.map(GameId),
            created_at_us: row.created_at_us,
            at_ms: row.at_ms,
            read_at_ms: row.read_at_ms,
            flag_in_ms: row.flag_in_ms,
            code: row.code,
        })
    }
}

pub(super) struct EventRow {
    pub(super) game_id: Uuid,
    pub(super) seq: i64,
    pub(super) event_id: Uuid,
    pub(super) kind: String,
    pub(super) by: Option<String>,
    /// Text, so that it is parsed once, and a bad one is this row's failure and not the query's.
    pub(super) payload: String,
    pub(super) n_white: i64,
    pub(super) n_black: i64,
    pub(super) n_public: i64,
    pub(super) white_ms: Option<i64>,
    pub(super) black_ms: Option<i64>,
    pub(super) running: Option<String>,
    pub(super) at_ms: i64,
}

impl TryFrom<EventRow> for Logged {
    type Error = CorruptRow;

    fn try_from(row: EventRow) -> Result<Self, CorruptRow> {
        let corrupt = |column| CorruptRow {
            column,
            game: row.game_id,
        };
        let data: EventData = serde_json::from_str(&row.payload).map_err(|_| corrupt("payload"))?;
        let clock = match (row.white_ms, row.black_ms) {
            (Some(white_ms), Some(black_ms)) => Some(ClockReading {
                white_ms,
                black_ms,
                running: optional_word(row.running.as_deref(), || corrupt("running"))?,
            }),
            _ => None,
        };
        Ok(Self {
            game: GameId(row.game_id),
            event_id: EventId(row.event_id),
            kind: word::<EventKind>(&row.kind, || corrupt("kind"))?,
            by: optional_word::<Seat>(row.by.as_deref(), || corrupt("by"))?,
            record: data.record,
            audience: data.audience,
            moment: Moment {
                ruleset: ruleset(&data.ruleset).ok_or_else(|| corrupt("payload.ruleset"))?,
                seq: Seq(row.seq),
                numbers: Numbers([row.n_white, row.n_black, row.n_public]),
                scene: data.scene,
                status: data.status,
                draw_offer: data.draw_offer,
                result: data.result,
                clock,
                at_ms: row.at_ms,
            },
        })
    }
}

fn ruleset(name: &str) -> Option<&'static dyn Ruleset> {
    rules::by_name(name)
}

fn word<T: DeserializeOwned>(
    text: &str,
    corrupt: impl FnOnce() -> CorruptRow,
) -> Result<T, CorruptRow> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| corrupt())
}

fn optional_word<T: DeserializeOwned>(
    text: Option<&str>,
    corrupt: impl FnOnce() -> CorruptRow,
) -> Result<Option<T>, CorruptRow> {
    text.map(|text| word(text, corrupt)).transpose()
}
