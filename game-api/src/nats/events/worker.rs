//! One server after the other, for as long as somebody may subscribe.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_nats::ServerAddr;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::connection::{Connection, PING_EVERY, UNANSWERED_MAX};
use super::{Listener, Missed, Wish};
use crate::database::chain;
use crate::nats::dial::{Dialled, Identity, dial};
use crate::nats::protocol::Malformed;
use crate::nats::servers::Servers;

/// Between attempts to connect; short, since reconciliation polls the database in the meantime.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// By so much the delay grows with each attempt.
const RECONNECT_DELAY_STEP: Duration = Duration::from_millis(50);
/// A connection that ends sooner, or before all subscriptions stand, was of no use. It counts as one
/// more attempt, since each costs the server and its neighbours all subscriptions, and its server is
/// tried last. It is more than it takes to give up a server that answers no ping.
const BRIEF: Duration = Duration::from_secs(10);
const _: () = assert!(BRIEF.as_secs() > UNANSWERED_MAX.as_secs() + PING_EVERY.as_secs());

/// What keeps the connection.
pub(super) struct Worker {
    pub(super) servers: Servers,
    pub(super) identity: Identity,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) connected: watch::Sender<bool>,
    pub(super) received: Arc<AtomicU64>,
    pub(super) missed: Missed,
    /// Attempts to connect since the last connection that was worth it.
    pub(super) attempts: u32,
    /// That there is no server has been said.
    pub(super) said: bool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndError {
    #[error("nobody is left who could subscribe")]
    Unwanted,
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("the server took nothing in time")]
    Stalled(#[from] tokio::time::error::Elapsed),
    #[error("nothing was heard of the server in time")]
    Silent,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Worker {
    pub(super) async fn run(mut self, listener: &impl Listener) {
        loop {
            let Some((server, dialled)) = self.dial().await else {
                return;
            };
            let begun = Instant::now();
            let end = match Connection::open(dialled, listener).await {
                Ok(mut connection) => connection.serve(&mut self, listener).await,
                Err(error) => error,
            };
            let all_stood = self.connected.send_replace(false);
            if matches!(end, EndError::Unwanted) {
                return;
            }
            if all_stood && begun.elapsed() >= BRIEF {
                self.attempts = 0;
                self.servers.lasted(server);
            } else {
                self.servers.failed(server);
            }
            self.say_away(&end);
        }
    }

    /// Tries one server after the other until one lets this client in; none when nobody is left
    /// who could subscribe.
    async fn dial(&mut self) -> Option<(ServerAddr, Dialled)> {
        loop {
            for server in self.servers.in_turn() {
                let delay = RECONNECT_DELAY_STEP.saturating_mul(self.attempts);
                self.meanwhile(sleep(delay.min(RECONNECT_DELAY_MAX)))
                    .await?;
                self.attempts = self.attempts.saturating_add(1);
                let identity = self.identity.clone();
                match self.meanwhile(dial(&server, &identity)).await? {
                    Ok(dialled) => {
                        self.servers.name(&dialled.neighbours, dialled.encrypted);
                        return Some((server, dialled));
                    }
                    Err(error) => self.say_away(&error),
                }
            }
        }
    }

    /// Says that there is no server, once until there is one.
    fn say_away(&mut self, error: &(dyn std::error::Error + 'static)) {
        let error = chain(error);
        if std::mem::replace(&mut self.said, true) {
            tracing::debug!(error, "NATS is still away");
        } else {
            tracing::warn!(error, "NATS is away; clients are served from the database");
        }
    }

    /// Waits; wishes are granted by the next connection, which asks for all that is watched. None
    /// when nobody is left who could wish.
    async fn meanwhile<T>(&mut self, done: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(done);
        loop {
            tokio::select! {
                out = &mut done => return Some(out),
                wish = self.wishes.recv() => drop(wish?),
            }
        }
    }
}
