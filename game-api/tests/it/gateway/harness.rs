//! Gateways in this process, a NATS server of the test's own, a relay's stand-in, and a client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use futures_util::{SinkExt, StreamExt};
use game_api::app::App;
use game_api::config::Config;
use game_api::nats::Nats;
use game_api::players::credentials::wall_clock;
use game_api::{Listeners, router};
use serde_json::{Value, json};
use shared::ids::CommandId;
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tower::ServiceExt;

/// Nothing in these tests takes long; what has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a condition that nothing announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    until_within(PATIENCE, what, condition).await;
}

/// The same for what takes its time.
pub(super) async fn until_within(
    patience: Duration,
    what: &str,
    condition: impl AsyncFn() -> bool,
) {
    let deadline = Instant::now() + patience;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(LOOK_EVERY).await;
    }
}

/// A NATS server, ended when dropped.
pub(super) struct NatsServer {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl NatsServer {
    pub(super) async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        Self::start_on(port).await
    }

    async fn start_on(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(binary())
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server: set FOGLINE_NATS_SERVER or put it on PATH");
        let server = Self {
            child,
            port,
            _directory: directory,
        };
        until("the NATS server listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        server
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends the server; gives back how to start it again on the same port.
    pub(super) fn stop(self) -> u16 {
        self.port
    }

    pub(super) async fn restart(port: u16) -> Self {
        Self::start_on(port).await
    }

    /// Freezes or thaws the server: connections stay open, nothing is answered.
    pub(super) fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment what to run"
)]
fn binary() -> String {
    std::env::var("FOGLINE_NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned())
}

/// One instance of the service.
pub(super) struct Instance {
    pub(super) app: Arc<App>,
    router: Router,
    address: SocketAddr,
    life: Lifecycle,
}

impl Instance {
    pub(super) async fn start(pool: &PgPool, nats: &NatsServer, more: &[(&str, &str)]) -> Self {
        let url = nats.url();
        let own = [
            ("DATABASE_URL", "postgres://unused@127.0.0.1/unused"),
            ("NATS_URL", url.as_str()),
            (
                "FOGLINE_KEYS",
                "k:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
            ),
            // A test that waits for a hole to be repaired says so; elsewhere it would hide faults.
            ("GATEWAY_RECONCILE_MS", "60000"),
        ];
        let env: HashMap<String, String> = own
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = Config::from_env(&env).unwrap();
        let life = Lifecycle::new();
        let link = Nats::connect(&config.nats, "test").await.unwrap();
        let app = App::build(config, pool.clone(), link, wall_clock(), &life).unwrap();
        // As the program listens, with its send buffers.
        let public = game_api::http::serve::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = public.local_addr().unwrap();
        let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
        game_api::serve(Arc::clone(&app), Listeners { public, ops });
        let instance = Self {
            router: router::router(app.clone()),
            app,
            address,
            life,
        };
        instance.connected(true).await;
        until("the database's clock is read", async || {
            instance.app.gateway.now_ms() > 0
        })
        .await;
        instance
    }

    /// Waits until the instance knows whether NATS is there.
    pub(super) async fn connected(&self, up: bool) {
        let mut connected = self.app.nats.connected.clone();
        timeout(PATIENCE, connected.wait_for(|now| *now == up))
            .await
            .unwrap()
            .unwrap();
    }

    /// How many connections ended for this reason.
    pub(super) fn disconnects(&self, reason: &str) -> u64 {
        let disconnects = &self.app.metrics.gateway_disconnects_total;
        disconnects.with_label_values(&[reason]).get()
    }

    /// How many connections and messages were refused for this reason.
    pub(super) fn rejections(&self, reason: &str) -> u64 {
        let rejections = &self.app.metrics.gateway_rejected_total;
        rejections.with_label_values(&[reason]).get()
    }

    pub(super) fn drain(&self) {
        self.life.drain();
    }

    /// Ends the instance, and asserts that it ends by itself.
    pub(super) async fn stop(self) {
        let Self {
            app, router, life, ..
        } = self;
        drop((app, router));
        let begun = Instant::now();
        life.finish(PATIENCE).await.unwrap();
        assert!(
            begun.elapsed() < PATIENCE,
            "something kept the instance from ending"
        );
    }

    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let answer = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let status = answer.status();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(super) async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        self.call("GET", path, token, &Value::Null).await
    }

    /// The body of an endless answer, as it comes.
    pub(super) async fn stream(
        &self,
        path: &str,
        last_event_id: Option<&str>,
    ) -> axum::body::BodyDataStream {
        self.stream_of(None, path, last_event_id).await
    }

    /// The same for a player.
    pub(super) async fn stream_of(
        &self,
        player: Option<&Player>,
        path: &str,
        last_event_id: Option<&str>,
    ) -> axum::body::BodyDataStream {
        let mut request = Request::builder().uri(path);
        if let Some(player) = player {
            request = request.header("authorization", format!("Bearer {}", player.token));
        }
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().into_data_stream()
    }

    pub(super) async fn register(&self) -> Player {
        let (status, body) = self
            .call("POST", "/v1/players", None, &json!({"name": "Ann"}))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Player {
            token: text(&body["access_token"]),
        }
    }

    /// A game that has begun, and its players.
    pub(super) async fn game(&self, more: &Value) -> (Player, Player, String) {
        let (white, black) = (self.register().await, self.register().await);
        let game = self.create(&white, more).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        self.join(&black, &game).await;
        (white, black, game)
    }

    pub(super) async fn create(&self, white: &Player, more: &Value) -> Value {
        let mut wanted = json!({
            "ruleset": "fog-chess", "clock": null, "seat": "white", "visibility": "public",
            "rated": false,
        });
        for (name, value) in more.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        let (status, body) = self
            .call("POST", "/v1/games", Some(&white.token), &wanted)
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["game"].clone()
    }

    pub(super) async fn join(&self, black: &Player, game: &str) {
        let path = format!("/v1/games/{game}/join");
        let (status, body) = self
            .call("POST", &path, Some(&black.token), &Value::Null)
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Acts over HTTP, and gives the answer.
    pub(super) async fn act(&self, player: &Player, game: &str, action: &Value) -> Value {
        let path = format!("/v1/games/{game}/commands");
        let body = json!({"command_id": CommandId::generate(), "action": action});
        let (status, answer) = self.call("POST", &path, Some(&player.token), &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    pub(super) async fn moves(&self, player: &Player, game: &str, uci: &str) -> Value {
        self.act(player, game, &json!({"type": "move", "uci": uci}))
            .await
    }

    pub(super) async fn socket(&self, player: Option<&Player>) -> Socket {
        let mut request = format!("ws://{}/v1/ws", self.address)
            .into_client_request()
            .unwrap();
        if let Some(player) = player {
            let value = format!("Bearer {}", player.token).parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut socket = Socket::new(socket);
        let welcome = socket.next().await;
        assert_eq!(welcome["type"], "welcome");
        assert!(welcome["now_ms"].as_i64().unwrap() > 1_700_000_000_000);
        socket
    }

    /// A connection with little room for what is not read from it.
    async fn narrow_connection(&self) -> TcpStream {
        let tcp = tokio::net::TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        tcp.connect(self.address).await.unwrap()
    }

    /// A stream whose client has asked for it and does not read.
    pub(super) async fn deaf_stream(&self, path: &str) -> TcpStream {
        let mut stream = self.narrow_connection().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// A socket whose client does not read.
    pub(super) async fn deaf_socket(&self) -> Socket {
        let stream = self.narrow_connection().await;
        let url = format!("ws://{}/v1/ws", self.address);
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Socket::new(socket)
    }

    pub(super) async fn raw_connect(&self, token: &str) -> Result<(), tungstenite::Error> {
        let mut request = format!("ws://{}/v1/ws", self.address)
            .into_client_request()
            .unwrap();
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        tokio_tungstenite::connect_async(request).await.map(drop)
    }
}

/// A player's credentials.
pub(super) struct Player {
    pub(super) token: String,
}

/// Does what relays do, but for what a test leaves out: publishes the rows whose number `chosen`
/// says yes to, and takes all of them out. Gives how many there were.
pub(super) async fn relay(
    pool: &PgPool,
    nats: &NatsServer,
    chosen: impl Fn(usize) -> bool,
) -> usize {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("select subject, payload::text, id from outbox_events order by id")
            .fetch_all(pool)
            .await
            .unwrap();
    let count = rows.len();
    for (number, (subject, payload, id)) in rows.into_iter().enumerate() {
        if chosen(number) {
            client.publish(subject, payload.into()).await.unwrap();
        }
        sqlx::query("delete from outbox_events where id = $1")
            .bind(id)
            .execute(pool)
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    count
}

/// A client of one socket.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    refs: u32,
    /// What came about who is there, which comes at any time, passed over by those who wait for
    /// something else.
    presence: Vec<Value>,
}

impl Socket {
    fn new(stream: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self {
            stream,
            refs: 0,
            presence: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(super) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// Sends a message under a fresh `ref`, which is given back.
    pub(super) async fn ask(&mut self, mut message: Value) -> String {
        self.refs += 1;
        let reference = format!("r{}", self.refs);
        message["ref"] = json!(reference);
        self.send(&message).await;
        reference
    }

    /// Closes the socket as a client does that is done.
    pub(super) async fn close(&mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "done".into(),
        };
        let close = Message::Close(Some(frame));
        self.stream.send(close).await.unwrap();
    }

    /// What came about who is there since the last call, up to what `wanted` says yes to.
    pub(super) async fn presence(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
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
    pub(super) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(value) => value,
            Err(close) => panic!("the socket was closed: {close:?}"),
        }
    }

    pub(super) async fn next_or_close(&mut self) -> Result<Value, Option<CloseFrame>> {
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
    pub(super) async fn up_to(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next().await);
            if messages.last().is_some_and(&wanted) {
                return messages;
            }
        }
    }

    /// The answer under a `ref`; frames that come before it are passed over.
    pub(super) async fn answer(&mut self, reference: &str) -> Value {
        self.up_to(|message| message["ref"] == reference)
            .await
            .pop()
            .unwrap()
    }

    pub(super) async fn subscribe(&mut self, game: &str, cursor: Option<&str>) -> Value {
        let mut message = json!({"type": "subscribe", "topic": format!("game:{game}")});
        if let Some(cursor) = cursor {
            message["cursor"] = json!(cursor);
        }
        let reference = self.ask(message).await;
        self.answer(&reference).await
    }

    pub(super) async fn command(&mut self, game: &str, action: &Value) -> Value {
        let reference = self
            .ask(json!({
                "type": "command", "game": game, "command_id": CommandId::generate(),
                "action": action,
            }))
            .await;
        self.answer(&reference).await
    }

    /// Asserts that the socket still answers.
    pub(super) async fn is_usable(&mut self) {
        let reference = self.ask(json!({"type": "ping"})).await;
        assert_eq!(self.answer(&reference).await["type"], "pong");
    }

    /// The next frames, `count` of them, and nothing else between them.
    pub(super) async fn frames(&mut self, count: usize) -> Vec<Value> {
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

/// The numbers of frames.
pub(super) fn numbers(frames: &[Value]) -> Vec<i64> {
    frames
        .iter()
        .map(|frame| frame["n"].as_i64().unwrap())
        .collect()
}

/// The kinds of the events of frames.
pub(super) fn kinds(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .map(|frame| frame["event"]["kind"].as_str().unwrap())
        .collect()
}
