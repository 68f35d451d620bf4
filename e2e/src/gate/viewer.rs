//! One viewer of one game: its sockets, its event stream and its requests.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::attended::Attended;
use super::boards;
use super::digests;
use super::reveal::Revealed;
use super::socket::{Place, Socket};
use super::transcript::{Channel, Entry, RACED};
use super::wire::{Asked, Asking, EventStream, ask};
use crate::client::Session;

/// How long a long poll waits at most, milliseconds: longer than any step takes.
const WAIT_MS: u32 = 25_000;

/// Where a viewer connects: the gateways' addresses.
pub(super) type Gateways = [String; 2];

/// An event stream that is open.
struct Listening {
    stream: EventStream,
    channel: Channel,
    /// The last frame's number.
    latest: u64,
}

/// What a viewer leaves behind.
pub(super) struct Left {
    /// All that was sent, by channel.
    pub(super) channels: Vec<(String, Channel)>,
    /// What it may not know of at all.
    pub(super) breaches: Channel,
}

/// A viewer.
pub(super) struct Viewer {
    pub(super) name: &'static str,
    /// Who it is; nobody, if it is not signed in.
    session: Option<Session>,
    pub(super) game: Attended,
    pub(super) gateways: Gateways,
    /// Its answers over HTTP.
    pub(super) http: Channel,
    /// What the end has revealed.
    revealed: Option<Revealed>,
    /// The answers of which the clock decided whether they came.
    pub(super) raced: Channel,
    /// An early frame, to come back to.
    pub(super) early: Option<Place>,
    /// What was said of who is there when all were counted.
    counted: Option<String>,
    /// A socket at each gateway.
    pub(super) sockets: [Option<Socket>; 2],
    /// What sockets said that are closed.
    closed: Vec<(String, Channel)>,
    stream: Option<Listening>,
    /// What it was told of who is there.
    presence: Vec<String>,
    /// What it was told by the lobby and `me`.
    boards: Vec<String>,
    /// What it was told that it may not know of at all.
    breaches: Channel,
    /// Messages sent, for their names.
    sent: u64,
}

impl Viewer {
    pub(super) fn new(name: &'static str, session: Option<Session>, gateways: &Gateways) -> Self {
        Self {
            name,
            session,
            game: Attended::default(),
            gateways: gateways.clone(),
            http: Vec::new(),
            revealed: None,
            raced: Vec::new(),
            early: None,
            counted: None,
            sockets: [None, None],
            closed: Vec::new(),
            stream: None,
            presence: Vec::new(),
            boards: Vec::new(),
            breaches: Vec::new(),
            sent: 0,
        }
    }

    /// Turns to a game.
    pub(super) fn attend(&mut self, game: Attended) {
        self.game = game;
    }

