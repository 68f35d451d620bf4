//! The WebSocket side of the protocol: one connection.

use std::fmt;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

use super::api::Session;
use super::protocol::{Control, Frame};

/// A gateway that accepts and then says nothing is as good as gone.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Who connects.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Nobody: a spectator.
    Spectator,
    /// A player, by bearer token.
    Player(Session),
    /// A player, by ticket.
    Ticket(String),
}

/// A connection.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    refs: u64,
}

/// A message of the gateway.
#[derive(Clone, Debug)]
pub enum Received {
    /// A frame.
    Frame(Box<Frame>),
    /// What the lobby or `me` shows.
    Board(Value),
    /// Anything else.
    Control(Control),
}

/// The connection is over, or could not be made.
#[derive(Debug)]
pub struct Closed {
    /// The close code, where one came.
    pub code: Option<u16>,
    /// For people.
    pub why: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed with {code}: {}", self.why),
            None => write!(f, "closed: {}", self.why),
        }
    }
}

impl std::error::Error for Closed {}

impl Closed {
    fn because(error: impl fmt::Display) -> Self {
        Self {
            code: None,
            why: error.to_string(),
        }
    }
}

impl Socket {
    /// Connects to the gateway at `address`, such as `127.0.0.1:8080`.
    ///
    /// # Errors
    /// Nobody is there, or the gateway refuses.
    pub async fn connect(address: &str, identity: &Identity) -> Result<Self, Closed> {
        let query = match identity {
            Identity::Ticket(ticket) => format!("?ticket={ticket}"),
            Identity::Spectator | Identity::Player(_) => String::new(),
        };
        let mut request = format!("ws://{address}/v1/ws{query}")
            .into_client_request()
            .map_err(Closed::because)?;
        if let Identity::Player(session) = identity {
            let value = HeaderValue::from_str(&format!("Bearer {}", session.token))
                .map_err(Closed::because)?;
            request.headers_mut().insert("authorization", value);
        }
        let connected = tokio::time::timeout(CONNECT_DEADLINE, connect_async(request)).await;
        let (stream, _) = connected
            .map_err(Closed::because)?
            .map_err(Closed::because)?;
        Ok(Self { stream, refs: 0 })
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection is over, or the message is not of the protocol.
    pub async fn next(&mut self) -> Result<Received, Closed> {
        loop {
            let text = match self.stream.next().await {
                None => return Err(Closed::because("the connection ended")),
                Some(Err(error)) => return Err(Closed::because(error)),
                Some(Ok(Message::Close(frame))) => {
                    return Err(match frame {
                        Some(frame) => Closed {
                            code: Some(frame.code.into()),
                            why: frame.reason.to_string(),
                        },
                        None => Closed::because("without a code"),
                    });
                }
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
            };
            return read(&text).map_err(|error| Closed::because(format!("{error}: {text}")));
        }
    }

    /// Subscribes to a topic; returns the reference that the answer will carry.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn subscribe(&mut self, topic: &str, cursor: Option<&str>) -> Result<String, Closed> {
        let reference = self.next_ref();
        let mut message = json!({ "type": "subscribe", "ref": reference, "topic": topic });
        if let Some(cursor) = cursor {
            message["cursor"] = json!(cursor);
        }
        self.send(message.to_string()).await?;
        Ok(reference)
    }

    /// Sends a command; returns the reference that the answer will carry.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn command(
        &mut self,
        game: Uuid,
        command_id: Uuid,
        at: Option<u64>,
        action: &Value,
    ) -> Result<String, Closed> {
        let reference = self.next_ref();
        let mut message = json!({
            "type": "command", "ref": reference, "game": game, "command_id": command_id, "action": action,
        });
        if let Some(at) = at {
            message["at"] = json!(at);
        }
        self.send(message.to_string()).await?;
        Ok(reference)
    }

    /// Sends any text.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn send(&mut self, text: String) -> Result<(), Closed> {
        self.stream
            .send(Message::Text(text.into()))
            .await
            .map_err(Closed::because)
    }

    /// Says goodbye and waits until the gateway has said so too.
    pub async fn close(mut self) {
        if self.stream.close(None).await.is_ok() {
            let _ = tokio::time::timeout(CONNECT_DEADLINE, async {
                while let Some(Ok(_)) = self.stream.next().await {}
            })
            .await;
        }
    }

    fn next_ref(&mut self) -> String {
        self.refs += 1;
        format!("r{}", self.refs)
    }
}

fn read(text: &str) -> serde_json::Result<Received> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        r#type: &'a str,
        topic: Option<&'a str>,
    }
    let Kind { r#type, topic } = serde_json::from_str(text)?;
    match r#type {
        "event" | "snapshot" if matches!(topic, Some("lobby" | "me")) => {
            serde_json::from_str(text).map(Received::Board)
        }
        "event" | "snapshot" => {
            serde_json::from_str(text).map(|frame| Received::Frame(Box::new(frame)))
        }
        _ => serde_json::from_str(text).map(Received::Control),
    }
}
