//! The HTTP side of the protocol.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::protocol::{Frame, Game, View};

/// No call takes longer: `persistence_failure` comes within 10 s, a long poll waits 20 s at most.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// One gateway, as an HTTP client sees it.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    address: String,
}

/// A player who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Their id.
    pub player_id: Uuid,
    /// What gets a new token.
    pub secret: String,
    /// The access token: good on every gateway.
    pub token: String,
}

/// What a new game is to be.
#[derive(Clone, Debug)]
pub struct NewGame {
    /// `fog-chess` or `turn-log`.
    pub ruleset: &'static str,
    /// Initial time and increment in milliseconds.
    pub clock: Option<(u64, u64)>,
    /// `white`, `black` or `random`.
    pub seat: &'static str,
    /// `public` or `private`.
    pub visibility: &'static str,
    /// Whom it challenges.
    pub opponent: Option<Uuid>,
}

impl Default for NewGame {
    fn default() -> Self {
        Self {
            ruleset: "fog-chess",
            clock: None,
            seat: "white",
            visibility: "public",
            opponent: None,
        }
    }
}

/// Why a call did not do what was asked.
#[derive(Debug)]
pub enum Refusal {
    /// The server said why.
    Problem {
        /// The status.
        status: StatusCode,
        /// One of the protocol's reasons.
        reason: String,
        /// For people.
        detail: String,
        /// `Retry-After` in seconds, where it was given.
        retry_after: Option<u64>,
    },
    /// No answer came.
    NoAnswer(reqwest::Error),
    /// An answer came that the protocol does not know.
    Strange(String),
}

impl Refusal {
    /// The reason that the server gave.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Problem { reason, .. } => Some(reason),
            Self::NoAnswer(_) | Self::Strange(_) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem {
                status,
                reason,
                detail,
                ..
            } => write!(f, "{status} {reason}: {detail}"),
            Self::NoAnswer(error) => write!(f, "no answer: {error}"),
            Self::Strange(what) => write!(f, "a strange answer: {what}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// An answer, and the trace that it belongs to.
#[derive(Debug)]
pub struct Answered<T> {
    /// What was answered.
    pub body: T,
    /// The response's `traceparent`.
    pub traceparent: Option<String>,
}

/// The answer to `GET /v1/games/{id}`.
#[derive(Debug, Deserialize)]
pub struct Current {
    /// The game.
    pub game: Game,
    /// The caller's view.
    pub view: View,
    /// The number of the caller's last frame.
    pub n: u64,
    /// Where to resume after it.
    pub cursor: String,
}

/// The answer to a command.
#[derive(Debug, Deserialize)]
pub struct Commanded {
    /// The number of the frame that it made.
    pub n: u64,
    /// Whether it had been carried out before.
    pub duplicate: bool,
    /// That frame.
    pub frame: Frame,
}

/// The answer of a long poll.
#[derive(Debug, Deserialize)]
pub struct Polled {
    /// What is new.
    pub frames: Vec<Frame>,
    /// Where to go on.
    pub cursor: String,
    /// Whether the cursor was of no use, and the first frame is a snapshot.
    pub reset: bool,
}

#[derive(Deserialize)]
struct Problem {
    reason: String,
    #[serde(default)]
    detail: String,
}

impl Api {
    /// A client of the gateway at `address`, such as `127.0.0.1:8080`.
    ///
    /// # Panics
    /// Never: a client without TLS and proxies can always be made.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        let http = reqwest::Client::builder()
            .timeout(CALL_DEADLINE)
            .no_proxy()
            .build()
            .expect("a client without TLS can always be made");
        Self {
            http,
            address: address.into(),
        }
    }

    /// The gateway's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `POST /v1/players`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn register(&self, name: &str) -> Result<Session, Refusal> {
        #[derive(Deserialize)]
        struct Registered {
            player: Player,
            secret: String,
            access_token: String,
        }
        #[derive(Deserialize)]
        struct Player {
            id: Uuid,
        }
        let body: Registered = self
            .call(
                Method::POST,
                "/v1/players",
                None,
                Some(&json!({ "name": name })),
            )
            .await?
            .body;
        Ok(Session {
            player_id: body.player.id,
            secret: body.secret,
            token: body.access_token,
        })
    }

