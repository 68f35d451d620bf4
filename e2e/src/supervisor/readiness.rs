//! When a child is ready: a condition that is asked for, never a time that is waited.

use std::net::SocketAddr;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// A question without an answer for so long counts as "not ready".
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// What must hold before a child counts as ready.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// Postgres answers a query at this URL.
    Postgres(String),
    /// A nats-server greets, and has JetStream.
    Nats(SocketAddr),
    /// `GET` of this URL answers 200.
    Answers(String),
    /// `GET /readyz` on this ops address answers 200.
    Readyz(SocketAddr),
}

impl Readiness {
    /// Waits until the condition holds. Cancel safe; the caller sets the deadline.
    pub async fn wait(&self) {
        loop {
            if tokio::time::timeout(ANSWER_DEADLINE, self.holds()).await == Ok(true) {
                return;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn holds(&self) -> bool {
        match self {
            Self::Postgres(url) => postgres_answers(url).await,
            Self::Nats(address) => nats_greets(*address).await,
            Self::Answers(url) => answers(url).await,
            Self::Readyz(address) => answers(&format!("http://{address}/readyz")).await,
        }
    }
}

async fn answers(url: &str) -> bool {
    reqwest::get(url)
        .await
        .is_ok_and(|response| response.status().is_success())
}

async fn postgres_answers(url: &str) -> bool {
    let Ok(options) = url.parse::<sqlx::postgres::PgConnectOptions>() else {
        return false;
    };
    let Ok(mut connection) = options.connect().await else {
        return false;
    };
    let answers = sqlx::query("select 1")
        .execute(&mut connection)
        .await
        .is_ok();
    answers && connection.close().await.is_ok()
}

/// A nats-server speaks first: `INFO {…}`, with what it can do.
async fn nats_greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let mut greeting = Vec::with_capacity(1024);
    while !greeting.ends_with(b"\n") && greeting.len() < 8192 {
        if stream.read_buf(&mut greeting).await.unwrap_or(0) == 0 {
            break;
        }
    }
    let greeting = String::from_utf8_lossy(&greeting);
    greeting.starts_with("INFO ") && greeting.contains("\"jetstream\":true")
}
