//! Following one game for as long as it takes: over WebSocket or long poll, from gateway to gateway,
//! by cursor.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use uuid::Uuid;

use super::api::{Api, Refusal, Session};
use super::passage::{Advice, Departure, Passage};
use super::protocol::{Control, ViewClass};
use super::recording::Recording;
use super::socket::{Identity, Received, Socket};

/// A client gives up when no gateway has taken it for so long.
const AWAY_MAX: Duration = Duration::from_mins(1);
/// Pause after a first failed connection; doubled up to a second.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause between connections.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a long poll waits.
const POLL_WAIT_MS: u64 = 5_000;

/// How a client talks to its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One WebSocket.
    WebSocket,
    /// Commands by `POST`, frames by long poll.
    Http,
}

/// What a client does when its gateway asks it to come back elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// It goes at the time that it was given.
    Goes,
    /// It stays until it is closed.
    Stays,
}

/// What a follower notices.
#[derive(Debug)]
pub enum Happening {
    /// A new connection stands, and the subscription was asked for: what was sent before may be lost.
    Connected,
    /// The recording has a new last frame.
    Frame,
    /// A command was carried out.
    Done {
        /// The number of its frame.
        n: u64,
        /// Whether it had been carried out before.
        duplicate: bool,
        /// The trace that it belongs to, where the answer says so.
        trace_id: Option<String>,
    },
    /// A command was refused.
    Refused {
        /// One of the protocol's reasons.
        reason: String,
        /// For people.
        detail: String,
    },
}

/// A client that follows one game from its first frame.
///
/// All its calls can be given up half-way and made again: what it knows is in itself.
#[derive(Debug)]
pub struct Follower {
    /// What came.
    pub recording: Recording,
    /// How it came from gateway to gateway.
    pub passages: Vec<Passage>,
    apis: Vec<Api>,
    at: usize,
    session: Option<Session>,
    game: Uuid,
    transport: Transport,
    cursor: String,
    socket: Option<Socket>,
    command_ref: Option<String>,
    pending: VecDeque<Happening>,
    greeted: bool,
    last_contact: Instant,
    last_failure: String,
    retry_pause: Duration,
    not_before: Instant,
    manners: Manners,
    advice: Option<Advice>,
    departure: Option<Departure>,
}

impl Follower {
    /// A client that begins at gateway `home` of `gateways` and moves on when that one fails.
    #[must_use]
    pub fn new(
        gateways: &[String],
        home: usize,
        session: Option<Session>,
        game: Uuid,
        class: ViewClass,
        transport: Transport,
    ) -> Self {
        Self {
            recording: Recording::from_the_start(class),
            passages: Vec::new(),
            apis: gateways.iter().map(Api::new).collect(),
            at: home % gateways.len(),
            session,
            game,
            transport,
            cursor: "0".to_owned(),
            socket: None,
            command_ref: None,
            pending: VecDeque::new(),
            greeted: false,
            last_contact: Instant::now(),
            last_failure: String::new(),
            retry_pause: RETRY_PAUSE_MIN,
            not_before: Instant::now(),
            manners: Manners::Goes,
            advice: None,
            departure: None,
        }
    }

    /// The same with other manners.
    #[must_use]
    pub const fn with_manners(mut self, manners: Manners) -> Self {
        self.manners = manners;
        self
    }

    /// The gateway that it talks to now, by number.
    #[must_use]
    pub const fn gateway(&self) -> usize {
        self.at
    }

    /// The next thing that happens.
    ///
    /// # Errors
    /// A frame broke the order, the gateway broke the protocol, or none could be reached for a minute.
    pub async fn next(&mut self) -> Result<Happening> {
        loop {
            if let Some(happening) = self.pending.pop_front() {
                return Ok(happening);
            }
            let happening = match self.transport {
                Transport::WebSocket => self.next_by_socket().await?,
                Transport::Http => self.next_by_poll().await?,
            };
            if let Some(happening) = happening {
                return Ok(happening);
            }
        }
    }