    /// `POST /v1/tickets`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn ticket(&self, session: &Session) -> Result<String, Refusal> {
        #[derive(Deserialize)]
        struct Ticket {
            ticket: String,
        }
        let answer: Answered<Ticket> = self
            .call(Method::POST, "/v1/tickets", Some(session), None)
            .await?;
        Ok(answer.body.ticket)
    }

    /// `POST /v1/games`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn create_game(&self, session: &Session, game: &NewGame) -> Result<Game, Refusal> {
        let clock = game
            .clock
            .map(|(initial_ms, increment_ms)| json!({ "initial_ms": initial_ms, "increment_ms": increment_ms }));
        let body = json!({
            "ruleset": game.ruleset,
            "clock": clock,
            "seat": game.seat,
            "visibility": game.visibility,
            "rated": false,
            "opponent": game.opponent,
        });
        let created: Answered<WithGame> = self
            .call(Method::POST, "/v1/games", Some(session), Some(&body))
            .await?;
        Ok(created.body.game)
    }

    /// `POST /v1/games/{id}/join`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn join(&self, session: &Session, game: Uuid) -> Result<Game, Refusal> {
        let path = format!("/v1/games/{game}/join");
        let joined: Answered<WithGame> =
            self.call(Method::POST, &path, Some(session), None).await?;
        Ok(joined.body.game)
    }

    /// `GET /v1/games/{id}`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn current(&self, session: Option<&Session>, game: Uuid) -> Result<Current, Refusal> {
        Ok(self
            .call(Method::GET, &format!("/v1/games/{game}"), session, None)
            .await?
            .body)
    }

    /// `POST /v1/games/{id}/commands`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn command(
        &self,
        session: &Session,
        game: Uuid,
        command_id: Uuid,
        at: Option<u64>,
        action: &Value,
    ) -> Result<Answered<Commanded>, Refusal> {
        let mut body = json!({ "command_id": command_id, "action": action });
        if let Some(at) = at {
            body["at"] = json!(at);
        }
        let path = format!("/v1/games/{game}/commands");
        self.call(Method::POST, &path, Some(session), Some(&body))
            .await
    }

    /// `GET /v1/games/{id}/events`: waits up to `wait_ms` for what comes after `after`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn poll(
        &self,
        session: Option<&Session>,
        game: Uuid,
        after: Option<&str>,
        wait_ms: u64,
    ) -> Result<Polled, Refusal> {
        let after = after
            .map(|cursor| format!("&after={cursor}"))
            .unwrap_or_default();
        let path = format!("/v1/games/{game}/events?limit=100&wait_ms={wait_ms}{after}");
        Ok(self.call(Method::GET, &path, session, None).await?.body)
    }

    /// Any call with a JSON body.
    ///
    /// # Errors
    /// The server refused, gave no answer, or one that cannot be read.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        session: Option<&Session>,
        body: Option<&Value>,
    ) -> Result<Answered<T>, Refusal> {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.address));
        if let Some(session) = session {
            request = request.bearer_auth(&session.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        read(request.send().await.map_err(Refusal::NoAnswer)?).await
    }

    /// A request for the tests that send what no client would.
    pub fn raw(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.address))
    }
}

#[derive(Deserialize)]
struct WithGame {
    game: Game,
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<Answered<T>, Refusal> {
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let traceparent = header("traceparent");
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    let bytes = response.bytes().await.map_err(Refusal::NoAnswer)?;
    let strange = |error: serde_json::Error| {
        Refusal::Strange(format!(
            "{status}: {error}: {}",
            String::from_utf8_lossy(&bytes)
        ))
    };
    if status.is_success() {
        let body = serde_json::from_slice(&bytes).map_err(strange)?;
        return Ok(Answered { body, traceparent });
    }
    let problem: Problem = serde_json::from_slice(&bytes).map_err(strange)?;
    Err(Refusal::Problem {
        status,
        reason: problem.reason,
        detail: problem.detail,
        retry_after,
    })
}
