//! Faults put to relays under load, and what the stream holds afterwards.
//!
//! Each scenario has servers of its own, produces, strikes, waits until everything is published,
//! and audits the whole stream. A scenario's conditions are progress and state; where it waits for
//! a time, the time is the fault (a broker frozen for so long).

mod bed;
mod broker;
mod cluster;
mod kills;
mod leases;
mod rolling;
mod spread;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use crate::outbox::{Counters, Pace, Verdict};
use crate::supervisor::Durability;

/// What is done to the relays, or to what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One relay killed every second; every five seconds one frozen past its lease.
    Kills,
    /// Few events at a time, all of which that can be are published one by one, while relays are
    /// killed and frozen as above, and the broker is killed as well.
    Trickle,
    /// All relays killed, and away for longer than the broker's window of de-duplication, which is
    /// as short as the server allows.
    Dedup,
    /// The broker frozen.
    FrozenBroker,
    /// The broker killed, and started again after some seconds.
    KilledBroker,
    /// The relays restarted one after the other, as a deployment does it.
    Rolling,
    /// A cluster of three nodes of which the leader is killed, again and again.
    Cluster,
    /// Relays join, drain and crash; in between, nothing moves.
    Leases,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kills,
        Self::Trickle,
        Self::Dedup,
        Self::FrozenBroker,
        Self::KilledBroker,
        Self::Rolling,
        Self::Cluster,
        Self::Leases,
    ];
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kills => "kills",
            Self::Trickle => "trickle",
            Self::Dedup => "dedup",
            Self::FrozenBroker => "frozen-broker",
            Self::KilledBroker => "killed-broker",
            Self::Rolling => "rolling",
            Self::Cluster => "cluster",
            Self::Leases => "leases",
        })
    }
}

/// How hard a scenario is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Prefix of the run's directory.
    pub name: &'static str,
    /// The program `outbox-relay`.
    pub program: PathBuf,
    /// Events in all. [`Scenario::Rolling`] and [`Scenario::Leases`] produce for as long as they
    /// last; [`Scenario::Cluster`] does too, and at least so many.
    pub events: u64,
    /// Over how many keys.
    pub keys: u32,
    /// How fast they come.
    pub pace: Pace,
    /// How many relays.
    pub relays: usize,
    /// How often the fault is put: broker kills, deaths of all relays, leaders killed, rounds of
    /// restarts. [`Scenario::Kills`] and [`Scenario::Trickle`]
    /// strike for as long as events wait.
    pub strikes: u32,
    /// How long [`Scenario::FrozenBroker`] freezes the broker.
    pub freeze: Duration,
    /// What a crash of Postgres or NATS may take away.
    pub durability: Durability,
    /// The same seed produces the same events and chooses the same victims.
    pub seed: u64,
    /// How far it is.
    pub progress: watch::Sender<Progress>,
}

/// How far a scenario is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Events committed by now.
    pub committed: u64,
    /// Of those, events published.
    pub published: u64,
    /// Faults put by now.
    pub strikes: u64,
    /// What is being done.
    pub doing: String,
}

/// What a scenario came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The audit of the stream.
    pub verdict: Verdict,
    /// What all relays together counted, as far as it could be read before they were killed.
    pub counters: Counters,
    /// Relays that ended without having been asked to.
    pub exits: u64,
    /// How often each fault was put.
    pub strikes: Vec<(&'static str, u64)>,
    /// What was measured, in sentences.
    pub measured: Vec<String>,
    /// What was measured and is beyond its limit, in sentences. A test need not look at those that
    /// depend on the machine's speed.
    pub too_slow: Vec<String>,
    /// What must not be and was, in sentences; beside the faults of the verdict.
    pub breaches: Vec<String>,
}

impl Outcome {
    /// Whether nothing is wrong, slowness apart.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.verdict.faults.total() == 0 && self.exits == 0 && self.breaches.is_empty()
    }

    /// How often a fault was put.
    #[must_use]
    pub fn strikes_of(&self, fault: &str) -> u64 {
        let found = self.strikes.iter().find(|(name, _)| *name == fault);
        found.map_or(0, |(_, count)| *count)
    }
}

/// Runs a scenario to its end.
///
/// # Errors
/// It could not be run: a tool is missing, a part does not start, nothing moves any more.
pub async fn run(scenario: Scenario, plan: &Plan) -> Result<Outcome> {
    match scenario {
        Scenario::Kills => kills::run(plan).await,
        Scenario::Trickle => kills::trickle(plan).await,
        Scenario::Dedup => kills::all_at_once(plan).await,
        Scenario::FrozenBroker => broker::frozen(plan).await,
        Scenario::KilledBroker => broker::killed(plan).await,
        Scenario::Rolling => rolling::run(plan).await,
        Scenario::Cluster => cluster::run(plan).await,
        Scenario::Leases => leases::run(plan).await,
    }
}
