//! The relay's metrics (DESIGN §11), all there from the start, at 0. No label is unbounded.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Why something failed: the label `kind` of `outbox_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The broker does not answer; the relay pauses.
    BrokerAway,
    /// The broker has no room or no leader; tried again after a pause.
    BrokerBusy,
    /// The broker refused a batch as it is.
    BatchRefused,
    /// The database does not answer; tried again after a pause.
    DatabaseAway,
    /// An event that can never be published.
    EventImpossible,
    /// The stream does not hold what the database knows it to have held, or the reverse.
    StreamLost,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::BrokerAway,
        Self::BrokerBusy,
        Self::BatchRefused,
        Self::DatabaseAway,
        Self::EventImpossible,
        Self::StreamLost,
    ];

    /// The label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::BrokerAway => "broker_away",
            Self::BrokerBusy => "broker_busy",
            Self::BatchRefused => "batch_refused",
            Self::DatabaseAway => "database_away",
            Self::EventImpossible => "event_impossible",
            Self::StreamLost => "stream_lost",
        }
    }
}

/// What woke the relay: the label `source` of `outbox_wakeups_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeSource {
    /// A hint on `outbox.wake`.
    Hint,
    /// `NOTIFY outbox_wake`.
    Listen,
    /// The poll's time had come.
    Poll,
}

impl WakeSource {
    const ALL: [Self; 3] = [Self::Hint, Self::Listen, Self::Poll];

    fn label(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Listen => "listen",
            Self::Poll => "poll",
        }
    }
}

/// The relay's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where they are registered; served on the ops port.
    pub registry: Registry,
    /// `outbox_pending`: rows waiting in the whole table.
    pub pending: IntGauge,
    /// `outbox_oldest_pending_age_seconds`: age of the oldest of them, 0 if there is none.
    pub oldest_pending_age_seconds: Gauge,
    /// `outbox_dead`: dead letters in the whole table.
    pub dead: IntGauge,
    /// `outbox_published_total`: events stored in the stream by this relay.
    pub published: IntCounter,
    /// `outbox_publish_duration_seconds`: from sending a batch to its answer.
    pub publish_duration_seconds: Histogram,
    /// `outbox_commit_to_ack_seconds`: from an event's append to the stream's answer.
    pub commit_to_ack_seconds: Histogram,
    /// `outbox_announced_total`: events that the broker answered as stored after they had gone one by
    /// one behind a fence that announced them, and not in an atomic batch.
    pub announced: IntCounter,
    /// `outbox_batch_size`: events a batch, or behind the fences that announced them together.
    pub batch_size: Histogram,
    /// `outbox_fenced_total`: batches, fences and announced events refused because another fence came
    /// in between.
    pub fenced: IntCounter,
    /// `outbox_duplicates_prevented_total`: pending events that a fence read back, or a look for what
    /// was announced, showed to be in the stream already, and that were therefore not sent again.
    pub duplicates_prevented: IntCounter,
    /// `outbox_reconciled_total`: events that `verify` published again or settled because stream
    /// and database did not agree.
    pub reconciled: IntCounter,
    /// `outbox_verify_scanned_total`: messages of the stream that verifications have read: while it
    /// rises, a verification goes on.
    pub verify_scanned: IntCounter,
    /// `outbox_shards_owned`: shards this relay holds.
    pub shards_owned: IntGauge,
    /// `outbox_shards_unverified`: of those, how many may not publish because the stream was lost.
    pub shards_unverified: IntGauge,
    failures: IntCounterVec,
    wakeups: IntCounterVec,
}

/// From half a millisecond to a minute.
const SECONDS_BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];
/// Events a batch, 1 to the server's limit.
const SIZE_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 999.0];

