//! One viewer of one game: its sockets, its event stream and its requests.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::boards;
use super::socket::{Place, Socket};
use super::transcript::{Channel, Entry};
use super::wire::{Asked, EventStream, ask};
use crate::client::Session;

/// Where a viewer connects: the gateways' addresses.
pub(super) type Gateways = [String; 2];

/// The game, and what a viewer knows of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attended {
    /// The game's id.
    pub(super) game: String,
    /// The code of a private game, if this viewer is to show it.
    pub(super) code: Option<String>,
    /// The game is hidden from this viewer.
    pub(super) is_hidden: bool,
}

/// An event stream that is open.
struct Listening {
    stream: EventStream,
    channel: Channel,
    /// The last frame's number.
    latest: u64,
    ended_at: Option<usize>,
}

/// A viewer.
pub(super) struct Viewer {
    pub(super) name: &'static str,
    /// Who it is; nobody, if it is not signed in.
    session: Option<Session>,
    game: Attended,
    gateways: Gateways,
    /// Its answers over HTTP.
    http: Channel,
    /// How many there were when everything was about to be revealed.
    http_ended_at: Option<usize>,
    /// A socket at each gateway.
    pub(super) sockets: [Option<Socket>; 2],
    /// What sockets said that are closed.
    closed: Vec<(String, Channel)>,
    stream: Option<Listening>,
    /// What it was told of who is there.
    presence: Vec<String>,
    /// What it was told by the lobby and `me`.
    boards: Vec<String>,
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
            http_ended_at: None,
            sockets: [None, None],
            closed: Vec::new(),
            stream: None,
            presence: Vec::new(),
            boards: Vec::new(),
            sent: 0,
        }
    }

    /// Turns to a game.
    pub(super) fn attend(&mut self, game: Attended) {
        self.game = game;
    }

    /// The way to something of the game.
    fn path(&self, call: &str) -> String {
        let Attended { game, code, .. } = &self.game;
        let code = code.as_ref().map(|code| {
            let joint = if call.contains('?') { '&' } else { '?' };
            format!("{joint}code={code}")
        });
        format!("/v1/games/{game}{call}{}", code.unwrap_or_default())
    }

    fn token(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.token.as_str())
    }

    /// Opens a socket at a gateway and subscribes to the game, from a frame on or with a snapshot.
    pub(super) async fn connect(&mut self, at: usize, after: Option<&Place>) -> Result<()> {
        self.open(at).await?;
        self.subscribe(at, after).await
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

    /// Subscribes to the game on an open socket.
    pub(super) async fn subscribe(&mut self, at: usize, after: Option<&Place>) -> Result<()> {
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

    /// From now on no view is compared: all is about to be revealed.
    pub(super) fn end(&mut self) {
        self.http_ended_at = Some(self.http.len());
        for socket in self.sockets.iter_mut().flatten() {
            socket.end();
        }
        if let Some(listening) = &mut self.stream {
            listening.ended_at = Some(listening.channel.len());
        }
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
            ended_at: None,
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

    /// Sends a command on the socket at the first gateway, and waits for its answer.
    pub(super) async fn command(&mut self, mut command: Value) -> Result<()> {
        self.sent += 1;
        let reference = format!("c{}", self.sent);
        command["type"] = json!("command");
        command["ref"] = json!(reference);
        command["game"] = json!(self.game.game);
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
        if let (Some(watching), false) = (watching, self.game.is_hidden) {
            for socket in self.sockets.iter_mut().flatten() {
                socket.until_watched(watching).await.context(self.name)?;
            }
        }
        for at in [0, 1] {
            self.cut(at).await?;
        }
        let mut channels = self.closed;
        channels.push((format!("{}: presence", self.name), presence(&self.presence)));
        let boards = boards::channel(&self.boards, &self.game.game)?;
        channels.push((format!("{}: boards", self.name), boards));
        self.http
            .truncate(self.http_ended_at.unwrap_or(self.http.len()));
        channels.push((format!("{}: http", self.name), self.http));
        if let Some(mut listening) = self.stream {
            let ended_at = listening.ended_at.unwrap_or(listening.channel.len());
            listening.channel[ended_at..]
                .iter_mut()
                .for_each(Entry::unsee);
            channels.push((format!("{}: stream", self.name), listening.channel));
        }
        Ok(channels)
    }
}

/// How often presence is told, and what is counted before all have come, is time. Compared are the
/// forms of what was told, each once, and the last as it is.
fn presence(told: &[String]) -> Channel {
    let forms: BTreeSet<String> = told.iter().map(|text| boards::uncounted(text)).collect();
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
