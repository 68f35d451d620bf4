//! NATS: hints to the relays by its client, and live events over a connection of our own. The service
//! starts and works without it, slower.

mod dial;
mod events;
mod protocol;
mod servers;

use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions, Event, ServerAddr};
use secrecy::ExposeSecret;
use shared::env::unescaped;
use tokio::sync::watch;

use crate::config::NatsConfig;
use dial::Identity;
pub use events::{Events, Listener};
pub use protocol::Delivered;

/// A server that answers no ping is given up after the third.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// To a server that accepts and says nothing.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Between attempts; short, since reconciliation polls the database in the meantime.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

/// Both connections.
#[derive(Clone, Debug)]
pub struct Nats {
    /// The client, for hints. It reconnects for ever.
    pub client: Client,
    /// The events of the games that are watched here.
    pub events: Events,
}

impl Nats {
    /// Starts to connect the client, and goes on until it does. Events are connected when they are
    /// [started](Events::start).
    ///
    /// # Errors
    /// Settings that the client refuses; never that no server is there.
    pub async fn connect(config: &NatsConfig, instance: &str) -> Result<Self, ConnectError> {
        let servers: Vec<ServerAddr> = config
            .url
            .expose_secret()
            .split(',')
            .filter_map(|text| text.trim().parse().ok())
            .collect();
        // The client itself passes over credentials in a URL.
        let credentials = credentials(&servers);
        let options = match credentials.clone() {
            Some((user, password)) => ConnectOptions::with_user_and_password(user, password),
            None => ConnectOptions::new(),
        };
        let identity = Identity {
            name: format!("game-api {instance} events"),
            credentials,
        };
        let events = Events::new(servers.clone(), identity);
        let client = options
            .name(format!("game-api {instance}"))
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECTION_TIMEOUT)
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(50)
                    .saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX))
                    .min(RECONNECT_DELAY_MAX)
            })
            .retry_on_initial_connect()
            .event_callback(|event| {
                note(&event);
                std::future::ready(())
            })
            .connect(servers)
            .await?;
        Ok(Self { client, events })
    }

    /// Whether events come right now. Changes wake whoever watches.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.events.connected()
    }
}

/// User and password of the first server that has them, as they were before they were written into
/// a URL, where some characters must be escaped.
fn credentials(servers: &[ServerAddr]) -> Option<(String, String)> {
    servers.iter().find_map(|server| {
        let password = server.password().unwrap_or_default();
        Some((unescaped(server.username()?), unescaped(password)))
    })
}

/// What becomes of the connection is told by that of the events.
fn note(event: &Event) {
    match event {
        Event::Connected | Event::Disconnected | Event::Closed | Event::ClientError(_) => {
            tracing::debug!(event = %event, "the connection for hints");
        }
        other => tracing::warn!(event = %other, "the connection to NATS for hints"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_the_first_server_that_has_them_and_not_escaped() {
        let of = |urls: &[&str]| {
            let servers: Vec<ServerAddr> = urls.iter().map(|url| url.parse().unwrap()).collect();
            credentials(&servers)
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of(&["a", "nats://b"]), None);
        assert_eq!(of(&["a", "nats://u:p@b", "nats://v:q@c"]), pair("u", "p"));
        assert_eq!(of(&["nats://u%40x:p%3A%2Fs%25@a"]), pair("u@x", "p:/s%"));
        // What a URL cannot hold is escaped when it is read.
        assert_eq!(of(&["nats://u:p^{ä}@a"]), pair("u", "p^{ä}"));
        assert_eq!(of(&["nats://u@a"]), pair("u", ""));
    }
}
