//! A client of one socket.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shared::ids::CommandId;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{PATIENCE, Player};

/// A client of one socket.
pub(in crate::gateway) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    refs: u32,
    /// What came about who is there, which comes at any time, passed over by those who wait for
    /// something else.
    presence: Vec<Value>,
}

impl Socket {
    /// Connects to an instance.
    pub(in crate::gateway) async fn open(address: SocketAddr, player: Option<&Player>) -> Self {
        let mut request = format!("ws://{address}/v1/ws")
            .into_client_request()
            .unwrap();
        if let Some(player) = player {
            let value = format!("Bearer {}", player.token).parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let (stream, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Self::new(stream)
    }

    pub(super) fn new(stream: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self {
            stream,
            refs: 0,
            presence: Vec::new(),
        }
    }

    pub(in crate::gateway) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(in crate::gateway) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(in crate::gateway) async fn ping(&mut self) {
        let ping = Message::Ping(Vec::new().into());
        self.stream.send(ping).await.unwrap();
    }

    /// Sends a message under a fresh `ref`, which is given back.
    pub(in crate::gateway) async fn ask(&mut self, mut message: Value) -> String {
        self.refs += 1;
        let reference = format!("r{}", self.refs);
        message["ref"] = json!(reference);
        self.send(&message).await;
        reference
    }

    /// The client is gone, and with it whatever would say so.
    #[cfg(target_os = "linux")]
    pub(in crate::gateway) fn vanish(&self) {
        match self.stream.get_ref() {
            MaybeTlsStream::Plain(stream) => super::vanish(stream),
            _ => unreachable!("these tests use no TLS"),
        }
    }

    /// Closes the socket as a client does that is done.
    pub(in crate::gateway) async fn close(&mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "done".into(),
        };
        let close = Message::Close(Some(frame));
        self.stream.send(close).await.unwrap();
    }

    /// What came about who is there since the last call, up to what `wanted` says yes to.
    pub(in crate::gateway) async fn presence(
        &mut self,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        while !self.presence.last().is_some_and(&wanted) {
            match self.message_or_close().await {
                Ok(message) if message["type"] == "presence" => self.presence.push(message),
                Ok(message) => panic!("unexpected: {message}"),
                Err(close) => panic!("the socket was closed: {close:?}"),
            }
        }
        std::mem::take(&mut self.presence)
    }

    /// The next message of the server.
    pub(in crate::gateway) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(value) => value,
            Err(close) => panic!("the socket was closed: {close:?}"),
        }
    }

    pub(in crate::gateway) async fn next_or_close(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message = self.message_or_close().await?;
            if message["type"] != "presence" {
                return Ok(message);
            }
            self.presence.push(message);
        }
    }

    async fn message_or_close(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message = timeout(PATIENCE, self.stream.next())
                .await
                .expect("no message came");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Everything up to the first message that `wanted` says yes to, that one last.
    pub(in crate::gateway) async fn up_to(
        &mut self,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next().await);
            if messages.last().is_some_and(&wanted) {
                return messages;
            }
        }
    }

    /// The answer under a `ref`; frames that come before it are passed over.
    pub(in crate::gateway) async fn answer(&mut self, reference: &str) -> Value {
        self.up_to(|message| message["ref"] == reference)
            .await
            .pop()
            .unwrap()
    }

    pub(in crate::gateway) async fn subscribe(
        &mut self,
        game: &str,
        cursor: Option<&str>,
    ) -> Value {
        let mut message = json!({"type": "subscribe", "topic": format!("game:{game}")});
        if let Some(cursor) = cursor {
            message["cursor"] = json!(cursor);
        }
        let reference = self.ask(message).await;
        self.answer(&reference).await
    }

    pub(in crate::gateway) async fn command(&mut self, game: &str, action: &Value) -> Value {
        let reference = self
            .ask(json!({
                "type": "command", "game": game, "command_id": CommandId::generate(),
                "action": action,
            }))
            .await;
        self.answer(&reference).await
    }

    /// Asserts that the socket still answers.
    pub(in crate::gateway) async fn is_usable(&mut self) {
        let reference = self.ask(json!({"type": "ping"})).await;
        assert_eq!(self.answer(&reference).await["type"], "pong");
    }

    /// The next frames, `count` of them, and nothing else between them.
    pub(in crate::gateway) async fn frames(&mut self, count: usize) -> Vec<Value> {
        let mut frames = Vec::new();
        while frames.len() < count {
            let frame = self.next().await;
            assert!(
                frame["type"] == "event" || frame["type"] == "snapshot",
                "{frame}"
            );
            frames.push(frame);
        }
        frames
    }
}