    /// The way to something of the game.
    pub(super) fn path(&self, call: &str) -> String {
        let Attended { game, code, .. } = &self.game;
        let code = code.as_ref().map(|code| {
            let joint = if call.contains('?') { '&' } else { '?' };
            format!("{joint}code={code}")
        });
        format!("/v1/games/{game}{call}{}", code.unwrap_or_default())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.token.as_str())
    }

    /// Opens a socket at a gateway and subscribes to the game, from a frame on or with a snapshot.
    pub(super) async fn connect(&mut self, at: usize, after: Option<&Place>) -> Result<()> {
        self.open(at).await?;
        self.subscribe(at, after).await?;
        Ok(())
    }

    /// Opens a socket at a gateway and subscribes to `me`, at the first gateway to the lobby too.
    pub(super) async fn open(&mut self, at: usize) -> Result<()> {
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
        for topic in boards::TOPICS.iter().skip(at) {
            let subscribe = json!({"type": "subscribe", "ref": topic, "topic": topic});
            socket.say(&subscribe).await?;
            socket.until_answer(topic).await?;
            if self.session.is_some() || *topic != "me" {
                let whole = ["\"type\":\"snapshot\"", &format!("\"topic\":\"{topic}\"")];
                let is_whole = |text: &str| whole.iter().all(|part| text.contains(part));
                socket.until_board("all it has", is_whole).await?;
            }
        }
        self.sockets[at] = Some(socket);
        Ok(())
    }

    /// Subscribes to the game on an open socket; says whether that was not refused.
    pub(super) async fn subscribe(&mut self, at: usize, after: Option<&Place>) -> Result<bool> {
        let Attended { game, code, .. } = &self.game;
        let topic = format!("game:{game}");
        let mut subscribe = json!({"type": "subscribe", "ref": "sub", "topic": topic});
        if let Some(place) = after {
            subscribe["cursor"] = json!(place.cursor);
        }
        if let Some(code) = code {
            subscribe["code"] = json!(code);
        }
        let socket = self.sockets[at].as_mut().context("no socket")?;
        socket.last = after.cloned();
        socket.say(&subscribe).await?;
        socket.until_answer("sub").await
    }

    /// Reads at a gateway until the lobby or `me` shows the game with this status.
    pub(super) async fn until_shown(&mut self, at: usize, topic: &str, status: &str) -> Result<()> {
        let game = &self.game.game;
        let is_topic = format!("\"topic\":\"{topic}\"");
        let wanted = |text: &str| text.contains(&is_topic) && boards::shows(text, game, status);
        let Some(socket) = &mut self.sockets[at] else {
            return Ok(());
        };
        let what = format!("{status} in {topic}");
        socket.until_board(&what, wanted).await.context(self.name)
    }

    /// The next frame reveals all. Waits until so many are said to watch: afterwards connections
    /// come and go.
    pub(super) async fn end(&mut self, watching: u64, revealed: Revealed) -> Result<()> {
        self.until_watched(watching).await?;
        let sockets = self.sockets.iter().flatten();
        let last = sockets.filter_map(|socket| socket.presence.last()).last();
        self.counted = last.cloned();
        self.revealed = Some(revealed);
        Ok(())
    }

    async fn until_watched(&mut self, watching: u64) -> Result<()> {
        if self.game.is_hidden {
            return Ok(());
        }
        for socket in self.sockets.iter_mut().flatten() {
            socket.until_watched(watching).await.context(self.name)?;
        }
        Ok(())
    }

    /// Keeps the place where it is, to come back to, unless it has one.
    pub(super) fn keep_place(&mut self) {
        self.early = self.early.take().or_else(|| self.last());
    }

    /// The kept place's cursor.
    pub(super) fn early_cursor(&self) -> Option<String> {
        self.early.as_ref().map(|place| place.cursor.clone())
    }

    /// Closes a socket; says where it was.
    pub(super) async fn cut(&mut self, at: usize) -> Result<Option<Place>> {
        let Some(socket) = self.sockets[at].take() else {
            return Ok(None);
        };
        let last = socket.last.clone();
        self.presence.extend(socket.presence.iter().cloned());
        self.boards.extend(socket.boards.iter().cloned());
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
        let path = self.path("/stream");
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
        self.stream = Some(Listening {
            stream,
            channel: vec![head],
            latest: 0,
        });
        Ok(())
    }

    /// Reads everywhere until frame `n` has come.
    pub(super) async fn until_frame(&mut self, n: u64) -> Result<()> {
        if self.game.is_hidden {
            return Ok(());
        }
        for socket in self.sockets.iter_mut().flatten() {
            socket.until_frame(n).await.context(self.name)?;
        }
        if let Some(listening) = &mut self.stream {
            while listening.latest < n {
                let what = format!("frame {n} of {}'s stream", self.name);
                let text = listening.stream.next().await.context(what)?;
                listening.latest = number_of(&text)?;
                listening.channel.push(Entry {
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
        let path = self.path(call);
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

    /// Asks for what follows the last frame, and waits for it later.
    pub(super) async fn ask_ahead(&self, at: usize) -> Result<Option<Asking>> {
        let Some(cursor) = self.cursor() else {
            return Ok(None);
        };
        let path = self.path(&format!("/events?after={cursor}&wait_ms={WAIT_MS}"));
        let asked = Asked {
            address: &self.gateways[at],
            method: "GET",
            path: &path,
            token: self.token(),
            body: None,
        };
        Asking::begin(&asked).await.map(Some)
    }

    /// Keeps the answer.
    pub(super) async fn answered(&mut self, asking: Option<Asking>) -> Result<()> {
        if let Some(asking) = asking {
            self.http.push(Entry {
                what: "GET {game}/events, before there are any".to_owned(),
                text: asking.answer().await?,
            });
        }
        Ok(())
    }

    /// Takes down what this viewer was told.
    pub(super) fn breach(&mut self, what: &str, text: String) {
        let what = format!("{} is told {what}", self.name);
        self.breaches.push(Entry { what, text });
    }

    pub(super) fn breaches_of(&mut self, what: &str, text: &str) {
        if let Some(told) = self.game.breach(text) {
            self.breaches.push(Entry {
                what: format!("{} is told of {told} ({what})", self.name),
                text: text.to_owned(),
            });
        }
    }

    /// Sends a command on the socket at the first gateway, and waits for its answer.
    pub(super) async fn command(&mut self, mut command: Value) -> Result<()> {
        self.sent += 1;
        let reference = format!("c{}", self.sent);
        command["type"] = json!("command");
        command["ref"] = json!(reference);
        command["game"] = json!(self.game.game);
        let socket = self.sockets[0].as_mut().context("no socket")?;
        socket.say(&command).await?;
        socket.until_answer(&reference).await?;
        Ok(())
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

    /// Closes everything, if it is to be waited for once all sockets say that so many watch.
    pub(super) async fn leave(mut self, watching: Option<u64>) -> Result<Left> {
        if let (Some(watching), None) = (watching, self.revealed) {
            self.until_watched(watching).await?;
        }
        for at in [0, 1] {
            self.cut(at).await?;
        }
        let mut channels = std::mem::take(&mut self.closed);
        let http = std::mem::take(&mut self.http);
        channels.push((format!("{}: http", self.name), http));
        if let Some(listening) = self.stream.take() {
            channels.push((format!("{}: stream", self.name), listening.channel));
        }
        if !self.raced.is_empty() {
            let raced = std::mem::take(&mut self.raced);
            channels.push((format!("{}{RACED}", self.name), raced));
        }
        for (name, channel) in &channels {
            for entry in channel {
                self.breaches_of(name, &entry.text);
            }
        }
        for (what, told) in [
            ("presence", self.presence.clone()),
            ("boards", self.boards.clone()),
        ] {
            for text in told {
                self.breaches_of(what, &text);
            }
        }
        let all = channels.iter().flat_map(|(_, channel)| channel);
        if let Some(digest) = digests::of_no_view(all.map(|entry| entry.text.as_str())) {
            self.breach("the digest of what is not shown", digest);
        }
        if let Some(revealed) = self.revealed {
            let entries = channels.iter_mut().flat_map(|(_, channel)| channel);
            entries.for_each(|entry| revealed.unsee(entry));
        }
        let last = self.counted.as_ref().or(self.presence.last());
        let presence = presence(&self.presence, last);
        channels.push((format!("{}: presence", self.name), presence));
        let boards = boards::channel(&self.boards, &self.game.game)?;
        channels.push((format!("{}: boards", self.name), boards));
        Ok(Left {
            channels,
            breaches: self.breaches,
        })
    }
}

/// How often presence is told, and what is counted before all have come, is time. Compared are the
/// forms of what was told, each once, and the last as it is, or what was said when all were counted.
fn presence(told: &[String], last: Option<&String>) -> Channel {
    let forms: BTreeSet<String> = told.iter().map(|text| boards::uncounted(text)).collect();
    let last = last.cloned();
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
pub(super) fn number_of(event: &str) -> Result<u64> {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    let frame: Value = serde_json::from_str(data.context("an event without data")?)?;
    frame["n"].as_u64().context("a frame without a number")
}
