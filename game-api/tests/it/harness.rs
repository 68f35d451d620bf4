//! One instance in this process: the real router on a database of the test's own, without NATS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use game_api::app::App;
use game_api::config::Config;
use game_api::nats::Nats;
use game_api::router::router;
use serde_json::Value;
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt as _;

/// A key for tests; the second one is for instances with another list.
pub(crate) const KEY: &str = "one:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(crate) const OTHER_KEY: &str = "two:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// Where the test's clock begins, seconds since 1970.
const START_S: u64 = 1_800_000_000;

/// Configuration with these variables on top of what is required.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    let required = [
        ("DATABASE_URL", "postgres://unused@127.0.0.1:1/unused"),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("FOGLINE_KEYS", KEY),
    ];
    let all: HashMap<String, String> = required
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_env(&all).unwrap()
}

/// An instance under test.
pub(crate) struct Instance {
    pub(crate) app: Arc<App>,
    router: Router,
    clock_s: Arc<AtomicU64>,
}

/// What a call was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The reason of a problem, checked to be one in every respect.
    pub(crate) fn reason(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem["reason"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A call to be made.
pub(crate) struct Call<'a> {
    instance: &'a Instance,
    request: axum::http::request::Builder,
    body: Body,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut request = self.request.body(self.body).unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.instance.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, 1 << 20).await.unwrap().to_vec(),
        };
        // Whatever is asked, the answer can be traced.
        let traceparent = answer.header("traceparent");
        assert!(
            shared::telemetry::TraceContext::parse(traceparent, None).is_some(),
            "traceparent {traceparent:?}"
        );
        answer
    }
}

impl Instance {
    /// An instance on this database.
    pub(crate) async fn on(pool: PgPool, variables: &[(&str, &str)]) -> Self {
        let (config, life) = (config(variables), Lifecycle::new());
        let nats = Nats::connect(&config.nats, "test").await.unwrap();
        let clock_s = Arc::new(AtomicU64::new(START_S));
        let clock = {
            let clock_s = clock_s.clone();
            Arc::new(move || clock_s.load(Ordering::Relaxed))
        };
        let app = App::build(config, pool, nats, clock, &life).unwrap();
        Self {
            router: router(app.clone()),
            app,
            clock_s,
        }
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "play.example.org");
        Call {
            instance: self,
            request,
            body: Body::empty(),
        }
    }

    /// Lets the wall clock of credentials run ahead.
    pub(crate) fn pass_s(&self, seconds: u64) {
        self.clock_s.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A new player: id, access token, secret, cookie pair.
    pub(crate) async fn register(&self, name: &str) -> Player {
        let answer = self
            .call("POST", "/v1/players")
            .json(&serde_json::json!({ "name": name }))
            .send()
            .await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let body = answer.json();
        let text = |member: &str| body[member].as_str().unwrap().to_owned();
        let cookie = answer.header("set-cookie").split(';').next().unwrap();
        Player {
            id: body["player"]["id"].as_str().unwrap().to_owned(),
            token: text("access_token"),
            secret: text("secret"),
            cookie: cookie.to_owned(),
        }
    }
}

/// A registered player.
pub(crate) struct Player {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) secret: String,
    pub(crate) cookie: String,
}

/// A pool to a port where nobody listens, which gives up soon.
pub(crate) fn unreachable_pool() -> PgPool {
    PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(100))
        .connect_lazy("postgres://nobody@127.0.0.1:1/nothing")
        .unwrap()
}
