//! A command's way: judge on a copy, commit on a condition, and look again when the copy was old.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::RngExt;
use serde_json::{Map, Value};
use shared::ids::{CommandId, EventId, GameId, PlayerId};
use shared::telemetry::{self, TraceContext};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Games, may_see, not_found};
use crate::games::entity::{self, Action, Change, CommitTimes, Game, GameStatus, Logged, Refused};
use crate::games::feed::Committed;
use crate::games::repo::{self, CommitRow, Outcome};
use crate::mutants;
use crate::problem::{Problem, Reason};
use crate::rules::{Seat, ViewClass};

/// How often a lost race is run again. Two seats race for a game, and a flag: more than a few
/// losses in a row do not happen.
const ATTEMPTS_MAX: u32 = 8;
/// Everything together, so that the answer comes within the 10 s of the contract.
const COMMAND_MAX: Duration = Duration::from_secs(9);
/// Waiting for another instance to let go of a game's row, milliseconds: about one commit.
const HELD_WAIT_MS: std::ops::RangeInclusive<u64> = 2..=12;
/// An action up to this size stands in the log as it is, a longer one by its digest.
const ACTION_BYTES_MAX: usize = 256;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct CommandRequest {
    /// The client's name for this command.
    pub command_id: CommandId,
    /// The `n` acted upon, if the client wants it checked.
    pub at: Option<i64>,
    /// The action object.
    pub action: Map<String, Value>,
}

/// A command that made an event, now or when it was sent before.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The seat's view.
    pub class: ViewClass,
    /// The event.
    pub logged: Arc<Logged>,
    /// Whether it was made by an earlier sending.
    pub duplicate: bool,
}

/// Who causes an event.
#[derive(Clone, Copy)]
struct Cause {
    actor: Uuid,
    command_id: CommandId,
}

impl Games {
    /// Carries out a player's command.
    ///
    /// # Errors
    /// The first reason that applies, in the order of DESIGN §9. `persistence_failure` if the
    /// write failed or its outcome is unknown; `unavailable` if races were lost too often.
    pub async fn command(
        &self,
        player: PlayerId,
        id: GameId,
        request: CommandRequest,
        trace: &TraceContext,
    ) -> Result<Accepted, Problem> {
        let traced = telemetry::start(
            trace,
            || tracing::info_span!(target: "otel", "game.command", game.id = %id, otel.kind = "internal"),
        );
        let work = self.attempts(player, id, &request, &traced.context);
        let result = timeout(COMMAND_MAX, work)
            .await
            .unwrap_or_else(|_| Err(self.0.failures.write(&NoAnswer)));
        let outcome = match &result {
            Ok(accepted) if accepted.duplicate => "duplicate",
            Ok(_) => "accepted",
            Err(problem) => problem.reason.as_str(),
        };
        let action = action_label(&request.action);
        self.0.metrics.command(action, outcome).inc();
        result
    }

    async fn attempts(
        &self,
        player: PlayerId,
        id: GameId,
        request: &CommandRequest,
        trace: &TraceContext,
    ) -> Result<Accepted, Problem> {
        let mut copy = self.0.copies.get(id);
        for _ in 0..ATTEMPTS_MAX {
            let (game, fresh) = match copy.take() {
                Some(game) => (game, false),
                None => (self.reload(id).await?, true),
            };
            let seat = match seat_for(&game, player) {
                Ok(seat) => seat,
                Err(problem) if fresh => return Err(problem),
                Err(_) => continue,
            };
            let action = Action::parse(game.ruleset, &request.action).map_err(refused)?;
            let change = match entity::decide(&game, seat, action, request.at) {
                Ok(change) => Arc::new(change),
                // An old copy refuses nothing.
                Err(_) if !fresh => continue,
                Err(why) => {
                    return match self.made_before(&game, player, seat, request).await? {
                        Some(accepted) => Ok(accepted),
                        None => Err(mutants::refused(refused(why), &game)),
                    };
                }
            };
            let cause = Cause {
                actor: player.0,
                command_id: request.command_id,
            };
            let text = canonical(&request.action);
            let (event_id, outcome) = self.write(&game, &change, cause, text, trace).await?;
            match outcome {
                Wrote::Event(logged, _) => {
                    return Ok(Accepted {
                        class: game.class_on(seat),
                        logged,
                        duplicate: false,
                    });
                }
                Wrote::Not(Outcome::Used) => {
                    // Who is challenged may have taken their seat since, and see more.
                    let game = match game.reserved_to() {
                        Some(_) => self.reload(id).await?,
                        None => game,
                    };
                    let Some(mut accepted) = self.made_before(&game, player, seat, request).await?
                    else {
                        continue;
                    };
                    // The same statement sent twice over a broken connection is no repetition.
                    accepted.duplicate = accepted.logged.event_id != event_id;
                    return Ok(accepted);
                }
                Wrote::Not(Outcome::FlagNotFallen) => return Err(refused(Refused::Illegal)),
                Wrote::Not(Outcome::FlagFallen) => self.flag(id).await,
                Wrote::Not(Outcome::Held) => held_pause().await,
                Wrote::Not(_) => {}
            }
        }
        Err(Problem::new(
            Reason::Unavailable,
            "this game is busy; nothing was changed, try again",
        ))
    }

