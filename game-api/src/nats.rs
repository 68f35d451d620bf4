//! The connection to NATS: hints and live events. The service starts and works without it, slower.

use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions, Event, ServerAddr};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use crate::config::NatsConfig;

/// A server that answers no ping is given up after the third: within 3 to 4 s of freezing, where
/// five are allowed.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// To a server that accepts and says nothing.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Between attempts; short, since reconciliation polls the database in the meantime.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// Messages that may wait for one subscription; beyond it the client drops, and what is missed is
/// found by sequence number.
const SUBSCRIPTION_CAPACITY: usize = 4096;

/// A client that reconnects for ever, and whether it is connected.
#[derive(Clone, Debug)]
pub struct Nats {
    /// The client.
    pub client: Client,
    /// Whether it is connected right now. Changes wake whoever watches.
    pub connected: watch::Receiver<bool>,
}

impl Nats {
    /// Starts to connect, and goes on until it does.
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
        let (sender, connected) = watch::channel(false);
        // The client itself passes over credentials in a URL.
        let credentials = servers.iter().find_map(|server| {
            Some((server.username()?.to_owned(), server.password()?.to_owned()))
        });
        let options = match credentials {
            Some((user, password)) => ConnectOptions::with_user_and_password(user, password),
            None => ConnectOptions::new(),
        };
        let client = options
            .name(format!("game-api {instance}"))
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECTION_TIMEOUT)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(50)
                    .saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX))
                    .min(RECONNECT_DELAY_MAX)
            })
            .retry_on_initial_connect()
            .event_callback(move |event| {
                note(&event, &sender);
                std::future::ready(())
            })
            .connect(servers)
            .await?;
        Ok(Self { client, connected })
    }
}

fn note(event: &Event, connected: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            connected.send_replace(true);
        }
        Event::Disconnected => {
            tracing::warn!("NATS is away; clients are served from the database");
            connected.send_replace(false);
        }
        // This instance ends.
        Event::Closed => drop(connected.send_replace(false)),
        // Also every failed attempt to reconnect.
        Event::ClientError(error) => tracing::debug!(%error, "NATS"),
        other => tracing::warn!(event = %other, "NATS"),
    }
}
