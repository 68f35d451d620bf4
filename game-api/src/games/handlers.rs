//! Games over HTTP. Frames and live reading are the gateway's; here is what one call answers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use shared::ids::{CommandId, GameId};
use shared::telemetry::TraceContext;

use super::entity::{Game, GameStatus};
use super::repo::LobbyPosition;
use super::service::{CommandRequest, CreateGame, is_code};
use crate::app::App;
use crate::gateway::frame;
use crate::http::caller::{Caller, SignedIn};
use crate::http::extract::{NoMembers, PathId, StrictJson, StrictQuery};
use crate::http::json::UnambiguousObject;
use crate::mutants;
use crate::problem::{Problem, Reason};

/// Games on one page of the lobby, unless asked for fewer.
const LOBBY_PAGE_DEFAULT: i64 = 50;
/// The most games on one page: about 50 KB.
const LOBBY_PAGE_MAX: i64 = 100;

/// The routes of games, with the status of success.
pub const ROUTES: [(&str, &str, &str); 8] = [
    ("POST", "/v1/games", "201"),
    ("GET", "/v1/games", "200"),
    ("GET", "/v1/games/{id}", "200"),
    ("POST", "/v1/games/{id}/join", "200"),
    ("POST", "/v1/join", "200"),
    ("GET", "/v1/games/{id}/digest", "200"),
    ("POST", "/v1/games/{id}/commands", "200"),
    ("GET", "/v1/games/{id}/record", "200"),
];

/// Games, joining, commands.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/games", post(create).get(list))
        .route("/v1/games/{id}", get(one))
        .route("/v1/games/{id}/join", post(join))
        .route("/v1/join", post(join_by_code))
        .route("/v1/games/{id}/digest", get(digest))
        .route("/v1/games/{id}/commands", post(command))
        .route("/v1/games/{id}/record", get(record))
}

/// `POST /v1/games`
async fn create(
    State(app): State<Arc<App>>,
    SignedIn(player): SignedIn,
    Extension(trace): Extension<TraceContext>,
    StrictJson(wanted): StrictJson<CreateGame>,
) -> Result<Response, Problem> {
    if wanted.opponent.is_some() {
        // One that is refused costs the database as much as one that is made.
        app.limits.command(player)?;
    }
    let game = app.games.create(player, &wanted, &trace).await;
    let game = game.inspect_err(|problem| {
        if problem.reason == Reason::Conflict {
            let rejected = &app.metrics.gateway_rejected_total;
            rejected.with_label_values(&[problem.reason.as_str()]).inc();
        }
    })?;
    let body = json!({"game": app.games.describe(&game, Some(player)).await?});
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// The query of `GET /v1/games`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LobbyQuery {
    status: Option<GameStatus>,
    cursor: Option<String>,
    limit: Option<i64>,
}

/// `GET /v1/games?status=&cursor=&limit=`: public games, newest first, each with who is there now.
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    StrictQuery(query): StrictQuery<LobbyQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = query.limit.unwrap_or(LOBBY_PAGE_DEFAULT);
    if !(1..=LOBBY_PAGE_MAX).contains(&limit) {
        let detail = format!("limit: a whole number from 1 to {LOBBY_PAGE_MAX}");
        return Err(Problem::new(Reason::Invalid, detail));
    }
    let after = query
        .cursor
        .as_deref()
        .map(parse_lobby_cursor)
        .transpose()?;
    let status = query.status.unwrap_or(GameStatus::Open);
    let games = app.games.lobby(status, after, limit).await?;
    let full = i64::try_from(games.len()).is_ok_and(|count| count == limit);
    let cursor = games.last().filter(|_| full).map(lobby_cursor);
    let mut described = app.gateway.describe_listed(&games, caller.player()).await?;
    mutants::listed(&games, &mut described);
    Ok(Json(json!({"games": described, "cursor": cursor})))
}

/// `POST /v1/games/{id}/join`
async fn join(
    State(app): State<Arc<App>>,
    SignedIn(player): SignedIn,
    PathId(id): PathId<GameId>,
    Extension(trace): Extension<TraceContext>,
    StrictJson(NoMembers {}): StrictJson<NoMembers>,
) -> Result<Json<Value>, Problem> {
    let game = app.games.join(player, id, None, &trace).await?;
    Ok(Json(
        json!({"game": app.games.describe(&game, Some(player)).await?}),
    ))
}

/// The body of `POST /v1/join`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinByCode {
    code: String,
}

/// `POST /v1/join {code}`
async fn join_by_code(
    State(app): State<Arc<App>>,
    SignedIn(player): SignedIn,
    Extension(trace): Extension<TraceContext>,
    StrictJson(body): StrictJson<JoinByCode>,
) -> Result<Json<Value>, Problem> {
    let code = body.code.trim().to_ascii_uppercase();
    if !is_code(&code) {
        return Err(Problem::new(
            Reason::NotFound,
            "there is no game with that code",
        ));
    }
    let id = app.games.by_code(&code).await?;
    let game = app.games.join(player, id, Some(&code), &trace).await?;
    Ok(Json(
        json!({"game": app.games.describe(&game, Some(player)).await?}),
    ))
}