    /// Ends a game whose flag has fallen, if it has.
    pub async fn flag(&self, id: GameId) {
        for _ in 0..ATTEMPTS_MAX {
            let Ok(Some(game)) = self.load(id).await else {
                return;
            };
            let Some(change) = entity::flag(&game) else {
                return;
            };
            let cause = Cause {
                actor: id.0,
                command_id: CommandId::generate(),
            };
            let trace = TraceContext::unrecorded();
            let traced = telemetry::start_request(
                None,
                false,
                || tracing::info_span!(target: "otel", "game.flag", game.id = %id, otel.kind = "internal"),
            );
            let trace = if traced.context.is_sampled() {
                traced.context
            } else {
                trace
            };
            let written = self
                .write(&game, &Arc::new(change), cause, String::new(), &trace)
                .await;
            match written {
                Ok((_, Wrote::Not(Outcome::Held | Outcome::Moved))) => {}
                Ok((_, Wrote::Not(Outcome::FlagNotFallen))) => {
                    // The timer was a hair early, or the move came in time.
                    self.set_timer(&game);
                    return;
                }
                // A failed write is counted; the sweeper comes again.
                _ => return,
            }
            held_pause().await;
        }
    }

    /// Takes the free seat of a game.
    ///
    /// # Errors
    /// `conflict` if there is none or the player has one, `not_found` if it is reserved to another,
    /// `game_over`, `persistence_failure`.
    pub async fn join(
        &self,
        player: PlayerId,
        id: GameId,
        code: Option<&str>,
        trace: &TraceContext,
    ) -> Result<Arc<Game>, Problem> {
        let work = async {
            for _ in 0..ATTEMPTS_MAX {
                let game = self.reload(id).await?;
                if !may_see(&game, Some(player), code) {
                    return Err(mutants::unseen(not_found(), &game));
                }
                if game.status != GameStatus::Open && game.seat_of(player).is_some() {
                    // Sent again after an answer that was lost.
                    return Ok(game);
                }
                let change = Arc::new(entity::join(&game, player).map_err(refused)?);
                let cause = Cause {
                    actor: player.0,
                    command_id: CommandId::generate(),
                };
                let (_, wrote) = self
                    .write(&game, &change, cause, String::new(), trace)
                    .await?;
                match wrote {
                    Wrote::Event(_, joined) => return Ok(joined),
                    Wrote::Not(Outcome::Held) => held_pause().await,
                    Wrote::Not(_) => {}
                }
            }
            Err(Problem::new(
                Reason::Unavailable,
                "this game is busy, try again",
            ))
        };
        timeout(COMMAND_MAX, work)
            .await
            .unwrap_or_else(|_| Err(self.0.failures.write(&NoAnswer)))
    }

    /// Commits a change and tells everyone here who should know.
    async fn write(
        &self,
        game: &Arc<Game>,
        change: &Arc<Change>,
        cause: Cause,
        action: String,
        trace: &TraceContext,
    ) -> Result<(EventId, Wrote), Problem> {
        let event_id = EventId::generate();
        let append = telemetry::start(trace, || {
            tracing::info_span!(target: "otel", "outbox.append", otel.kind = "producer",
                messaging.system = "nats", messaging.message.id = %event_id)
        });
        let row = CommitRow {
            game: game.clone(),
            change: change.clone(),
            event_id,
            command_id: cause.command_id,
            actor: cause.actor,
            action,
            carrier: append.context.carrier(),
        };
        let made = Arc::new(OnceLock::new());
        let (games, before, committed, slot) =
            (self.clone(), game.clone(), change.clone(), made.clone());
        let tell = move |times: CommitTimes| {
            let made = games.committed(&before, &committed, &times, event_id, append.context);
            let _ = slot.set(made);
            drop(append.span);
        };
        let outcome = match self.0.committer.commit(row, Box::new(tell)).await {
            Err(full) => return Err(Problem::new(Reason::Unavailable, full.to_string())),
            Ok(Err(failed)) => return Err(self.0.failures.write(&failed)),
            Ok(Ok(outcome)) => outcome,
        };
        if let Some((logged, after)) = made.get() {
            return Ok((event_id, Wrote::Event(logged.clone(), after.clone())));
        }
        self.0.copies.forget(game.id);
        Ok((event_id, Wrote::Not(outcome)))
    }

