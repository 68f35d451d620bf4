//! The write path: many commands, each conditional on its own game, in one statement.
//!
//! Per command, first what applies: its id was used before; its game is gone, or held by another
//! instance (skipped, never waited for: no deadlock, no hold-up); the game has moved on; the
//! flag's state by the database's clock forbids it; else the game's row, the event with that
//! clock's remaining times, the outbox row and the result go in together.

use shared::ids::{CommandId, EventId};
use shared::telemetry::Carrier;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::sync::Arc;
use uuid::Uuid;

use crate::games::entity::{Change, CommitTimes, Game};
use crate::rules::Seat;

/// One change to be committed.
#[derive(Clone, Debug)]
pub struct CommitRow {
    /// The copy of the game that the change was decided on.
    pub game: Arc<Game>,
    /// The change.
    pub change: Arc<Change>,
    /// The event's id.
    pub event_id: EventId,
    /// The command's id.
    pub command_id: CommandId,
    /// The player, or the game's own id for the server.
    pub actor: Uuid,
    /// The action as sent, in one canonical form.
    pub action: String,
    /// The trace to go on with.
    pub carrier: Carrier,
}

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Committed(CommitTimes),
    /// The command's id stands in the log already.
    Used,
    /// The game is at another sequence number.
    Moved,
    /// Another transaction holds the game's row right now, or the row is gone.
    Held,
    /// The running clock's flag has fallen.
    FlagFallen,
    /// The flag has not fallen.
    FlagNotFallen,
}

