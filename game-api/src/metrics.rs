//! Every metric of this service. None is labelled by game or player, and every series is there
//! from the start, at 0, so that a rate over it never begins with a gap.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::problem::Reason;

/// Label values of `game_commands_total{action}`: the actions of the protocol. What is none of
/// them is counted as `other`.
pub const ACTIONS: [&str; 10] = [
    "move",
    "append",
    "resign",
    "offer_draw",
    "accept_draw",
    "decline_draw",
    "abort",
    "flag",
    "rematch",
    "other",
];

/// Label values of `game_commands_total{outcome}` beside the reasons of a refusal.
pub const OUTCOMES: [&str; 2] = ["accepted", "duplicate"];

/// The actions of which there are so many that their counters are at hand.
const ACCEPTED: [&str; 2] = ["move", "append"];

/// Label values of `gateway_frames_sent_total{kind}`: the server's messages.
pub const FRAME_KINDS: [&str; 10] = [
    "welcome",
    "subscribed",
    "unsubscribed",
    "snapshot",
    "event",
    "presence",
    "ack",
    "error",
    "pong",
    "reconnect",
];

/// Label values of `gateway_resyncs_total{reason}`: `lagged` (too far behind the ring) and
/// `cursor` (of an older epoch or key).
pub const RESYNC_REASONS: [&str; 2] = ["lagged", "cursor"];

/// Label values of `gateway_disconnects_total{reason}`.
pub const DISCONNECT_REASONS: [&str; 7] = [
    "closed",
    "error",
    "stalled",
    "silent",
    "too_large",
    "drain",
    "rate_limited",
];

/// Label values of `invariant_violations_total{invariant}`.
pub const INVARIANTS: [&str; 4] = ["sequence", "fold", "fog", "exactly_once"];

/// Seconds: from a query on the same machine to the deadline of a write.
const REQUEST_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Seconds: one statement, from half a millisecond to its timeout.
const COMMIT_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 8.0,
];

/// Commands in one statement, or games in one query.
const BATCH_SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Seconds: commit to socket; the budget is 2 to 25 ms.
const DELIVERY_SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The metrics of one instance, in a registry of their own.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// `http_request_duration_seconds{method,route,status}`: from the request's head to the
    /// response's head; `route` is the template, `unmatched` where there is none.
    pub http_request_duration_seconds: HistogramVec,
    /// `game_commands_total{action,outcome}`: commands by HTTP and WebSocket; `outcome` is
    /// `accepted`, `duplicate`, or the reason of the refusal. Counted by [`Self::command`].
    game_commands_total: IntCounterVec,
    /// Its series of accepted moves and appends, the most frequent.
    accepted: [IntCounter; 2],
    /// `game_commit_seconds`: one commit statement, with all the commands that it carried.
    pub game_commit_seconds: Histogram,
    /// `game_commit_batch_size`: commands in one commit statement.
    pub game_commit_batch_size: Histogram,
    /// `persistence_failures_total`: writes that failed, or whose outcome is not known.
    pub persistence_failures_total: IntCounter,
    /// `gateway_connections`: open WebSocket and SSE connections.
    pub gateway_connections: IntGauge,
    /// `gateway_subscriptions`: subscriptions of all connections.
    pub gateway_subscriptions: IntGauge,
    /// `gateway_frames_sent_total{kind}`: messages written to clients. Counted by
    /// [`Self::frame_sent`].
    gateway_frames_sent_total: IntCounterVec,
    /// Its series, in the order of [`FRAME_KINDS`].
    frames_sent: [IntCounter; FRAME_KINDS.len()],
    /// `gateway_event_delivery_seconds`: from commit to socket write.
    pub gateway_event_delivery_seconds: Histogram,
    /// `gateway_gaps_total`: holes in a game's sequence that were read from the database.
    pub gateway_gaps_total: IntCounter,
    /// `gateway_resyncs_total{reason}`: connections that were given a snapshot in place of frames.
    pub gateway_resyncs_total: IntCounterVec,
    /// `gateway_reconciled_total`: events that reconciliation found before NATS brought them.
    pub gateway_reconciled_total: IntCounter,
    /// `gateway_read_batch_size`: games that were read from the database together.
    pub gateway_read_batch_size: Histogram,
    /// `gateway_disconnects_total{reason}`: connections that ended.
    pub gateway_disconnects_total: IntCounterVec,
    /// `gateway_rejected_total{reason}`: connections and messages refused.
    pub gateway_rejected_total: IntCounterVec,
    /// `invariant_violations_total{invariant}`: what must never happen, and did.
    pub invariant_violations_total: IntCounterVec,
}

