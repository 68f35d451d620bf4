//! What a service says of itself on its ops port.

use std::net::SocketAddr;
use std::time::Duration;

/// A service that does not answer within this is frozen or gone.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// A service's metrics at one moment.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks; `None` if nobody answers.
    pub async fn of(ops: SocketAddr) -> Option<Self> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER_DEADLINE)
            .no_proxy()
            .build()
            .ok()?;
        let answer = client.get(format!("http://{ops}/metrics")).send().await;
        Some(Self(answer.ok()?.text().await.ok()?))
    }

    /// From the text of `/metrics`.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A counter or a gauge by its name and labels; 0 where there is none.
    #[must_use]
    pub fn count(&self, series: &str) -> u64 {
        let value = |line: &str| {
            let value = line.strip_prefix(series)?.strip_prefix(' ')?;
            value.trim().parse().ok()
        };
        self.0.lines().find_map(value).unwrap_or(0)
    }
}