/// Readies a connection for statements over arrays of keys alone: each one's plan is made once, and
/// finds each row by its key. Left to itself, Postgres plans by what the tables hold at that time. In
/// a young database it scans them whole, and goes on to do so while they grow, until they are
/// analyzed.
pub async fn plan_by_keys(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "set plan_cache_mode = force_generic_plan; set enable_seqscan = off;
        set enable_hashjoin = off; set enable_mergejoin = off",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The statement, with what only a challenge that is answered or withdrawn needs put into its places:
/// what else is set, what else is returned, what else is done. For all other batches there is nothing
/// in them, so that a move's statement knows of no challenges.
macro_rules! commit {
    ($connection:expr, $column:expr, $set:literal, $returned:literal, $done:literal) => {
        sqlx::query_as!(
            Answer,
            r#"with input as (
            select * from unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[],
                $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                $12::text[], $13::text[], $14::int[], $15::text[], $16::text[], $17::text[],
                $18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::bigint[],
                $23::uuid[], $24::uuid[], $25::boolean[], $26::jsonb[])
            with ordinality as i (shard, game_id, seq, event_id, command_id, actor, kind, by,
                action, payload, state, scene, turn, moves_made, status, draw_offer, result,
                running, increment, n_white, n_black, n_public, white_id, black_id,
                needs_fallen_flag, carrier, ord)
        ), used as (
            select i.ord from input i
            join game_events e on e.shard = i.shard and e.game_id = i.game_id
                and e.actor = i.actor and e.command_id = i.command_id
        ), held as materialized (
            select i.*, g.seq = i.seq as current,
                g.flag_at is not null and g.flag_at <= statement_timestamp() as fallen,
                g.running as was_running, g.increment_ms, g.white_ms as white_had_ms,
                g.black_ms as black_had_ms,
                case when g.running is null then 0 else greatest(0,
                    round(extract(epoch from statement_timestamp() - g.turn_started_at) * 1000)
                )::bigint end as elapsed_ms
            from input i join games g on g.shard = i.shard and g.id = i.game_id
            where i.ord not in (select used.ord from used)
            for update of g skip locked
        ), ready as (
            select h.*,
                case when h.was_running = 'white' then greatest(0, h.white_had_ms - h.elapsed_ms)
                    else h.white_had_ms end
                    + case when h.increment = 'white' then h.increment_ms else 0 end as white_ms,
                case when h.was_running = 'black' then greatest(0, h.black_had_ms - h.elapsed_ms)
                    else h.black_had_ms end
                    + case when h.increment = 'black' then h.increment_ms else 0 end as black_ms
            from held h
            where h.current and h.fallen = h.needs_fallen_flag
        ), moved as (
            update games g set seq = r.seq + 1, n_white = r.n_white, n_black = r.n_black,
                n_public = r.n_public, state = r.state::json, scene = r.scene::json, turn = r.turn,
                moves_made = r.moves_made, status = r.status,"#
                + $set
                + r#" draw_offer = r.draw_offer,
                white_id = r.white_id, black_id = r.black_id, white_ms = r.white_ms,
                black_ms = r.black_ms, running = r.running,
                turn_started_at = case when r.running is null then null
                    else statement_timestamp() end,
                flag_at = case r.running
                    when 'white' then statement_timestamp() + r.white_ms * interval '1 ms'
                    when 'black' then statement_timestamp() + r.black_ms * interval '1 ms' end,
                result = r.result::jsonb, last_event_at = statement_timestamp(),
                ended_at = case when r.result is null then null else statement_timestamp() end
            from ready r
            where g.shard = r.shard and g.id = r.game_id and g.seq = r.seq
            returning r.ord, r.event_id, r.command_id, r.kind, r.actor, r.by, r.action,
                r.payload::json as payload, r.carrier, g.shard, g.id as game_id, g.seq,
                g.n_white, g.n_black, g.n_public, g.white_ms, g.black_ms, g.running, g.status,
                g.result, g.white_id, g.black_id, g.rated"#
                + $returned
                + r#"
        ), event as (
            insert into game_events (shard, game_id, seq, event_id, command_id, kind, actor, by,
                action, payload, n_white, n_black, n_public, white_ms, black_ms, running)
            select m.shard, m.game_id, m.seq, m.event_id, m.command_id, m.kind, m.actor, m.by,
                m.action, m.payload, m.n_white, m.n_black, m.n_public, m.white_ms, m.black_ms,
                m.running
            from moved m
        ), outbox as (
            insert into outbox_events (shard, event_id, key, subject, type, payload, carrier)
            select m.shard, m.event_id, 'game.' || m.game_id, 'events.game.' || m.game_id,
                'fogline.game.' || m.kind || '.v1',
                json_build_object('game_id', m.game_id, 'seq', m.seq, 'event_id', m.event_id,
                    'kind', m.kind, 'by', m.by, 'at_ms', fogline_ms(statement_timestamp()),
                    'n', json_build_array(m.n_white, m.n_black, m.n_public),
                    'white_ms', m.white_ms, 'black_ms', m.black_ms, 'running', m.running,
                    'data', m.payload),
                m.carrier
            from moved m
        ), result as (
            insert into game_results (shard, game_id, winner, reason, white_id, black_id, rated)
            select m.shard, m.game_id, m.result ->> 'winner', m.result ->> 'reason',
                m.white_id, m.black_id, m.rated
            from moved m
            where m.result is not null
            on conflict do nothing
        ), standing as (
            insert into player_games (player_id, game_id, status)
            select p.player_id, m.game_id, m.status
            from moved m
            cross join lateral (values (m.white_id), (m.black_id)) as p (player_id)
            where (m.kind = 'joined' or m.result is not null) and p.player_id is not null
            on conflict (player_id, game_id)
                do update set status = excluded.status, changed_at = statement_timestamp()
        )"#
                + $done
                + r#"
        select m.ord as "ord!", 'committed' as "outcome!",
            fogline_ms(statement_timestamp()) as "at_ms!", m.white_ms, m.black_ms,
            case m.running when 'white' then m.white_ms when 'black' then m.black_ms end
                as flag_in_ms
        from moved m
        union all
        select h.ord,
            case when h.current and h.fallen then 'flag_fallen'
                when h.current then 'flag_not_fallen' else 'moved' end,
            0, null, null, null
        from held h where not (h.current and h.fallen = h.needs_fallen_flag)
        union all
        select u.ord, 'used', 0, null, null, null from used u"#,
            &$column.shard,
            &$column.game_id,
            &$column.seq,
            &$column.event_id,
            &$column.command_id,
            &$column.actor,
            &$column.kind as _,
            &$column.by as _,
            &$column.action as _,
            &$column.payload,
            &$column.state as _,
            &$column.scene as _,
            &$column.turn as _,
            &$column.moves_made,
            &$column.status as _,
            &$column.draw_offer as _,
            &$column.result as _,
            &$column.running as _,
            &$column.increment as _,
            &$column.n_white,
            &$column.n_black,
            &$column.n_public,
            &$column.white_id as _,
            &$column.black_id as _,
            &$column.needs_fallen_flag,
            &$column.carrier as _,
        )
        .fetch_all($connection)
        .await?
    };
}

/// What became of one change, as the statement says it.
struct Answer {
    ord: i64,
    outcome: String,
    at_ms: i64,
    white_ms: Option<i64>,
    black_ms: Option<i64>,
    flag_in_ms: Option<i64>,
}

