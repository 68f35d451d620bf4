//! What the relay says of itself on its ops port.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

/// The relay's metrics at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Scrape(String);

/// A histogram: its upper bounds in seconds, and how many observations lie at or below each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram(Vec<(f64, f64)>);

impl Scrape {
    /// Asks.
    pub(crate) async fn of(ops: SocketAddr) -> Result<Self> {
        let answer = reqwest::get(format!("http://{ops}/metrics")).await?;
        Ok(Self(answer.text().await?))
    }

    /// A counter or a gauge.
    pub(crate) fn value(&self, name: &str) -> Result<f64> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        self.0
            .lines()
            .find_map(value)
            .with_context(|| format!("the relay's metrics lack {name}"))
    }

    /// A histogram without labels.
    pub(crate) fn histogram(&self, name: &str) -> Histogram {
        let bucket = |line: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            let bound = match bound {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().ok()?,
            };
            Some((bound, count.parse().ok()?))
        };
        Histogram(self.0.lines().filter_map(bucket).collect())
    }
}

impl Histogram {
    /// What was observed since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let earlier = |nth: usize| before.0.get(nth).map_or(0.0, |(_, count)| *count);
        let rest = self.0.iter().enumerate();
        Self(
            rest.map(|(nth, (bound, count))| (*bound, count - earlier(nth)))
                .collect(),
        )
    }

    /// The quantile, taking observations for evenly spread within their bucket, as Prometheus'
    /// `histogram_quantile` does. In the last bucket: the bound below it.
    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        let all = self.0.last().map_or(0.0, |(_, count)| *count);
        let rank = quantile * all;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank && *count > below {
                if bound.is_infinite() {
                    return low;
                }
                return low + (bound - low) * (rank - below) / (count - below);
            }
            (low, below) = (*bound, *count);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, Scrape};

    const TEXT: &str = "outbox_published_total 70\n\
        outbox_x_bucket{le=\"0.1\"} 10\noutbox_x_bucket{le=\"0.2\"} 30\n\
        outbox_x_bucket{le=\"+Inf\"} 40\noutbox_x_sum 3\noutbox_x_count 40\n";

    #[test]
    fn reads_counters_and_histograms() {
        let scrape = Scrape(TEXT.to_owned());
        assert!((scrape.value("outbox_published_total").expect("there") - 70.0).abs() < 1e-9);
        assert!(scrape.value("outbox_published").is_err());
        let histogram = scrape.histogram("outbox_x");
        let expected = Histogram(vec![(0.1, 10.0), (0.2, 30.0), (f64::INFINITY, 40.0)]);
        assert_eq!(histogram, expected);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let histogram = Scrape(TEXT.to_owned()).histogram("outbox_x");
        assert!((histogram.quantile(0.25) - 0.1).abs() < 1e-9);
        assert!((histogram.quantile(0.5) - 0.15).abs() < 1e-9);
        assert!((histogram.quantile(0.99) - 0.2).abs() < 1e-9);
        assert!(Histogram::default().quantile(0.5).abs() < 1e-9);
        let grown = Histogram(vec![(0.1, 10.0), (0.2, 130.0), (f64::INFINITY, 140.0)]);
        let new = Histogram(vec![(0.1, 0.0), (0.2, 100.0), (f64::INFINITY, 100.0)]);
        assert_eq!(grown.since(&histogram), new);
        assert!((new.quantile(0.5) - 0.15).abs() < 1e-9);
    }
}
