//! What a node of a cluster says of itself on its monitoring port. What the stream's leader says of
//! the others is no substitute: it counts what they have in their logs of the replication, and a node
//! that is fetching a part of the stream from the leader has that in no log.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A node that does not answer within this is not well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The monitoring of one node.
#[derive(Clone, Debug)]
pub struct NatsMonitor {
    address: SocketAddr,
}

impl NatsMonitor {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// The last position in the node's own copy of the stream, if the node calls itself healthy: none
    /// of its streams is being caught up.
    ///
    /// # Errors
    /// It is not healthy, does not answer, or has no copy.
    pub async fn last_seq(&self, stream: &str) -> Result<u64> {
        let health = self.get("healthz").await?;
        if !health.status().is_success() {
            bail!(
                "{}: {}",
                self.address,
                health.text().await.unwrap_or_default()
            );
        }
        let state = self.get("jsz?accounts=true&streams=true").await?;
        let state: JetStream = state.json().await.context("an answer of /jsz")?;
        let accounts = state.account_details.into_iter();
        let mut streams = accounts.flat_map(|account| account.stream_detail);
        let found = streams.find(|found| found.name == stream);
        Ok(found.context("the node has no copy")?.state.last_seq)
    }

    async fn get(&self, what: &str) -> Result<reqwest::Response> {
        let client = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build()?;
        let url = format!("http://{}/{what}", self.address);
        client.get(&url).send().await.context("no answer")
    }
}

/// Of the answer of `/jsz`.
#[derive(Deserialize)]
struct JetStream {
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    last_seq: u64,
}
