//! Who calls: a bearer access token, the session cookie, or, for a WebSocket, a ticket.
//!
//! - `Authorization` counts first. If it is there, it must be valid: whoever presents a token means
//!   to be somebody, and is told `unauthorized` rather than served as a stranger.
//! - A browser sends its cookie unasked, so one that has expired or was sealed with a retired key
//!   is as good as none: the caller is anonymous, and can register again.
//! - A state-changing call that is authenticated by the cookie needs an allowed `Origin`, else it is
//!   `forbidden`: a foreign page must not act for the player.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use shared::ids::PlayerId;

use super::origin;
use crate::app::App;
use crate::players::credentials::SESSION_COOKIE;
use crate::problem::{Problem, Reason};

/// The caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A player, by valid credentials.
    Player(PlayerId),
    /// Nobody in particular: a spectator.
    Anonymous,
}

impl Caller {
    /// The player, if it is one.
    #[must_use]
    pub const fn player(self) -> Option<PlayerId> {
        match self {
            Self::Player(id) => Some(id),
            Self::Anonymous => None,
        }
    }

    /// Who makes this HTTP request.
    ///
    /// # Errors
    /// `unauthorized` for a bearer token that is not valid, `forbidden` for a cookie that comes
    /// with a state-changing call without an allowed `Origin`.
    pub fn of_request(app: &App, method: &Method, headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(player) = bearer(app, headers)? {
            return Ok(Self::Player(player));
        }
        let Some(player) = session(app, headers) else {
            return Ok(Self::Anonymous);
        };
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if changes && !origin::allowed(&app.config.origins, headers) {
            return Err(foreign_page());
        }
        Ok(Self::Player(player))
    }

    /// Who opens this WebSocket: a bearer token, a ticket, or a cookie with an allowed `Origin`,
    /// in this order. A socket can change state, so a cookie needs the origin although the opening
    /// is a `GET`.
    ///
    /// # Errors
    /// `unauthorized` for a token or ticket that is not valid, `forbidden` for a valid cookie
    /// without an allowed `Origin`.
    pub fn of_socket(
        app: &App,
        headers: &HeaderMap,
        ticket: Option<&str>,
    ) -> Result<Self, Problem> {
        if let Some(player) = bearer(app, headers)? {
            return Ok(Self::Player(player));
        }
        if let Some(ticket) = ticket {
            return match app.credentials.open_ticket(ticket) {
                Some(player) => Ok(Self::Player(player)),
                None => Err(Problem::new(
                    Reason::Unauthorized,
                    "the ticket is not valid or has expired",
                )),
            };
        }
        match session(app, headers) {
            None => Ok(Self::Anonymous),
            Some(player) if origin::allowed(&app.config.origins, headers) => {
                Ok(Self::Player(player))
            }
            Some(_) => Err(foreign_page()),
        }
    }
}

fn foreign_page() -> Problem {
    Problem::new(
        Reason::Forbidden,
        "with the session cookie, this needs an Origin header that is allowed",
    )
}

fn bearer(app: &App, headers: &HeaderMap) -> Result<Option<PlayerId>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let player = token.and_then(|token| app.credentials.open_access_token(token));
    player.map(Some).ok_or_else(|| {
        Problem::new(
            Reason::Unauthorized,
            "the access token is not valid or has expired",
        )
    })
}

/// The player of the session cookie. Of several cookies of that name the first valid one counts.
fn session(app: &App, headers: &HeaderMap) -> Option<PlayerId> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == SESSION_COOKIE)
        .find_map(|(_, value)| app.credentials.open_session(value))
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Self::of_request(app, &parts.method, &parts.headers)
    }
}

/// A caller who must be a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIn(pub PlayerId);

impl FromRequestParts<Arc<App>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match Caller::of_request(app, &parts.method, &parts.headers)? {
            Caller::Player(player) => Ok(Self(player)),
            Caller::Anonymous => Err(Reason::Unauthorized.into()),
        }
    }
}
