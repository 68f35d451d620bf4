//! The two ports as a client sees them: bound to real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use game_api::app::App;
use game_api::nats::Nats;
use game_api::players::credentials::wall_clock;
use game_api::{Listeners, serve};
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::harness::{config, unreachable_pool};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Ports {
    public: SocketAddr,
    ops: SocketAddr,
    life: Lifecycle,
}

async fn start(pool: PgPool, variables: &[(&str, &str)]) -> Ports {
    let (config, life) = (config(variables), Lifecycle::new());
    let nats = Nats::connect(&config.nats, "test").await.unwrap();
    let app = App::build(config, pool, nats, wall_clock(), &life).unwrap();
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = Ports {
        public: public.local_addr().unwrap(),
        ops: ops.local_addr().unwrap(),
        life,
    };
    serve(app, Listeners { public, ops });
    ports
}

/// Drains, and must need no hard stop for it.
async fn end(ports: &Ports) {
    let drained = ports.life.finish(PATIENCE * 10);
    timeout(PATIENCE, drained).await.unwrap().unwrap();
}

/// The whole answer to one request on a connection of its own.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    read_all(&mut stream).await
}

/// All that comes until the other side closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.expect("the connection stays open").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Asks until the answer has this status.
async fn wait_for(address: SocketAddr, path: &str, status: &str) -> String {
    let asked = async {
        loop {
            let answer = get(address, path).await;
            if answer.starts_with(&format!("HTTP/1.1 {status}")) {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| panic!("{path} never was {status}"))
}

#[sqlx::test(migrations = "../migrations")]
async fn it_starts_without_nats_and_is_ready_when_the_database_has_answered(pool: PgPool) {
    let ports = start(pool, &[]).await;
    wait_for(ports.ops, "/readyz", "200").await;
    assert!(get(ports.ops, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(ports.ops, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(
        get(ports.public, "/health")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let metrics = get(ports.ops, "/metrics").await;
    assert!(
        metrics.contains(
            "http_request_duration_seconds_count{method=\"GET\",route=\"/health\",status=\"200\"} 1"
        ),
        "{metrics}"
    );
    assert!(metrics.contains("game_commands_total{action=\"move\",outcome=\"stale\"} 0"));
    end(&ports).await;
}

#[sqlx::test(migrations = false)]
async fn without_migrations_it_is_not_ready_and_says_what_to_do(pool: PgPool) {
    let ports = start(pool.clone(), &[]).await;
    let told = async {
        while !get(ports.ops, "/readyz").await.contains("game-api migrate") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    game_api::database::MIGRATIONS.run(&pool).await.unwrap();
    wait_for(ports.ops, "/readyz", "200").await;
}

#[tokio::test]
async fn without_a_database_it_is_alive_and_not_ready() {
    let ports = start(unreachable_pool(), &[]).await;
    assert!(get(ports.ops, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(ports.ops, "/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(
        get(ports.public, "/health")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_client_that_sends_no_head_is_closed() {
    let ports = start(unreachable_pool(), &[]).await;
    let mut silent = TcpStream::connect(ports.public).await.unwrap();
    let mut slow = TcpStream::connect(ports.public).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nx: ")
        .await
        .unwrap();
    for late in [&mut silent, &mut slow] {
        let answer = read_all(late).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("\"reason\":\"invalid\""), "{answer}");
    }
    let metrics = get(ports.ops, "/metrics").await;
    assert!(
        metrics.contains("gateway_rejected_total{reason=\"invalid\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused() {
    let ports = start(unreachable_pool(), &[]).await;
    let mut stream = TcpStream::connect(ports.public).await.unwrap();
    let head = format!(
        "GET /health HTTP/1.1\r\nhost: a\r\nx: {}",
        "x".repeat(20_000)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_megabyte_gets_its_answer_before_the_connection_ends() {
    let ports = start(unreachable_pool(), &[]).await;
    let mut stream = TcpStream::connect(ports.public).await.unwrap();
    let body = vec![b'x'; 1_000_000];
    let head = format!(
        "POST /v1/players HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"reason\":\"too_large\""), "{answer}");
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_for_a_place() {
    let ports = start(unreachable_pool(), &[("CONNECTIONS_MAX", "10")]).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(ports.public).await.unwrap();
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        open.push(stream);
    }
    let mut waiting = TcpStream::connect(ports.public).await.unwrap();
    waiting
        .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0; 1];
    let early = timeout(Duration::from_millis(100), waiting.read(&mut byte)).await;
    assert!(early.is_err(), "served although all places were taken");
    open.pop();
    assert!(read_all(&mut waiting).await.starts_with("HTTP/1.1 200"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_drain_turns_readiness_off_takes_no_connection_and_ends_idle_ones(pool: PgPool) {
    let ports = start(pool, &[]).await;
    wait_for(ports.ops, "/readyz", "200").await;
    let mut idle = TcpStream::connect(ports.public).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    ports.life.drain();
    wait_for(ports.ops, "/readyz", "503").await;
    read_all(&mut idle).await;
    end(&ports).await;
    assert!(TcpStream::connect(ports.public).await.is_err());
    // Scrapes and probes still get their answer.
    assert!(get(ports.ops, "/livez").await.starts_with("HTTP/1.1 200"));
}