    /// What follows a commit, whether or not somebody still waits for its answer.
    fn committed(
        &self,
        game: &Game,
        change: &Change,
        times: &CommitTimes,
        event_id: EventId,
        trace: TraceContext,
    ) -> (Arc<Logged>, Arc<Game>) {
        let after = game.after(change, times);
        mutants::committed(&after);
        let logged = Arc::new(Logged {
            game: game.id,
            event_id,
            kind: change.kind,
            by: change.by,
            record: change.record.clone(),
            audience: change.audience,
            moment: after.moment(),
        });
        let after = self.remember(Arc::new(after));
        self.set_timer(&after);
        self.0.feed.publish(Committed {
            logged: logged.clone(),
            trace,
        });
        (logged, after)
    }

    fn set_timer(&self, game: &Game) {
        if game.clock.is_none() {
            return;
        }
        let due_in = game
            .flag_in_ms
            .map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
        self.0.timers.set(game.id, due_in);
    }

    async fn reload(&self, id: GameId) -> Result<Arc<Game>, Problem> {
        match self.0.read_lane.row(id).await {
            Ok(Some(game)) => Ok(self.remember(game)),
            Ok(None) => Err(not_found()),
            Err(error) => Err(self.0.failures.write(&error)),
        }
    }

    /// The answer to a command that made its event before.
    async fn made_before(
        &self,
        game: &Game,
        player: PlayerId,
        seat: Seat,
        request: &CommandRequest,
    ) -> Result<Option<Accepted>, Problem> {
        let found = repo::by_command(&self.0.pool, game.id, player.0, request.command_id)
            .await
            .map_err(|error| self.0.failures.write(&error))?;
        let Some((logged, action)) = found else {
            return Ok(None);
        };
        if action != canonical(&request.action) {
            return Err(Problem::new(
                Reason::Conflict,
                "this command_id was used for another action",
            ));
        }
        Ok(Some(Accepted {
            class: game.class_on(seat),
            logged: Arc::new(logged),
            duplicate: true,
        }))
    }
}

/// The database did not answer within [`COMMAND_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("the database did not answer a command within {} s", COMMAND_MAX.as_secs())]
struct NoAnswer;

/// Another instance holds the game's row: it is done in about this time.
async fn held_pause() {
    let wait_ms = rand::rng().random_range(HELD_WAIT_MS);
    sleep(Duration::from_millis(wait_ms)).await;
}

/// What a write came to.
enum Wrote {
    /// What was committed, and the game after it.
    Event(Arc<Logged>, Arc<Game>),
    Not(Outcome),
}

fn seat_for(game: &Game, player: PlayerId) -> Result<Seat, Problem> {
    if let Some(seat) = game.seat_for(player) {
        return Ok(seat);
    }
    if may_see(game, Some(player), None) {
        Err(Problem::new(
            Reason::Forbidden,
            "you have no seat in this game",
        ))
    } else {
        Err(not_found())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(why: Refused) -> Problem {
    let reason = match why {
        Refused::Malformed(_) | Refused::AheadOfLatest => Reason::Invalid,
        Refused::GameOver => Reason::GameOver,
        Refused::NotStarted | Refused::SeatTaken => Reason::Conflict,
        Refused::Reserved => Reason::Forbidden,
        Refused::Stale => Reason::Stale,
        Refused::NotYourTurn => Reason::NotYourTurn,
        Refused::Illegal => Reason::IllegalAction,
    };
    Problem::new(reason, why.to_string())
}

/// One text for one action, whatever the order of its members: `serde_json` maps are sorted.
fn canonical(action: &Map<String, Value>) -> String {
    use sha2::{Digest, Sha256};
    let text = serde_json::to_string(action)
        .unwrap_or_else(|error| unreachable!("it was read as JSON: {error}"));
    if text.len() <= ACTION_BYTES_MAX {
        return text;
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold("sha256:".to_owned(), |text, byte| {
        format!("{text}{byte:02x}")
    })
}

/// A closed set of words for metrics, whatever a client sends.
fn action_label(action: &Map<String, Value>) -> &'static str {
    let sent = action.get("type").and_then(Value::as_str);
    crate::metrics::ACTIONS
        .into_iter()
        .find(|known| Some(*known) == sent)
        .unwrap_or("other")
}
