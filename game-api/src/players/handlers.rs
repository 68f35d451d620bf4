//! `/v1/players`, `/v1/tokens`, `/v1/tickets`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::json;
use shared::ids::PlayerId;
use shared::telemetry::TraceContext;

use super::credentials::TICKET_TTL_S;
use super::entity::PlayerName;
use crate::app::App;
use crate::http::caller::SignedIn;
use crate::http::extract::{NoMembers, PathId, StrictJson};
use crate::http::{origin, peer};
use crate::problem::Problem;

/// The routes of players, with the status of success, for the metrics that are there from the
/// start.
pub const ROUTES: [(&str, &str, &str); 6] = [
    ("POST", "/v1/players", "201"),
    ("GET", "/v1/players/me", "200"),
    ("PATCH", "/v1/players/me", "200"),
    ("GET", "/v1/players/{id}", "200"),
    ("POST", "/v1/tokens", "200"),
    ("POST", "/v1/tickets", "200"),
];

/// Players, tokens and tickets.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/players", post(register))
        .route("/v1/players/me", get(own).patch(rename))
        .route("/v1/players/{id}", get(one))
        .route("/v1/tokens", post(token))
        .route("/v1/tickets", post(ticket))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameBody {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    player_id: PlayerId,
    secret: String,
}

async fn register(
    State(app): State<Arc<App>>,
    Extension(trace): Extension<TraceContext>,
    parts: Parts,
    StrictJson(body): StrictJson<NameBody>,
) -> Result<Response, Problem> {
    let name = PlayerName::parse(&body.name)?;
    app.limits.registration(peer(&parts.extensions))?;
    let registered = app.players.register(&name, &trace).await?;
    let id = registered.player.id;
    let answer = json!({
        "player": registered.player.to_json(),
        "secret": registered.secret.expose(),
        "access_token": app.credentials.access_token(id),
        "expires_in": app.credentials.access_token_ttl_s(),
    });
    let mut response = (StatusCode::CREATED, Json(answer)).into_response();
    if let Some(cookie) = session_cookie(&app, &parts.headers, id) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The session cookie, unless a foreign page asks: it must not be able to sign its visitor in as
/// somebody else.
fn session_cookie(app: &App, headers: &HeaderMap, player: PlayerId) -> Option<HeaderValue> {
    if origin::is_foreign(&app.config.origins, headers) {
        return None;
    }
    let secure = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    HeaderValue::try_from(app.credentials.session_cookie(player, secure)).ok()
}

async fn own(
    State(app): State<Arc<App>>,
    SignedIn(id): SignedIn,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(app.players.own(id).await?.to_json()))
}

async fn rename(
    State(app): State<Arc<App>>,
    SignedIn(id): SignedIn,
    Extension(trace): Extension<TraceContext>,
    StrictJson(body): StrictJson<NameBody>,
) -> Result<impl IntoResponse, Problem> {
    let name = PlayerName::parse(&body.name)?;
    let player = app.players.rename(id, &name, &trace).await?;
    Ok(Json(player.to_json()))
}

async fn one(
    State(app): State<Arc<App>>,
    PathId(id): PathId<PlayerId>,
) -> Result<impl IntoResponse, Problem> {
    Ok(Json(app.players.get(id).await?.to_json()))
}

async fn token(
    State(app): State<Arc<App>>,
    StrictJson(body): StrictJson<TokenBody>,
) -> Result<impl IntoResponse, Problem> {
    app.players
        .check_secret(body.player_id, &body.secret)
        .await?;
    Ok(Json(json!({
        "access_token": app.credentials.access_token(body.player_id),
        "expires_in": app.credentials.access_token_ttl_s(),
    })))
}

async fn ticket(
    State(app): State<Arc<App>>,
    SignedIn(id): SignedIn,
    StrictJson(NoMembers {}): StrictJson<NoMembers>,
) -> impl IntoResponse {
    Json(json!({ "ticket": app.credentials.ticket(id), "expires_in": TICKET_TTL_S }))
}