impl Metrics {
    /// The metrics, all at 0. `routes` are the method, template and status of the series of
    /// `http_request_duration_seconds` that exist from the start.
    ///
    /// # Errors
    /// A name that is not valid or used twice.
    #[expect(clippy::too_many_lines, reason = "each metric with its help")]
    pub fn new(routes: &[(&str, &str, &str)]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let game_commands_total = counters(
            &registry,
            "game_commands_total",
            "Commands by action and outcome.",
            &["action", "outcome"],
        )?;
        let gateway_frames_sent_total = counters(
            &registry,
            "gateway_frames_sent_total",
            "Messages written to clients.",
            &["kind"],
        )?;
        let metrics = Self {
            http_request_duration_seconds: histograms(
                &registry,
                "http_request_duration_seconds",
                "From a request's head to its response's head, by route template.",
                &["method", "route", "status"],
                &REQUEST_SECONDS,
            )?,
            accepted: ACCEPTED
                .map(|action| game_commands_total.with_label_values(&[action, OUTCOMES[0]])),
            game_commands_total,
            game_commit_seconds: histogram(
                &registry,
                "game_commit_seconds",
                "One commit statement.",
                &COMMIT_SECONDS,
            )?,
            game_commit_batch_size: histogram(
                &registry,
                "game_commit_batch_size",
                "Commands in one commit statement.",
                &BATCH_SIZES,
            )?,
            persistence_failures_total: counter(
                &registry,
                "persistence_failures_total",
                "Writes that failed or whose outcome is not known.",
            )?,
            gateway_connections: gauge(
                &registry,
                "gateway_connections",
                "Open WebSocket and SSE connections.",
            )?,
            gateway_subscriptions: gauge(
                &registry,
                "gateway_subscriptions",
                "Subscriptions of all connections.",
            )?,
            frames_sent: FRAME_KINDS
                .map(|kind| gateway_frames_sent_total.with_label_values(&[kind])),
            gateway_frames_sent_total,
            gateway_event_delivery_seconds: histogram(
                &registry,
                "gateway_event_delivery_seconds",
                "From commit to socket write.",
                &DELIVERY_SECONDS,
            )?,
            gateway_gaps_total: counter(
                &registry,
                "gateway_gaps_total",
                "Holes in a game's sequence that were read from the database.",
            )?,
            gateway_resyncs_total: counters(
                &registry,
                "gateway_resyncs_total",
                "Connections that were given a snapshot in place of frames.",
                &["reason"],
            )?,
            gateway_reconciled_total: counter(
                &registry,
                "gateway_reconciled_total",
                "Events that reconciliation found before NATS brought them.",
            )?,
            gateway_read_batch_size: histogram(
                &registry,
                "gateway_read_batch_size",
                "Games that were read from the database together.",
                &BATCH_SIZES,
            )?,
            gateway_disconnects_total: counters(
                &registry,
                "gateway_disconnects_total",
                "Connections that ended.",
                &["reason"],
            )?,
            gateway_rejected_total: counters(
                &registry,
                "gateway_rejected_total",
                "Connections and messages refused.",
                &["reason"],
            )?,
            invariant_violations_total: counters(
                &registry,
                "invariant_violations_total",
                "What must never happen, and did.",
                &["invariant"],
            )?,
            registry,
        };
        metrics.start_at_zero(routes);
        Ok(metrics)
    }

    /// What the ops port serves.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The series of `game_commands_total` of an action and what it came to. That of an accepted move
    /// or append is found without looking it up.
    #[must_use]
    pub fn command(&self, action: &str, outcome: &str) -> IntCounter {
        let nth = ACCEPTED.iter().position(|accepted| *accepted == action);
        match nth {
            Some(nth) if outcome == OUTCOMES[0] => self.accepted[nth].clone(),
            _ => self
                .game_commands_total
                .with_label_values(&[action, outcome]),
        }
    }

    /// Counts a message written to a client, without looking its series up.
    pub fn frame_sent(&self, kind: &str) {
        match FRAME_KINDS.iter().position(|known| *known == kind) {
            Some(nth) => self.frames_sent[nth].inc(),
            None => self
                .gateway_frames_sent_total
                .with_label_values(&[kind])
                .inc(),
        }
    }

    fn start_at_zero(&self, routes: &[(&str, &str, &str)]) {
        for (method, route, status) in routes {
            self.http_request_duration_seconds
                .with_label_values(&[method, route, status]);
        }
        for action in ACTIONS {
            for outcome in OUTCOMES.into_iter().chain(Reason::ALL.map(Reason::as_str)) {
                self.game_commands_total
                    .with_label_values(&[action, outcome]);
            }
        }
        let by_one_label: [(&IntCounterVec, &[&str]); 5] = [
            (&self.gateway_frames_sent_total, &FRAME_KINDS),
            (&self.gateway_resyncs_total, &RESYNC_REASONS),
            (&self.gateway_disconnects_total, &DISCONNECT_REASONS),
            (
                &self.gateway_rejected_total,
                &Reason::ALL.map(Reason::as_str),
            ),
            (&self.invariant_violations_total, &INVARIANTS),
        ];
        for (counters, values) in by_one_label {
            for value in values {
                counters.with_label_values(&[value]);
            }
        }
    }
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let metric = HistogramVec::new(options, labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use prometheus::proto::MetricFamily;

    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_at_zero() {
        let metrics = Metrics::new(&[("GET", "/health", "200")]).unwrap();
        let families = metrics.registry().gather();
        let names: HashSet<&str> = families.iter().map(MetricFamily::name).collect();
        for name in [
            "http_request_duration_seconds",
            "game_commands_total",
            "game_commit_seconds",
            "game_commit_batch_size",
            "persistence_failures_total",
            "gateway_connections",
            "gateway_subscriptions",
            "gateway_frames_sent_total",
            "gateway_event_delivery_seconds",
            "gateway_gaps_total",
            "gateway_resyncs_total",
            "gateway_reconciled_total",
            "gateway_read_batch_size",
            "gateway_disconnects_total",
            "gateway_rejected_total",
            "invariant_violations_total",
        ] {
            assert!(names.contains(name), "{name}");
        }
        let counted: f64 = families
            .iter()
            .flat_map(MetricFamily::get_metric)
            .map(|metric| metric.get_counter().get_value())
            .sum();
        assert!(counted.abs() < f64::EPSILON);
    }
}