    /// Sends a command. The answer comes as a [`Happening`]; if the connection fails,
    /// [`Happening::Connected`] says so, and the command should be sent again under the same id.
    ///
    /// # Errors
    /// A player without a session, or an answer that is not of the protocol.
    pub async fn command(
        &mut self,
        command_id: Uuid,
        at: Option<u64>,
        action: &Value,
    ) -> Result<()> {
        match self.transport {
            Transport::WebSocket => {
                let Some(socket) = &mut self.socket else {
                    return Ok(());
                };
                // If it cannot be sent, what can still be read says why.
                if let Ok(reference) = socket.command(self.game, command_id, at, action).await {
                    self.command_ref = Some(reference);
                }
                Ok(())
            }
            Transport::Http => self.command_by_post(command_id, at, action).await,
        }
    }

    async fn next_by_socket(&mut self) -> Result<Option<Happening>> {
        let Some(socket) = &mut self.socket else {
            return self.connect().await;
        };
        let goes_at = self
            .advice
            .filter(|_| self.manners == Manners::Goes)
            .map(|advice| advice.goes_at());
        let received = tokio::select! {
            received = socket.next() => received,
            () = at(goes_at) => {
                "its time has come".clone_into(&mut self.last_failure);
                self.lost(None)?;
                return Ok(None);
            }
        };
        match received {
            Ok(received) => self.receive(received),
            Err(closed)
                if closed.code.is_none()
                    || matches!(closed.code, Some(1001 | 1006 | 1011 | 1012)) =>
            {
                self.last_failure = closed.to_string();
                self.lost(closed.code)?;
                Ok(None)
            }
            Err(closed) => Err(closed).context("the gateway refuses this client"),
        }
    }