/// Commits a batch, at most one change a game. The outcomes are in the batch's order.
///
/// Rows are joined to tables by key only, never to other parts of the statement: of those Postgres
/// expects one row, joins them in nested loops, and a batch would cost its square. So `held` and
/// `moved` carry all that those after them need, and what became of each is put together here.
pub async fn commit_batch(
    connection: &mut PgConnection,
    rows: &[CommitRow],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let column = Columns::of(rows)?;
    // Whatever happens to a game whose free seat is reserved takes it out of the open challenges.
    let settles_challenge = |row: &CommitRow| row.game.reserved_to().is_some();
    let answers = if rows.iter().any(settles_challenge) {
        commit!(
            connection,
            column,
            " visibility = case when r.kind = 'joined'
                    then coalesce(g.visibility_joined, g.visibility) else g.visibility end,",
            ", g.challenged_id",
            ", settled as (
            delete from challenges c using moved m
            where c.challenged_id = m.challenged_id and c.game_id = m.game_id
                and (m.kind = 'joined' or m.result is not null)
        )"
        )
    } else {
        commit!(connection, column, "", "", "")
    };
    let mut outcomes = vec![Outcome::Held; rows.len()];
    for answer in answers {
        let outcome = match answer.outcome.as_str() {
            "committed" => Outcome::Committed(CommitTimes {
                at_ms: answer.at_ms,
                white_ms: answer.white_ms,
                black_ms: answer.black_ms,
                flag_in_ms: answer.flag_in_ms,
            }),
            "used" => Outcome::Used,
            "flag_fallen" => Outcome::FlagFallen,
            "flag_not_fallen" => Outcome::FlagNotFallen,
            _ => Outcome::Moved,
        };
        // `ord` counts from one.
        let place = usize::try_from(answer.ord - 1).ok();
        if let Some(place) = place.and_then(|place| outcomes.get_mut(place)) {
            *place = outcome;
        }
    }
    Ok(outcomes)
}

/// The batch as one array a column, for `unnest`.
#[derive(Default)]
struct Columns<'a> {
    shard: Vec<i16>,
    game_id: Vec<Uuid>,
    seq: Vec<i64>,
    event_id: Vec<Uuid>,
    command_id: Vec<Uuid>,
    actor: Vec<Uuid>,
    kind: Vec<&'a str>,
    by: Vec<Option<&'a str>>,
    action: Vec<&'a str>,
    payload: Vec<String>,
    state: Vec<&'a str>,
    scene: Vec<&'a str>,
    turn: Vec<&'a str>,
    moves_made: Vec<i32>,
    status: Vec<&'a str>,
    draw_offer: Vec<Option<&'a str>>,
    result: Vec<Option<String>>,
    running: Vec<Option<&'a str>>,
    increment: Vec<Option<&'a str>>,
    n_white: Vec<i64>,
    n_black: Vec<i64>,
    n_public: Vec<i64>,
    white_id: Vec<Option<Uuid>>,
    black_id: Vec<Option<Uuid>>,
    needs_fallen_flag: Vec<bool>,
    carrier: Vec<Json<&'a Carrier>>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [CommitRow]) -> Result<Self, sqlx::Error> {
        let mut columns = Self::default();
        for row in rows {
            columns
                .push(row)
                .map_err(|error| sqlx::Error::Encode(error.into()))?;
        }
        Ok(columns)
    }

    fn push(&mut self, row: &'a CommitRow) -> Result<(), serde_json::Error> {
        let (game, change) = (&row.game, &row.change);
        self.shard.push(game.shard.number());
        self.game_id.push(game.id.0);
        self.seq.push(game.seq.0);
        self.event_id.push(row.event_id.0);
        self.command_id.push(row.command_id.0);
        self.actor.push(row.actor);
        self.kind.push(change.kind.as_str());
        self.by.push(change.by.map(Seat::as_str));
        self.action.push(&row.action);
        self.payload
            .push(serde_json::to_string(&change.data(game.ruleset))?);
        self.state.push(change.state.text());
        self.scene.push(change.scene.text());
        self.turn.push(change.turn.as_str());
        self.moves_made.push(change.moves_made);
        self.status.push(change.status.as_str());
        self.draw_offer.push(change.draw_offer.map(Seat::as_str));
        self.result.push(
            change
                .result
                .as_ref()
                .map(serde_json::to_string)
                .transpose()?,
        );
        self.running.push(change.running.map(Seat::as_str));
        self.increment.push(change.increment.map(Seat::as_str));
        self.n_white.push(change.numbers.0[0]);
        self.n_black.push(change.numbers.0[1]);
        self.n_public.push(change.numbers.0[2]);
        self.white_id.push(change.white.map(|id| id.0));
        self.black_id.push(change.black.map(|id| id.0));
        self.needs_fallen_flag.push(change.needs_fallen_flag);
        self.carrier.push(Json(&row.carrier));
        Ok(())
    }
}

/// The subject and key in the statement are spelt in SQL; this ties them to `shared::subjects`.
#[cfg(test)]
mod tests {
    use shared::ids::GameId;
    use shared::subjects;

    #[test]
    fn the_statement_spells_subject_and_key_as_shared_does() {
        let id = GameId::generate();
        assert_eq!(subjects::game(id), format!("events.game.{id}"));
        assert_eq!(subjects::game_key(id), format!("game.{id}"));
    }
}
