//! One instance of the service in this process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use game_api::app::App;
use game_api::config::Config;
use game_api::nats::Nats;
use game_api::players::credentials::wall_clock;
use game_api::{Listeners, router};
use serde_json::{Value, json};
use shared::ids::CommandId;
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tower::ServiceExt;

use super::{NatsServer, PATIENCE, Socket, until};
use crate::harness::KEY;

/// One instance of the service.
pub(in crate::gateway) struct Instance {
    pub(in crate::gateway) app: Arc<App>,
    router: Router,
    address: SocketAddr,
    life: Lifecycle,
}

impl Instance {
    pub(in crate::gateway) async fn start(
        pool: &PgPool,
        nats: &NatsServer,
        more: &[(&str, &str)],
    ) -> Self {
        let url = nats.url();
        let own = [
            ("DATABASE_URL", "postgres://unused@127.0.0.1/unused"),
            ("NATS_URL", url.as_str()),
            ("FOGLINE_KEYS", KEY),
            // A test that waits for a hole to be repaired says so; elsewhere it would hide faults.
            ("GATEWAY_RECONCILE_MS", "60000"),
            // No test waits at its end for clients that have not gone.
            ("GATEWAY_RECONNECT_SPREAD_MS", "0"),
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
    pub(in crate::gateway) async fn connected(&self, up: bool) {
        let mut connected = self.app.nats.connected();
        timeout(PATIENCE, connected.wait_for(|now| *now == up))
            .await
            .unwrap()
            .unwrap();
    }

    /// How many connections ended for this reason.
    pub(in crate::gateway) fn disconnects(&self, reason: &str) -> u64 {
        let disconnects = &self.app.metrics.gateway_disconnects_total;
        disconnects.with_label_values(&[reason]).get()
    }

    /// How many connections and messages were refused for this reason.
    pub(in crate::gateway) fn rejections(&self, reason: &str) -> u64 {
        let rejections = &self.app.metrics.gateway_rejected_total;
        rejections.with_label_values(&[reason]).get()
    }

    pub(in crate::gateway) fn drain(&self) {
        self.life.drain();
    }

    /// Ends the instance, and asserts that it ends by itself.
    pub(in crate::gateway) async fn stop(self) {
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

    pub(in crate::gateway) async fn call(
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

    pub(in crate::gateway) async fn get(
        &self,
        path: &str,
        token: Option<&str>,
    ) -> (StatusCode, Value) {
        self.call("GET", path, token, &Value::Null).await
    }

    /// The body of an endless answer, as it comes.
    pub(in crate::gateway) async fn stream(
        &self,
        path: &str,
        last_event_id: Option<&str>,
    ) -> axum::body::BodyDataStream {
        self.stream_of(None, path, last_event_id).await
    }

    /// The same for a player.
    pub(in crate::gateway) async fn stream_of(
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

    pub(in crate::gateway) async fn register(&self) -> Player {
        let (status, body) = self
            .call("POST", "/v1/players", None, &json!({"name": "Ann"}))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Player {
            id: text(&body["player"]["id"]),
            token: text(&body["access_token"]),
        }
    }

    /// A game that has begun, and its players.
    pub(in crate::gateway) async fn game(&self, more: &Value) -> (Player, Player, String) {
        let (white, black) = (self.register().await, self.register().await);
        let game = self.create(&white, more).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        self.join(&black, &game).await;
        (white, black, game)
    }

    pub(in crate::gateway) async fn create(&self, white: &Player, more: &Value) -> Value {
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

    pub(in crate::gateway) async fn join(&self, black: &Player, game: &str) {
        let path = format!("/v1/games/{game}/join");
        let (status, body) = self
            .call("POST", &path, Some(&black.token), &Value::Null)
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Acts over HTTP, and gives the answer.
    pub(in crate::gateway) async fn act(
        &self,
        player: &Player,
        game: &str,
        action: &Value,
    ) -> Value {
        let path = format!("/v1/games/{game}/commands");
        let body = json!({"command_id": CommandId::generate(), "action": action});
        let (status, answer) = self.call("POST", &path, Some(&player.token), &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    pub(in crate::gateway) async fn moves(&self, player: &Player, game: &str, uci: &str) -> Value {
        self.act(player, game, &json!({"type": "move", "uci": uci}))
            .await
    }

    pub(in crate::gateway) async fn socket(&self, player: Option<&Player>) -> Socket {
        let mut socket = Socket::open(self.address, player).await;
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
    pub(in crate::gateway) async fn deaf_stream(&self, path: &str) -> TcpStream {
        let mut stream = self.narrow_connection().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// A socket whose client does not read.
    pub(in crate::gateway) async fn deaf_socket(&self) -> Socket {
        let stream = self.narrow_connection().await;
        let url = format!("ws://{}/v1/ws", self.address);
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Socket::new(socket)
    }

    pub(in crate::gateway) async fn raw_connect(
        &self,
        token: &str,
    ) -> Result<(), tungstenite::Error> {
        let bearer = format!("Bearer {token}");
        self.handshake("", &[("authorization", &bearer)])
            .await
            .map(drop)
    }

    /// Opens a socket with this query and these headers.
    pub(in crate::gateway) async fn handshake(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}/v1/ws{query}", self.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Socket::new(socket))
    }

    /// Where it is reached.
    pub(in crate::gateway) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A player's credentials.
pub(in crate::gateway) struct Player {
    pub(in crate::gateway) id: String,
    pub(in crate::gateway) token: String,
}
