//! Errors as clients see them: `application/problem+json` (RFC 9457) with a member `reason`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was refused. One vocabulary for HTTP and WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No credentials, or none that are valid.
    Unauthorized,
    /// Valid credentials that do not allow this.
    Forbidden,
    /// There is no such thing, or none that the caller may know of.
    NotFound,
    /// Malformed: unknown members, wrong types, ids that are no UUID.
    Invalid,
    /// Over a size limit.
    TooLarge,
    /// Over a rate limit; `Retry-After` says when to come back.
    RateLimited,
    /// The rules do not allow the action here.
    IllegalAction,
    /// The other seat is to move.
    NotYourTurn,
    /// `at` is older than the caller's latest frame.
    Stale,
    /// In conflict with what there is: a taken seat, a command id used for another action.
    Conflict,
    /// The game has ended.
    GameOver,
    /// Only after the game has ended.
    LiveGame,
    /// The write failed, or its outcome is unknown: send it again with the same command id.
    PersistenceFailure,
    /// Not possible right now; nothing was changed.
    Unavailable,
}

impl Reason {
    /// Every reason, for metrics that must be there from the start.
    pub const ALL: [Self; 14] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Invalid,
        Self::TooLarge,
        Self::RateLimited,
        Self::IllegalAction,
        Self::NotYourTurn,
        Self::Stale,
        Self::Conflict,
        Self::GameOver,
        Self::LiveGame,
        Self::PersistenceFailure,
        Self::Unavailable,
    ];

    /// The word of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::IllegalAction => "illegal_action",
            Self::NotYourTurn => "not_your_turn",
            Self::Stale => "stale",
            Self::Conflict => "conflict",
            Self::GameOver => "game_over",
            Self::LiveGame => "live_game",
            Self::PersistenceFailure => "persistence_failure",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status of this reason.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::IllegalAction | Self::NotYourTurn => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stale | Self::Conflict | Self::GameOver | Self::LiveGame => StatusCode::CONFLICT,
            Self::PersistenceFailure | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "Credentials are missing or not valid",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::Invalid => "The request is malformed",
            Self::TooLarge => "The request is too large",
            Self::RateLimited => "Too many requests",
            Self::IllegalAction => "The rules do not allow this",
            Self::NotYourTurn => "It is the other side's turn",
            Self::Stale => "The game has moved on",
            Self::Conflict => "In conflict with the current state",
            Self::GameOver => "The game has ended",
            Self::LiveGame => "The game is still being played",
            Self::PersistenceFailure => "The outcome of the write is not known to be good",
            Self::Unavailable => "Not possible right now",
        }
    }
}

/// A refusal with a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct Problem {
    /// The machine-readable cause.
    pub reason: Reason,
    /// A sentence. Never depends on what the caller may not see.
    pub detail: String,
    /// Whole seconds until a retry makes sense, for `Retry-After`.
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with a sentence of its own.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry_after_s: None,
        }
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.title())
    }
}

/// Seconds, where a limit is no rate.
const RETRY_AFTER_DEFAULT_S: u64 = 1;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    reason: Reason,
    detail: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = respond(self.reason.status(), self.reason, &self.detail);
        // Where nobody knows when there is room again, as for one socket more, soon is worth a try.
        let soon = (self.reason == Reason::RateLimited).then_some(RETRY_AFTER_DEFAULT_S);
        if let Some(seconds) = self.retry_after_s.or(soon) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.reason == Reason::Unauthorized {
            // RFC 9110 §11.6.1: a 401 names a way to authenticate.
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A path that exists, under a method that it does not have: 405, reason `invalid`.
#[must_use]
pub fn method_not_allowed() -> Response {
    respond(
        StatusCode::METHOD_NOT_ALLOWED,
        Reason::Invalid,
        "this path does not have that method",
    )
}

/// A fault of the server's own: 500, reason `unavailable`, and nothing of its cause.
#[must_use]
pub fn internal() -> Response {
    respond(
        StatusCode::INTERNAL_SERVER_ERROR,
        Reason::Unavailable,
        "something went wrong on the server",
    )
}

fn respond(status: StatusCode, reason: Reason, detail: &str) -> Response {
    let body = Body {
        kind: "about:blank",
        title: reason.title(),
        status: status.as_u16(),
        reason,
        detail,
    };
    let text = serde_json::to_vec(&body).unwrap_or_default();
    let media_type = HeaderValue::from_static("application/problem+json");
    (status, [(header::CONTENT_TYPE, media_type)], text).into_response()
}