/// The query of what shows a game: a private one needs its code, unless one sits there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GameQuery {
    code: Option<String>,
}

/// `GET /v1/games/{id}`: the caller's `{game, view, n, cursor, digest}`, and `at_ms` and `now_ms`
/// to read the clock by.
async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<GameId>,
    StrictQuery(query): StrictQuery<GameQuery>,
) -> Result<Json<Value>, Problem> {
    let game = app
        .games
        .visible(id, caller.player(), query.code.as_deref())
        .await?;
    let mut body = seen(&app, &game, caller);
    body.insert(
        "game".to_owned(),
        app.games.describe(&game, caller.player()).await?,
    );
    body.insert("at_ms".to_owned(), json!(game.at_ms));
    body.insert("now_ms".to_owned(), json!(game.read_at_ms));
    Ok(Json(Value::Object(body)))
}

/// `GET /v1/games/{id}/digest`: `{n, cursor, digest}` of the caller's view.
async fn digest(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<GameId>,
    StrictQuery(query): StrictQuery<GameQuery>,
) -> Result<Json<Value>, Problem> {
    let game = app
        .games
        .visible(id, caller.player(), query.code.as_deref())
        .await?;
    let mut body = seen(&app, &game, caller);
    body.remove("view");
    Ok(Json(Value::Object(body)))
}

/// The body of `POST /v1/games/{id}/commands`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    command_id: CommandId,
    at: Option<i64>,
    action: UnambiguousObject,
}

/// The answer: `frame` is the very text that the mover's subscriptions get.
#[derive(Debug, Serialize)]
struct CommandAnswer {
    n: i64,
    cursor: String,
    duplicate: bool,
    frame: Box<RawValue>,
}

/// `POST /v1/games/{id}/commands`
async fn command(
    State(app): State<Arc<App>>,
    SignedIn(player): SignedIn,
    PathId(id): PathId<GameId>,
    Extension(trace): Extension<TraceContext>,
    StrictJson(body): StrictJson<CommandBody>,
) -> Result<Json<CommandAnswer>, Problem> {
    app.limits.command(player)?;
    let request = CommandRequest {
        command_id: body.command_id,
        at: body.at,
        action: body.action.0,
    };
    let accepted = app.games.command(player, id, request, &trace).await?;
    let frame = frame::event(&app.cursors, &accepted.logged, accepted.class)
        .ok_or_else(|| Problem::from(Reason::Unavailable))?;
    let text = RawValue::from_string(frame.text.to_string())
        .map_err(|_| Problem::from(Reason::Unavailable))?;
    Ok(Json(CommandAnswer {
        n: frame.n,
        cursor: frame.cursor.to_string(),
        duplicate: accepted.duplicate,
        frame: text,
    }))
}

/// `GET /v1/games/{id}/record`: the whole truth, once there is nothing left to hide.
async fn record(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(id): PathId<GameId>,
    StrictQuery(query): StrictQuery<GameQuery>,
) -> Result<Json<Value>, Problem> {
    let game = app
        .games
        .visible(id, caller.player(), query.code.as_deref())
        .await?;
    Ok(Json(app.games.record(&game, caller.player()).await?))
}

fn seen(app: &App, game: &Game, caller: Caller) -> Map<String, Value> {
    let class = game.class_of(caller.player());
    let n = game.numbers.of(class);
    let view = game.moment().view(class).members.to_map();
    let mut body = Map::new();
    body.insert("n".to_owned(), json!(n));
    body.insert(
        "cursor".to_owned(),
        json!(app.cursors.seal(game.id, class, n)),
    );
    body.insert(
        "digest".to_owned(),
        json!(mutants::digest(frame::digest(&view), game)),
    );
    body.insert("view".to_owned(), Value::Object(view));
    body
}

/// Where the next page begins: `<microseconds>.<id>`. The lobby is public, so this hides nothing.
fn lobby_cursor(last: &Game) -> String {
    let created_at_us = mutants::list_cursor(last.created_at_us, last);
    format!("{created_at_us}.{}", last.id)
}

fn parse_lobby_cursor(text: &str) -> Result<LobbyPosition, Problem> {
    text.split_once('.')
        .and_then(|(us, id)| {
            let created_at_us = us.parse().ok().filter(|us| (0..=LATEST_US).contains(us))?;
            Some(LobbyPosition {
                created_at_us,
                id: id.parse().ok()?,
            })
        })
        .ok_or_else(|| Problem::new(Reason::Invalid, "cursor: not one that this list gave"))
}

/// The year 9999: within what Postgres and clients can hold.
const LATEST_US: i64 = 253_402_300_799_000_000;