impl Metrics {
    /// Registers all of them in a registry of their own.
    ///
    /// # Errors
    /// A name that is registered twice, a programming mistake.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let metrics = Self {
            pending: gauge(r, "outbox_pending", "Rows waiting in the whole outbox")?,
            oldest_pending_age_seconds: float_gauge(
                r,
                "outbox_oldest_pending_age_seconds",
                "Age of the oldest waiting row of the whole outbox, 0 if none waits",
            )?,
            dead: gauge(r, "outbox_dead", "Dead letters in the whole outbox")?,
            published: counter(r, "outbox_published_total", "Events stored in the stream")?,
            announced: counter(
                r,
                "outbox_announced_total",
                "Events published one by one behind a fence that announces them",
            )?,
            publish_duration_seconds: histogram(
                r,
                "outbox_publish_duration_seconds",
                "From sending a batch to its answer",
                &SECONDS_BUCKETS,
            )?,
            commit_to_ack_seconds: histogram(
                r,
                "outbox_commit_to_ack_seconds",
                "From the append of an event to the stream's answer",
                &SECONDS_BUCKETS,
            )?,
            batch_size: histogram(r, "outbox_batch_size", "Events a batch", &SIZE_BUCKETS)?,
            fenced: counter(
                r,
                "outbox_fenced_total",
                "Batches and fences refused because another fence came in between",
            )?,
            duplicates_prevented: counter(
                r,
                "outbox_duplicates_prevented_total",
                "Pending events found in the stream by reading a fence back",
            )?,
            reconciled: counter(
                r,
                "outbox_reconciled_total",
                "Events that verify published again or settled",
            )?,
            verify_scanned: counter(
                r,
                "outbox_verify_scanned_total",
                "Messages of the stream that verify has read",
            )?,
            shards_owned: gauge(r, "outbox_shards_owned", "Shards this relay holds")?,
            shards_unverified: gauge(
                r,
                "outbox_shards_unverified",
                "Shards this relay holds and may not publish because the stream was lost",
            )?,
            failures: labelled(r, "outbox_failures_total", "Failures by kind", "kind")?,
            wakeups: labelled(
                r,
                "outbox_wakeups_total",
                "Looks at the outbox by cause",
                "source",
            )?,
            registry: registry.clone(),
        };
        for kind in FailureKind::ALL {
            metrics.failures.with_label_values(&[kind.label()]);
        }
        for source in WakeSource::ALL {
            metrics.wakeups.with_label_values(&[source.label()]);
        }
        Ok(metrics)
    }

    /// Counts a failure.
    pub fn failed(&self, kind: FailureKind) {
        self.failures.with_label_values(&[kind.label()]).inc();
    }

    /// How many failures of a kind there were.
    #[must_use]
    pub fn failures(&self, kind: FailureKind) -> u64 {
        self.failures.with_label_values(&[kind.label()]).get()
    }

    /// Counts a look at the outbox.
    pub fn woken(&self, source: WakeSource) {
        self.wakeups.with_label_values(&[source.label()]).inc();
    }
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn float_gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    let gauge = Gauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let histogram = Histogram::with_opts(options)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn labelled(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&Metrics::new().unwrap().registry.gather(), &mut text)
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        let labelled = FailureKind::ALL
            .map(|kind| format!("outbox_failures_total{{kind=\"{}\"}} 0", kind.label()));
        let woken = WakeSource::ALL
            .map(|source| format!("outbox_wakeups_total{{source=\"{}\"}} 0", source.label()));
        for series in labelled.iter().chain(&woken) {
            assert!(text.lines().any(|line| line == series), "{series}");
        }
        for series in [
            "outbox_pending 0",
            "outbox_oldest_pending_age_seconds 0",
            "outbox_dead 0",
            "outbox_published_total 0",
            "outbox_announced_total 0",
            "outbox_publish_duration_seconds_count 0",
            "outbox_commit_to_ack_seconds_count 0",
            "outbox_batch_size_count 0",
            "outbox_fenced_total 0",
            "outbox_duplicates_prevented_total 0",
            "outbox_reconciled_total 0",
            "outbox_verify_scanned_total 0",
            "outbox_shards_owned 0",
            "outbox_shards_unverified 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series}");
        }
    }
}
