//! Whether the broker has flushed what it acknowledges, as its monitoring address shows it.
//!
//! No answer on a client's connection says it: neither the server's greeting nor the stream's
//! settings. `/varz` does (seen on 2.15.1): `jetstream.config.sync_always` is there and true with
//! `sync_interval: always`, and else `sync_interval` is the time between two flushes in ns.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::settings::Unfit;
use crate::config::FsyncConfig;
use crate::error::chain;

/// An answer has some 5 KB and comes from the server's memory.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Bytes of an answer at most, far more than a server with many routes says.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a monitoring address shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Flushing {
    /// Before it acknowledges.
    Always,
    /// So long after it has acknowledged, at most; the server's name and address.
    Late(String, Duration),
    /// Nothing, and why.
    Unseen(String),
}

/// Looks at it, once a connection.
#[derive(Debug)]
pub struct FsyncCheck {
    config: FsyncConfig,
    client: Client,
    /// The connection under which it was last looked at.
    looked_at: Option<u64>,
    /// Every server was seen, and the relay has gone on: it does not end for this any more.
    passed: bool,
}

impl FsyncCheck {
    /// A check that has not looked yet.
    ///
    /// # Errors
    /// There can be no HTTP client.
    pub fn new(config: FsyncConfig) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            config,
            client,
            looked_at: None,
            passed: false,
        })
    }

    /// Looks, if it has not under this connection: a server is restarted to change it. Says in one
    /// log line what is not as it should be, or cannot be seen.
    ///
    /// # Errors
    /// A server flushes late, which is not allowed, and the relay has not begun its work.
    pub async fn look(&mut self, connection: u64) -> Result<(), Unfit> {
        if self.looked_at == Some(connection) {
            return Ok(());
        }
        let seen = join_all(
            self.config
                .monitors
                .iter()
                .map(|url| ask(&self.client, url)),
        )
        .await;
        self.looked_at = Some(connection);
        let late = seen.iter().find_map(|flushing| match flushing {
            Flushing::Late(server, every) => Some((server.clone(), *every)),
            _ => None,
        });
        if let Some((server, every)) = late {
            let unfit = Unfit::LazyFsync { server, every };
            if !self.config.allow_lazy && !self.passed {
                return Err(unfit);
            }
            tracing::warn!("going on, although {unfit}");
        }
        let unseen: Vec<&str> = seen
            .iter()
            .filter_map(|flushing| match flushing {
                Flushing::Unseen(why) => Some(why.as_str()),
                _ => None,
            })
            .collect();
        if self.config.monitors.is_empty() {
            tracing::warn!(
                "whether nats-server flushes before it acknowledges cannot be seen: \
                 OUTBOX_NATS_MONITOR_URL is not set"
            );
        } else if unseen.is_empty() {
            self.passed = true;
        } else {
            tracing::warn!(
                "whether nats-server flushes before it acknowledges cannot be seen: {}",
                unseen.join("; ")
            );
        }
        Ok(())
    }
}

async fn ask(client: &Client, monitor: &Url) -> Flushing {
    match read(client, monitor).await {
        Ok(answer) => read_answer(&answer, monitor),
        Err(error) => Flushing::Unseen(chain(&error)),
    }
}

async fn read(client: &Client, monitor: &Url) -> Result<Vec<u8>, reqwest::Error> {
    let url = format!("{}/varz", monitor.as_str().trim_end_matches('/'));
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        answer.extend_from_slice(&chunk);
        if answer.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(answer)
}

fn read_answer(answer: &[u8], monitor: &Url) -> Flushing {
    #[derive(Deserialize)]
    struct Varz {
        server_name: String,
        jetstream: JetStream,
    }
    #[derive(Deserialize)]
    struct JetStream {
        config: Option<Store>,
    }
    #[derive(Deserialize)]
    struct Store {
        #[serde(default)]
        sync_always: bool,
        sync_interval: Option<u64>,
    }
    let Ok(varz) = serde_json::from_slice::<Varz>(answer) else {
        return Flushing::Unseen(format!("{monitor} does not answer as nats-server does"));
    };
    match varz.jetstream.config {
        None => Flushing::Unseen(format!("{monitor} has no JetStream")),
        Some(Store {
            sync_always: true, ..
        }) => Flushing::Always,
        Some(Store {
            sync_interval: Some(nanos),
            ..
        }) => {
            let server = format!("{} ({monitor})", varz.server_name);
            Flushing::Late(server, Duration::from_nanos(nanos))
        }
        Some(_) => Flushing::Unseen(format!("{monitor} does not show sync_interval")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(answer: &str) -> Flushing {
        read_answer(answer.as_bytes(), &"http://nats:8222".parse().unwrap())
    }

    #[test]
    fn what_the_server_shows_is_told_apart() {
        // Shortened answers of 2.15.1.
        let always = r#"{"server_name":"a","jetstream":{"config":
            {"store_dir":"/data/jetstream","sync_interval":120000000000,"sync_always":true}}}"#;
        assert_eq!(seen(always), Flushing::Always);
        let default = r#"{"server_name":"a","jetstream":{"config":
            {"store_dir":"/data/jetstream","sync_interval":120000000000}}}"#;
        let every = Duration::from_mins(2);
        let server = "a (http://nats:8222/)".to_owned();
        assert_eq!(seen(default), Flushing::Late(server, every));
        for unseen in [
            "not JSON",
            r#"{"server_name":"a","jetstream":{}}"#,
            r#"{"server_name":"a","jetstream":{"config":{}}}"#,
        ] {
            assert!(matches!(seen(unseen), Flushing::Unseen(_)), "{unseen}");
        }
    }
}
