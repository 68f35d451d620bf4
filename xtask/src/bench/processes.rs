//! The processes that share the relay's work, and what it costs each of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::supervisor::Relays;

use super::machine::{cpu_of_tree, own_memory_bytes, peak_memory_bytes};
use super::report::Report;

/// The relay, Postgres and nats-server of a benchmark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processes {
    relay: Option<i32>,
    postgres: i32,
    broker: i32,
}

/// The processor time that each has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    relay: Duration,
    postgres: Duration,
    broker: Duration,
}

/// The processor time an event, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuAnEvent {
    pub(crate) relay: f64,
    pub(crate) postgres: f64,
    pub(crate) broker: f64,
}

impl Processes {
    /// Those that run now. A relay that was not started costs nothing.
    pub(crate) fn of(relays: &Relays) -> Result<Self> {
        let postgres = relays.postgres.child.pid().context("Postgres runs")?;
        let broker = relays.nats.first().and_then(e2e::supervisor::Child::pid);
        Ok(Self {
            relay: relays.relays.first().and_then(e2e::supervisor::Child::pid),
            postgres,
            broker: broker.context("nats-server runs")?,
        })
    }

    /// What they have used so far.
    pub(crate) fn cpu(self) -> Cpu {
        Cpu {
            relay: self.relay.map(cpu_of_tree).unwrap_or_default(),
            postgres: cpu_of_tree(self.postgres),
            broker: cpu_of_tree(self.broker),
        }
    }

    /// What the relay holds in memory: its own now, and its peak with shared pages.
    pub(crate) fn relay_memory_bytes(self) -> (u64, u64) {
        self.relay.map_or((0, 0), |pid| {
            (own_memory_bytes(pid), peak_memory_bytes(pid))
        })
    }
}

impl Cpu {
    /// From `before` to now, shared among so many events.
    pub(crate) fn an_event_since(self, before: Self, events: f64) -> CpuAnEvent {
        let share = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() * 1e6 / events.max(1.0)
        };
        CpuAnEvent {
            relay: share(self.relay, before.relay),
            postgres: share(self.postgres, before.postgres),
            broker: share(self.broker, before.broker),
        }
    }
}

impl CpuAnEvent {
    /// As figures of the present section.
    pub(crate) fn add_to(self, report: &mut Report) {
        report.figure("CPU of the relay", self.relay, "µs/event");
        report.figure("CPU of Postgres", self.postgres, "µs/event");
        report.figure("CPU of nats-server", self.broker, "µs/event");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Cpu;

    #[test]
    fn cpu_is_shared_among_the_events() {
        let at = |ms| Cpu {
            relay: Duration::from_millis(ms),
            postgres: Duration::from_millis(2 * ms),
            broker: Duration::ZERO,
        };
        let share = at(30).an_event_since(at(10), 1000.0);
        assert!((share.relay - 20.0).abs() < 1e-9);
        assert!((share.postgres - 40.0).abs() < 1e-9);
        assert!(share.broker.abs() < 1e-9);
        let none = at(30).an_event_since(at(10), 0.0);
        assert!(none.relay.is_finite());
    }
}
