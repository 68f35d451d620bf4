//! One viewer of one game: its sockets, its event stream and its requests.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::socket::{Place, Socket};
use super::transcript::{Channel, Entry};
use super::wire::{Asked, EventStream, ask};
use crate::client::Session;

/// Where a viewer connects: the gateways' addresses.
pub(super) type Gateways = [String; 2];

/// A viewer.
pub(super) struct Viewer {
    pub(super) name: &'static str,
    /// Who it is; nobody, if it is not signed in.
    session: Option<Session>,
    game: String,
    gateways: Gateways,
    /// Its answers over HTTP.
    http: Channel,
    /// A socket at each gateway.
    pub(super) sockets: [Option<Socket>; 2],
    /// What sockets said that are closed.
    closed: Vec<(String, Channel)>,
    stream: Option<(EventStream, Channel, u64)>,
    /// What it was told of who is there.
    presence: Vec<String>,
    /// Messages sent, for their names.
    sent: u64,
}

impl Viewer {
    pub(super) fn new(
        name: &'static str,
        session: Option<Session>,
        game: &str,
        gateways: &Gateways,
    ) -> Self {
        Self {
            name,
            session,
            game: game.to_owned(),
            gateways: gateways.clone(),
            http: Vec::new(),
            sockets: [None, None],
            closed: Vec::new(),
            stream: None,
            presence: Vec::new(),
            sent: 0,
        }
    }

    fn token(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.token.as_str())
    }

    /// Opens a socket at a gateway and subscribes to the game, from a frame on or with a snapshot.
    pub(super) async fn connect(&mut self, at: usize, after: Option<&Place>) -> Result<()> {
        // The second gateway is shown a ticket, the first one a token.
        let ticket = match (&self.session, at) {
            (Some(session), 1) => {
                let api = crate::client::Api::new(&self.gateways[at]);
                Some(api.ticket(session).await?)
            }
            _ => None,
        };
        let token = self.token().filter(|_| ticket.is_none());
        let mut socket = Socket::open(&self.gateways[at], token, ticket.as_deref()).await?;
        let topic = format!("game:{}", self.game);
        let mut subscribe = json!({"type": "subscribe", "ref": "sub", "topic": topic});
        if let Some(place) = after {
            subscribe["cursor"] = json!(place.cursor);
        }
        socket.last = after.cloned();
        socket.say(&subscribe).await?;
        socket.until_answer("sub").await?;
        self.sockets[at] = Some(socket);
        Ok(())
    }

    /// Closes a socket; says where it was.
    pub(super) async fn cut(&mut self, at: usize) -> Result<Option<Place>> {
        let Some(socket) = self.sockets[at].take() else {
            return Ok(None);
        };
        let last = socket.last.clone();
        self.presence.extend(socket.presence.iter().cloned());
        let name = format!(
            "{}: socket {} at gateway {}",
            self.name,
            self.closed.len() + 1,
            at + 1
        );
        let channel = socket.close().await?;
        self.closed.push((name, channel));
        Ok(last)
    }

    /// Opens an event stream at the second gateway, from the first frame on.
    pub(super) async fn listen(&mut self) -> Result<()> {
        let path = format!("/v1/games/{}/stream", self.game);
        let asked = Asked {
            address: &self.gateways[1],
            method: "GET",
            path: &path,
            token: self.token(),
            body: None,
        };
        let stream = EventStream::open(&asked).await?;
        let head = Entry {
            what: "the stream's head".to_owned(),
            text: stream.head.clone(),
        };
        self.stream = Some((stream, vec![head], 0));
        Ok(())
    }

    /// Reads everywhere until frame `n` has come.
    pub(super) async fn until_frame(&mut self, n: u64) -> Result<()> {
        for socket in self.sockets.iter_mut().flatten() {
            socket.until_frame(n).await.context(self.name)?;
        }
        if let Some((stream, channel, latest)) = &mut self.stream {
            while *latest < n {
                let what = format!("frame {n} of {}'s stream", self.name);
                let text = stream.next().await.context(what)?;
                *latest = number_of(&text)?;
                channel.push(Entry {
                    what: "an event of the stream".to_owned(),
                    text,
                });
            }
        }
        Ok(())
    }

    /// Asks over HTTP, and keeps the answer.
    pub(super) async fn ask(
        &mut self,
        at: usize,
        method: &str,
        call: &str,
        body: Option<&Value>,
    ) -> Result<String> {
        let path = format!("/v1/games/{}{call}", self.game);
        let asked = Asked {
            address: &self.gateways[at],
            method,
            path: &path,
            token: self.token(),
            body: body.map(Value::to_string),
        };
        let text = ask(&asked).await?;
        let call = call.split('=').next().unwrap_or_default();
        self.http.push(Entry {
            what: format!("{method} {{game}}{call} at gateway {}", at + 1),
            text: text.clone(),
        });
        Ok(text)
    }

    /// Sends a command on the socket at the first gateway, and waits for its answer.
    pub(super) async fn command(&mut self, mut command: Value) -> Result<()> {
        self.sent += 1;
        let reference = format!("c{}", self.sent);
        command["type"] = json!("command");
        command["ref"] = json!(reference);
        command["game"] = json!(self.game);
        let socket = self.sockets[0].as_mut().context("no socket")?;
        socket.say(&command).await?;
        socket.until_answer(&reference).await
    }

    /// The last frame that came to any socket.
    pub(super) fn last(&self) -> Option<Place> {
        let sockets = self.sockets.iter().flatten();
        sockets.filter_map(|socket| socket.last.clone()).last()
    }

    /// The cursor of that frame.
    pub(super) fn cursor(&self) -> Option<String> {
        self.last().map(|last| last.cursor)
    }

    /// Closes everything, if it is to be waited for once all sockets say that so many watch; gives
    /// all that was sent, by channel.
    pub(super) async fn leave(mut self, watching: Option<u64>) -> Result<Vec<(String, Channel)>> {
        if let Some(watching) = watching {
            for socket in self.sockets.iter_mut().flatten() {
                socket.until_watched(watching).await.context(self.name)?;
            }
        }
        for at in [0, 1] {
            self.cut(at).await?;
        }
        let mut channels = self.closed;
        channels.push((format!("{}: presence", self.name), presence(&self.presence)));
        channels.push((format!("{}: http", self.name), self.http));
        if let Some((_, channel, _)) = self.stream {
            channels.push((format!("{}: stream", self.name), channel));
        }
        Ok(channels)
    }
}

/// How often presence is told, and what is counted before all have come, is time. Compared are the
/// forms of what was told, each once, and the last as it is.
fn presence(told: &[String]) -> Channel {
    let forms: BTreeSet<String> = told
        .iter()
        .map(|text| {
            let text = text.replace("true", "false");
            match text.split_once("\"watching\":") {
                Some((before, after)) => {
                    let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
                    format!("{before}\"watching\":#{after}")
                }
                None => text,
            }
        })
        .collect();
    let last = told.last().cloned();
    let entry = |what: &str, text: String| Entry {
        what: what.to_owned(),
        text,
    };
    let forms = forms.into_iter().map(|form| entry("a form", form));
    forms
        .chain(last.map(|last| entry("the last", last)))
        .collect()
}

/// The number of the frame in a server-sent event.
fn number_of(event: &str) -> Result<u64> {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    let frame: Value = serde_json::from_str(data.context("an event without data")?)?;
    frame["n"].as_u64().context("a frame without a number")
}