    fn receive(&mut self, received: Received) -> Result<Option<Happening>> {
        self.last_contact = Instant::now();
        match received {
            Received::Frame(frame) => {
                frame.cursor().clone_into(&mut self.cursor);
                self.recording.take(*frame)?;
                Ok(Some(Happening::Frame))
            }
            Received::Control(Control::Ack {
                r#ref,
                n,
                duplicate,
                trace_id,
            }) => Ok(self.is_answer(&r#ref).then_some(Happening::Done {
                n,
                duplicate,
                trace_id,
            })),
            Received::Control(Control::Error {
                r#ref,
                reason,
                detail,
            }) => {
                let detail = detail.unwrap_or_default();
                if self.is_answer(r#ref.as_deref().unwrap_or_default()) {
                    return Ok(Some(Happening::Refused { reason, detail }));
                }
                if !passes(&reason) {
                    bail!("the gateway refuses the subscription: {reason}: {detail}")
                }
                self.last_failure = format!("{reason}: {detail}");
                self.lost(None)?;
                Ok(None)
            }
            Received::Control(Control::Reconnect { after_ms }) => {
                self.advice = Some(Advice {
                    told: Instant::now(),
                    after: Duration::from_millis(after_ms),
                });
                Ok(None)
            }
            Received::Control(Control::Subscribed { .. }) => {
                self.arrived();
                Ok(None)
            }
            Received::Control(_) | Received::Board(_) => Ok(None),
        }
    }

    fn is_answer(&mut self, reference: &str) -> bool {
        let is_it = self.command_ref.as_deref() == Some(reference);
        if is_it {
            self.command_ref = None;
        }
        is_it
    }

    async fn connect(&mut self) -> Result<Option<Happening>> {
        tokio::time::sleep_until(self.not_before.into()).await;
        let identity = self
            .session
            .clone()
            .map_or(Identity::Spectator, Identity::Player);
        let connected = Socket::connect(self.apis[self.at].address(), &identity).await;
        let topic = format!("game:{}", self.game);
        match connected {
            Ok(mut socket) => {
                if socket.subscribe(&topic, Some(&self.cursor)).await.is_ok() {
                    self.socket = Some(socket);
                    return Ok(Some(Happening::Connected));
                }
            }
            Err(closed) => self.last_failure = closed.to_string(),
        }
        self.lost(None)?;
        Ok(None)
    }

    async fn next_by_poll(&mut self) -> Result<Option<Happening>> {
        if !self.greeted {
            tokio::time::sleep_until(self.not_before.into()).await;
            self.greeted = true;
            return Ok(Some(Happening::Connected));
        }
        let after = (self.cursor != "0").then_some(self.cursor.as_str());
        let api = &self.apis[self.at];
        match api
            .poll(self.session.as_ref(), self.game, after, POLL_WAIT_MS)
            .await
        {
            Ok(polled) => {
                self.last_contact = Instant::now();
                self.arrived();
                let starts_anew = matches!(
                    polled.frames.first(),
                    Some(super::protocol::Frame::Snapshot { .. })
                );
                if polled.reset != starts_anew {
                    bail!(
                        "reset is {} but the first frame says otherwise",
                        polled.reset
                    );
                }
                for frame in polled.frames {
                    self.recording.take(frame)?;
                    self.pending.push_back(Happening::Frame);
                }
                self.cursor = polled.cursor;
                Ok(None)
            }
            Err(refusal) => {
                self.excused(refusal)?;
                Ok(None)
            }
        }
    }

    async fn command_by_post(
        &mut self,
        command_id: Uuid,
        at: Option<u64>,
        action: &Value,
    ) -> Result<()> {
        let session = self
            .session
            .as_ref()
            .context("a spectator has no commands")?;
        match self.apis[self.at]
            .command(session, self.game, command_id, at, action)
            .await
        {
            Ok(answer) => {
                let trace_id = answer
                    .traceparent
                    .as_deref()
                    .and_then(|value| value.split('-').nth(1))
                    .map(str::to_owned);
                let done = Happening::Done {
                    n: answer.body.n,
                    duplicate: answer.body.duplicate,
                    trace_id,
                };
                self.pending.push_back(done);
                Ok(())
            }
            Err(Refusal::Problem { reason, detail, .. }) => {
                self.pending
                    .push_back(Happening::Refused { reason, detail });
                Ok(())
            }
            Err(refusal) => self.excused(refusal),
        }
    }

    /// What a client forgives: a gateway that is not there, or says that it cannot now.
    fn excused(&mut self, refusal: Refusal) -> Result<()> {
        match &refusal {
            Refusal::Strange(_) => Err(refusal.into()),
            Refusal::Problem { reason, .. } if !passes(reason) => Err(refusal.into()),
            Refusal::NoAnswer(_) | Refusal::Problem { .. } => {
                self.last_failure = refusal.to_string();
                self.greeted = false;
                self.lost(None)
            }
        }
    }

    /// Leaves for the next gateway: not before it was told to, else after a pause that grows.
    fn lost(&mut self, closed: Option<u16>) -> Result<()> {
        if self.last_contact.elapsed() > AWAY_MAX {
            bail!(
                "no gateway took this client for {} s: {}",
                AWAY_MAX.as_secs(),
                self.last_failure
            );
        }
        let advice = self.advice.take();
        self.not_before = match advice {
            Some(advice) => advice.goes_at(),
            None => Instant::now() + self.retry_pause,
        };
        self.retry_pause = (self.retry_pause * 2).min(RETRY_PAUSE_MAX);
        self.departure.get_or_insert(Departure {
            from: self.at,
            at: Instant::now(),
            advice,
            closed,
        });
        self.socket = None;
        self.command_ref = None;
        self.at = (self.at + 1) % self.apis.len();
        Ok(())
    }

    /// A gateway has taken this client.
    fn arrived(&mut self) {
        self.retry_pause = RETRY_PAUSE_MIN;
        if let Some(departure) = self.departure.take() {
            self.passages.push(departure.arrived(self.at));
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether what was refused for this reason may be granted elsewhere or later.
fn passes(reason: &str) -> bool {
    matches!(
        reason,
        "unavailable" | "rate_limited" | "persistence_failure"
    )
}
