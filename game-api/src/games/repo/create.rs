//! A new game: its row, its code, its first event and the outbox row, in the caller's transaction.

use shared::ids::{CommandId, EventId, GameId, PlayerId};
use shared::shard::Shard;
use shared::subjects;
use shared::telemetry::Carrier;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::games::entity::{ClockSettings, EventData, Numbers, Visibility};
use crate::rules::{Opening, Ruleset, Seat};

/// What a new game is made of.
pub struct NewGame<'a> {
    /// Its id.
    pub id: GameId,
    /// Its code, not yet known to be free.
    pub code: &'a str,
    /// Its rules.
    pub ruleset: &'static dyn Ruleset,
    /// The state before the first move.
    pub opening: &'a Opening,
    /// Who may find it, once both seats are taken if it is a challenge.
    pub visibility: Visibility,
    /// To whom the free seat is reserved.
    pub challenged: Option<PlayerId>,
    /// Whether it counts for ratings.
    pub rated: bool,
    /// The time control.
    pub clock: Option<ClockSettings>,
    /// Who makes it.
    pub creator: PlayerId,
    /// The seat that the creator takes.
    pub seat: Seat,
    /// The first event's data.
    pub data: &'a EventData,
    /// The trace of the request.
    pub carrier: &'a Carrier,
}

/// Whether an insert failed because the code is used by another game.
#[must_use]
pub fn code_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(db) if db.constraint() == Some("game_codes_pkey"))
}

/// Inserts the game and its first event, `created`, sequence number 1.
pub async fn create_in_tx(
    connection: &mut PgConnection,
    new: &NewGame<'_>,
) -> Result<EventId, sqlx::Error> {
    let key = subjects::game_key(new.id);
    let shard = Shard::of_key(&key).number();
    let event_id = EventId::generate();
    let numbers = Numbers::default().advance(new.data.audience);
    // Nobody else may find a challenge before it is accepted.
    let (visibility, visibility_joined) = match new.challenged {
        Some(_) => (Visibility::Private, Some(new.visibility.as_str())),
        None => (new.visibility, None),
    };
    let (white, black) = match new.seat {
        Seat::White => (Some(new.creator.0), None),
        Seat::Black => (None, Some(new.creator.0)),
    };
    sqlx::query!(
        "insert into game_codes (code, shard, game_id) values ($1, $2, $3)",
        new.code,
        shard,
        new.id.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into games (shard, id, code, ruleset, status, visibility, rated, seq, n_white,
            n_black, n_public, state, scene, turn, white_id, black_id, creator_id, initial_ms,
            increment_ms, white_ms, black_ms, challenged_id, visibility_joined)
        values ($1, $2, $3, $4, 'open', $5, $6, 1, $7, $8, $9, $10::text::json, $11::text::json,
            $12, $13, $14, $15, $16, $17, $16, $16, $18, $19)",
        shard,
        new.id.0,
        new.code,
        new.ruleset.name(),
        visibility.as_str(),
        new.rated,
        numbers.0[0],
        numbers.0[1],
        numbers.0[2],
        new.opening.state.text(),
        new.opening.scene.text(),
        new.opening.turn.as_str(),
        white,
        black,
        new.creator.0,
        new.clock.map(|clock| clock.initial_ms),
        new.clock.map(|clock| clock.increment_ms),
        new.challenged.map(|player| player.0),
        visibility_joined,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into player_games (player_id, game_id, status) values ($1, $2, 'open')",
        new.creator.0,
        new.id.0,
    )
    .execute(&mut *connection)
    .await?;
    let data =
        serde_json::to_string(new.data).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query!(
        "with event as (
            insert into game_events (shard, game_id, seq, event_id, command_id, kind, actor, by,
                action, payload, n_white, n_black, n_public, white_ms, black_ms)
            values ($1, $2, 1, $3, $4, 'created', $5, $6, '', $7::text::json, $8, $9, $10, $11, $11)
            returning *
        )
        insert into outbox_events (shard, event_id, key, subject, type, payload, carrier)
        select shard, event_id, $12, $13, 'fogline.game.created.v1',
            json_build_object('game_id', game_id, 'seq', seq, 'event_id', event_id, 'kind', kind,
                'by', by, 'at_ms', fogline_ms(recorded_at),
                'n', json_build_array(n_white, n_black, n_public),
                'white_ms', white_ms, 'black_ms', black_ms, 'running', running, 'data', payload),
            $14
        from event",
        shard,
        new.id.0,
        event_id.0,
        CommandId::generate().0,
        new.creator.0,
        new.seat.as_str(),
        data,
        numbers.0[0],
        numbers.0[1],
        numbers.0[2],
        new.clock.map(|clock| clock.initial_ms),
        key,
        subjects::game(new.id),
        Json(new.carrier) as _,
    )
    .execute(connection)
    .await?;
    Ok(event_id)
}
