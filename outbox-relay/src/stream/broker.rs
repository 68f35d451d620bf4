//! The connection to the broker: made in the background, kept for ever, watched.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::error::BrokerError;
use crate::config::BrokerConfig;
use crate::pause::backoff;

/// The first pause between attempts to reach the broker.
const RECONNECT_MIN: Duration = Duration::from_millis(20);
/// The longest: a broker that is back is found within a second.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// Between pings; two unanswered ones end the connection, so a frozen broker is given up in time.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// `JetStream`'s API, without a domain.
const API: &str = "$JS.API";

/// How the connection is. The number rises with each change, so that none is missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it stands.
    pub up: bool,
    /// How often it has changed.
    pub changes: u64,
}

/// The connection.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The client; it reconnects by itself.
    pub client: Client,
    /// Whether it is connected.
    pub link: watch::Receiver<Link>,
    answer_timeout: Duration,
}

impl Broker {
    /// Connects in the background: this returns at once, also while no server is there.
    ///
    /// # Errors
    /// Credentials or addresses that cannot be used.
    pub async fn connect(config: &BrokerConfig, name: &str) -> Result<Self, BrokerError> {
        let (sender, link) = watch::channel(Link::default());
        let mut options = ConnectOptions::new()
            .name(name)
            .retry_on_initial_connect()
            .ping_interval(PING_INTERVAL)
            .request_timeout(Some(config.answer_timeout))
            .reconnect_delay_callback(|attempt| {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                backoff(attempt, RECONNECT_MIN, RECONNECT_MAX, rand::random())
            })
            .event_callback(move |event| {
                observe(&sender, &event);
                std::future::ready(())
            });
        if let Some((user, password)) = &config.credentials {
            options = options.user_and_password(user.clone(), password.expose_secret().to_owned());
        }
        let client = options
            .connect(&config.servers[..])
            .await
            .map_err(|error| BrokerError::Away(error.to_string()))?;
        Ok(Self {
            client,
            link,
            answer_timeout: config.answer_timeout,
        })
    }

    /// How long to wait for an answer.
    #[must_use]
    pub fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// Asks `JetStream`'s API.
    ///
    /// # Errors
    /// No answer, a refusal, or one that cannot be read.
    pub async fn ask<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        what: &str,
        question: &Q,
    ) -> Result<A, BrokerError> {
        if !self.link.borrow().up {
            return Err(BrokerError::Away("not connected".to_owned()));
        }
        let question = serde_json::to_vec(question)
            .map_err(|error| BrokerError::Malformed(error.to_string()))?;
        let answer = self
            .client
            .request(format!("{API}.{what}"), question.into())
            .await
            .map_err(|error| BrokerError::Away(error.to_string()))?;
        read_answer(&answer.payload)
    }
}

/// The server's `error` member, in any of its JSON answers.
#[derive(Debug, serde::Deserialize)]
pub struct ApiError {
    /// Its number for the refusal.
    #[serde(default)]
    pub err_code: u64,
    /// Its words.
    #[serde(default)]
    pub description: String,
}

/// "stream not found" and "no message found".
const NO_STREAM: u64 = 10059;

fn read_answer<A: DeserializeOwned>(payload: &[u8]) -> Result<A, BrokerError> {
    #[derive(serde::Deserialize)]
    struct Refused {
        error: ApiError,
    }
    if let Ok(Refused { error }) = serde_json::from_slice(payload) {
        return Err(match error.err_code {
            NO_STREAM => BrokerError::NoStream,
            code => BrokerError::Refused {
                code,
                text: error.description,
            },
        });
    }
    serde_json::from_slice(payload).map_err(|error| BrokerError::Malformed(error.to_string()))
}

fn observe(link: &watch::Sender<Link>, event: &Event) {
    let up = match event {
        Event::Connected => true,
        Event::Disconnected | Event::Closed => false,
        Event::ServerError(error) => {
            tracing::warn!(%error, "the broker reports an error");
            return;
        }
        other => {
            tracing::debug!(event = %other, "the broker's connection reports");
            return;
        }
    };
    if link.borrow().up != up {
        if up {
            tracing::info!("connected to the broker");
        } else {
            tracing::warn!("the connection to the broker is lost");
        }
    }
    link.send_modify(|link| {
        link.up = up;
        link.changes += 1;
    });
}
