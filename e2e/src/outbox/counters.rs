//! What a relay counts, as its ops port and its last line tell.

use std::net::SocketAddr;
use std::ops::AddAssign;

use serde_json::Value;

use crate::supervisor::Metrics;

/// Counts of one relay, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `outbox_published_total`.
    pub published: u64,
    /// `outbox_announced_total`.
    pub announced: u64,
    /// `outbox_fenced_total`.
    pub fenced: u64,
    /// `outbox_duplicates_prevented_total`.
    pub duplicates_prevented: u64,
    /// `outbox_failures_total{kind="stream_lost"}`.
    pub stream_lost: u64,
    /// `outbox_shards_owned`.
    pub shards_owned: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.announced += other.announced;
        self.fenced += other.fenced;
        self.duplicates_prevented += other.duplicates_prevented;
        self.stream_lost += other.stream_lost;
        self.shards_owned += other.shards_owned;
    }
}

impl Counters {
    /// From the ops port; `None` if it does not answer.
    pub async fn scrape(ops: SocketAddr) -> Option<Self> {
        Some(Self::read(&Metrics::of(ops).await?))
    }

    fn read(metrics: &Metrics) -> Self {
        Self {
            published: metrics.count("outbox_published_total"),
            announced: metrics.count("outbox_announced_total"),
            fenced: metrics.count("outbox_fenced_total"),
            duplicates_prevented: metrics.count("outbox_duplicates_prevented_total"),
            stream_lost: metrics.count("outbox_failures_total{kind=\"stream_lost\"}"),
            shards_owned: metrics.count("outbox_shards_owned"),
        }
    }

    /// From the last line of each life in a log of JSON lines: what relays counted that were asked
    /// to end. Also gives how many those were.
    #[must_use]
    pub fn from_last_lines(log: &str) -> (Self, u64) {
        let (mut sum, mut lives) = (Self::default(), 0);
        let parsed = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for line in parsed.filter(|line| line["message"] == "relay stopped") {
            let count = |name: &str| line[name].as_u64().unwrap_or(0);
            sum += Self {
                published: count("outbox.published"),
                fenced: count("outbox.fenced"),
                duplicates_prevented: count("outbox.duplicates_prevented"),
                ..Self::default()
            };
            lives += 1;
        }
        (sum, lives)
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;
    use crate::supervisor::Metrics;

    #[test]
    fn reads_what_the_ops_port_says() {
        let text = "# TYPE outbox_fenced_total counter\noutbox_fenced_total 3\n\
                    outbox_failures_total{kind=\"broker_away\"} 9\n\
                    outbox_failures_total{kind=\"stream_lost\"} 1\noutbox_published_total 70\n";
        let expected = Counters {
            published: 70,
            fenced: 3,
            stream_lost: 1,
            ..Counters::default()
        };
        assert_eq!(Counters::read(&Metrics::from_text(text)), expected);
    }

    #[test]
    fn sums_the_last_lines_of_all_lives() {
        let log = "{\"message\":\"relay starting\"}\n\
                   {\"message\":\"relay stopped\",\"outbox.published\":5,\"outbox.fenced\":1}\n\
                   not JSON\n\
                   {\"message\":\"relay stopped\",\"outbox.published\":2,\"outbox.duplicates_prevented\":4}\n";
        let expected = Counters {
            published: 7,
            fenced: 1,
            duplicates_prevented: 4,
            ..Counters::default()
        };
        assert_eq!(Counters::from_last_lines(log), (expected, 2));
    }
}
