//! A viewer's WebSocket, every message kept as it came.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::boards;
use super::transcript::{Channel, Entry};

/// What a viewer is owed comes within this, on a slow and busy machine.
const MESSAGE_MAX: Duration = Duration::from_secs(30);

/// How a message begins that tells who is there.
const PRESENCE: &str = r#"{"type":"presence","#;

/// Whether it is who is there, or a board.
fn comes_by_the_clock(text: &str) -> bool {
    let topic = serde_json::from_str::<Head>(text)
        .ok()
        .and_then(|head| head.topic);
    text.starts_with(PRESENCE)
        || topic.is_some_and(|topic| boards::TOPICS.contains(&topic.as_str()))
}

/// What tells one message from another; the rest is for the comparison.
#[derive(Deserialize)]
struct Head {
    r#type: String,
    r#ref: Option<String>,
    topic: Option<String>,
    n: Option<u64>,
    cursor: Option<String>,
}

/// Where a viewer is: a frame's number, and its cursor.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) n: u64,
    pub(super) cursor: String,
}

impl Place {
    /// Before the first frame.
    pub(super) fn start() -> Self {
        Self {
            n: 0,
            cursor: "0".to_owned(),
        }
    }
}

/// An open socket.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What came.
    pub(super) channel: Channel,
    /// The last frame that came, or that came to a socket before this one.
    pub(super) last: Option<Place>,
    /// What it was told of who is there. It is told so by the clock, between any two frames.
    pub(super) presence: Vec<String>,
    /// What it was told by the lobby and `me`, which come by the clock too.
    pub(super) boards: Vec<String>,
}

impl Socket {
    /// Connects, and keeps the answer to the handshake as the first thing that came.
    pub(super) async fn open(
        address: &str,
        token: Option<&str>,
        ticket: Option<&str>,
    ) -> Result<Self> {
        let query = ticket.map(|ticket| format!("?ticket={ticket}"));
        let url = format!("ws://{address}/v1/ws{}", query.unwrap_or_default());
        let mut request = url.into_client_request()?;
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse()?;
            request.headers_mut().insert("authorization", value);
        }
        let connected = timeout(MESSAGE_MAX, connect_async(request)).await;
        let (stream, response) = connected.context("a socket was not opened")??;
        let mut head = format!("HTTP/1.1 {}\r\n", response.status());
        for (name, value) in response.headers() {
            let value = value.to_str().unwrap_or("?");
            head.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        let handshake = Entry {
            what: "the handshake".to_owned(),
            text: head,
        };
        Ok(Self {
            stream,
            channel: vec![handshake],
            last: None,
            presence: Vec::new(),
            boards: Vec::new(),
        })
    }

    /// Sends a message.
    pub(super) async fn say(&mut self, message: &Value) -> Result<()> {
        let text = Message::Text(message.to_string().into());
        self.stream.send(text).await.context("a socket")
    }

    /// Reads until frame `n` has come.
    pub(super) async fn until_frame(&mut self, n: u64) -> Result<()> {
        let came = timeout(MESSAGE_MAX, async {
            while self.n() < n {
                self.next().await?;
            }
            anyhow::Ok(())
        });
        let came = came.await;
        came.with_context(|| format!("frame {n} did not come, frame {} did", self.n()))?
    }

    /// Reads until the message of that name is answered; says whether it was not refused.
    pub(super) async fn until_answer(&mut self, reference: &str) -> Result<bool> {
        let answered = timeout(MESSAGE_MAX, async {
            loop {
                let head = self.next().await?;
                if head.r#ref.as_deref() == Some(reference) {
                    return anyhow::Ok(head.r#type != "error");
                }
            }
        });
        let answered = answered.await;
        answered.with_context(|| format!("message {reference} was not answered"))?
    }

    /// Reads until so many are said to watch.
    pub(super) async fn until_watched(&mut self, watching: u64) -> Result<()> {
        let wanted = format!("\"watching\":{watching},");
        let told = timeout(MESSAGE_MAX, async {
            while !self
                .presence
                .last()
                .is_some_and(|last| last.contains(&wanted))
            {
                self.next().await?;
            }
            anyhow::Ok(())
        });
        let told = told.await;
        told.with_context(|| format!("nobody said that {watching} watch: {:?}", self.presence))?
    }

    /// Reads until a board says what is `wanted`, if it has not yet.
    pub(super) async fn until_board(
        &mut self,
        what: &str,
        wanted: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<()> {
        let mut looked_at = 0;
        let told = timeout(MESSAGE_MAX, async {
            loop {
                let new = &self.boards[looked_at..];
                if new.iter().any(|text| wanted(text)) {
                    return anyhow::Ok(());
                }
                looked_at = self.boards.len();
                self.next().await?;
            }
        });
        told.await
            .with_context(|| format!("no board said {what}"))?
    }

    fn n(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.n)
    }

    /// Closes, and keeps the code with which the gateway does.
    pub(super) async fn close(mut self) -> Result<Channel> {
        self.stream.close(None).await.context("a close")?;
        let closed = timeout(MESSAGE_MAX, async {
            while let Some(message) = self.stream.next().await {
                match message {
                    Ok(Message::Close(frame)) => {
                        self.channel.push(Entry {
                            what: "the close".to_owned(),
                            text: format!("{frame:?}"),
                        });
                    }
                    // Who is there may be told at any time, and so may the boards tell.
                    Ok(Message::Text(text)) if !comes_by_the_clock(&text) => {
                        self.channel.push(Entry {
                            what: "after the goodbye".to_owned(),
                            text: text.to_string(),
                        });
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        });
        closed.await.context("a socket was not closed")?;
        Ok(self.channel)
    }

    async fn next(&mut self) -> Result<Head> {
        loop {
            let message = self.stream.next().await.context("a socket ended")?;
            let text = match message.context("a socket")? {
                Message::Text(text) => text.to_string(),
                // Pings come by the clock, and say nothing.
                Message::Ping(said) | Message::Pong(said) if said.is_empty() => continue,
                other => bail!("a socket said {other:?}"),
            };
            let head: Head = serde_json::from_str(&text).with_context(|| text.clone())?;
            if head.r#type == "presence" {
                self.presence.push(text);
                return Ok(head);
            }
            if head
                .topic
                .as_deref()
                .is_some_and(|topic| boards::TOPICS.contains(&topic))
            {
                self.boards.push(text);
                return Ok(head);
            }
            let frame = matches!(head.r#type.as_str(), "event" | "snapshot");
            if let (true, Some(n), Some(cursor)) = (frame, head.n, &head.cursor) {
                let cursor = cursor.clone();
                self.last = Some(Place { n, cursor });
            }
            let entry = Entry {
                what: head.r#type.clone(),
                text,
            };
            let at = self.place(&head);
            self.channel.insert(at, entry);
            return Ok(head);
        }
    }

    /// An ack and the frame of its event come from two tasks of the gateway, in either order: it is
    /// written down before the frame.
    fn place(&self, head: &Head) -> usize {
        let end = self.channel.len();
        let overtaken = head.r#type == "ack"
            && head.n == Some(self.n())
            && self.channel.last().is_some_and(|last| last.what == "event");
        end - usize::from(overtaken)
    }
}
