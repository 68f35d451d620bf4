//! `cargo xtask bench peers`: other outbox relays beside ours, on the same machine in one run.

mod bench;
mod debezium;
mod peer;
mod stored;
mod watermill;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use e2e::environment;

use super::Load;
use super::machine::fsync_ms;
use super::relay::drain::{Drained, drain};
use super::relay::latency::{Taken, at_rate};
use super::relay_rig::{RelayRig, SyncMode};
use super::report::Report;
use bench::PeerBench;
use debezium::Debezium;
use peer::Peer;
use stored::Stored;
use watermill::Watermill;

/// What `--help` says beyond one line.
pub(super) const HELP: &str = "\
Other outbox relays beside ours, each with a Postgres, a nats-server and an outbox table of its own: \
the drain of a backlog, and from a producer's commit to a consumer of the stream at --rate events a \
second, as `bench relay` takes them.

watermill  Watermill's Postgres subscriber and JetStream publisher, tuned for latency and again for \
drain; needs Go
debezium   Debezium Server with its Postgres connector, outbox event router and JetStream sink; needs \
Java 21 and Maven, which downloads it (0.8 GB)

A peer whose tools are missing is left out. On a nats-server that syncs every write \
(sync_interval: always), for our relay also on one that stages batches in memory, which to a peer is \
the same, and on one that does not sync every write. How each is tuned stands in \
xtask/src/bench/peers/.";

/// Events of our relay's backlog unless told otherwise.
const EVENTS: u64 = 500_000;
/// Events of a peer's backlog unless told otherwise.
const PEER_EVENTS: u64 = 60_000;
/// Events a second unless told otherwise.
const RATE: u32 = 1000;
/// How long a latency is taken unless told otherwise, in seconds.
const SECONDS: u64 = 10;

/// Arguments of `cargo xtask bench peers`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Which peers; can be given several times
    #[arg(long = "peer", value_enum, value_name = "PEER",
          default_values_t = [Kind::Watermill, Kind::Debezium])]
    peers: Vec<Kind>,

    /// How the nats-server syncs; can be given several times
    #[arg(long = "sync", value_enum, value_name = "SYNC",
          default_values_t = SyncMode::ALL)]
    syncs: Vec<SyncMode>,

    /// Events of the backlog that our relay drains
    #[arg(long, value_name = "NUMBER", default_value_t = EVENTS)]
    events: u64,

    /// Events of the backlog that a peer drains
    #[arg(long, value_name = "NUMBER", default_value_t = PEER_EVENTS,
          value_parser = clap::value_parser!(u64).range(1..))]
    peer_events: u64,

    /// Events a second of the latency
    #[arg(long, value_name = "NUMBER", default_value_t = RATE,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// How long each latency is taken
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    seconds: u64,
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Watermill, in Go
    Watermill,
    /// Debezium Server, in Java
    Debezium,
}

impl Kind {
    /// What can be had of it here, in each of its tunings.
    fn build(self) -> Result<Vec<Box<dyn Peer>>> {
        Ok(match self {
            Self::Watermill => Watermill::build()?.map(|peer| Box::new(peer) as _).into(),
            Self::Debezium => vec![Box::new(Debezium::assemble()?)],
        })
    }
}

/// What was measured of one relay on one nats-server.
struct Measured {
    drained: Drained,
    stored: Stored,
    taken: Taken,
    memory_peak_bytes: u64,
}

/// Measures.
///
/// # Errors
/// A part does not start, or nothing moves.
pub(super) async fn measure(args: &Args, load: Load) -> Result<Report> {
    let peers = build(&args.peers);
    let mut report = Report::new("peers", load);
    report.section("the disk");
    let fsync = fsync_ms(&environment::target_dir()).context("the disk cannot be written to")?;
    report.figure("512 bytes and fdatasync, median", fsync, "ms");
    let run = Run { args, load };
    // Of the last nats-server that peers were measured on.
    let mut theirs: Option<(SyncMode, Vec<Measured>)> = None;
    for &sync in &args.syncs {
        let ours = run.ours(sync, &mut report).await?;
        let sync_of_peers = as_peers_see(sync);
        if theirs
            .as_ref()
            .is_none_or(|(sync, _)| *sync != sync_of_peers)
        {
            let mut measured = Vec::new();
            for peer in &peers {
                measured.push(run.peer(peer.as_ref(), sync_of_peers, &mut report).await?);
            }
            theirs = Some((sync_of_peers, measured));
        }
        for (peer, theirs) in peers
            .iter()
            .zip(theirs.iter().flat_map(|(_, measured)| measured))
        {
            ratios(&mut report, &ours, theirs, peer.name(), sync);
        }
    }
    Ok(report)
}

/// Peers publish one message at a time: batches that are staged in memory are not theirs.
fn as_peers_see(sync: SyncMode) -> SyncMode {
    match sync {
        SyncMode::Always | SyncMode::Staged => SyncMode::Always,
        SyncMode::Default => SyncMode::Default,
    }
}

/// The peers that can be had here.
fn build(kinds: &[Kind]) -> Vec<Box<dyn Peer>> {
    let built = kinds.iter().map(|kind| {
        kind.build().unwrap_or_else(|error| {
            tracing::warn!("{kind:?} is left out: {error:#}");
            vec![]
        })
    });
    built.flatten().collect()
}

struct Run<'a> {
    args: &'a Args,
    load: Load,
}

impl Run<'_> {
    async fn ours(&self, sync: SyncMode, report: &mut Report) -> Result<Measured> {
        let events = self.load.of(self.args.events);
        tracing::info!("our relay drains {events} events, {}", sync.label());
        let rig = RelayRig::start(sync, &[]).await?;
        let drained = drain(&rig, events).await;
        let stored = Stored::since(&rig, 1).await;
        rig.end().await;
        let (drained, stored) = (drained?, stored?);
        tracing::info!("and has {} events/s", self.args.rate);
        let rig = RelayRig::start(sync, &[]).await?;
        let taken = at_rate(&rig, self.args.rate, self.lasts()).await;
        rig.end().await;
        let measured = Measured {
            memory_peak_bytes: drained.memory_peak_bytes,
            drained,
            stored,
            taken: taken?,
        };
        self.tell(&measured, "our relay", (events, sync), report);
        Ok(measured)
    }

    async fn peer(&self, peer: &dyn Peer, sync: SyncMode, report: &mut Report) -> Result<Measured> {
        let (name, events) = (peer.name(), self.load.of(self.args.peer_events));
        tracing::info!("{name} drains {events} events, {}", sync.label());
        let bench = PeerBench::start(peer, sync).await?;
        let drained = bench.drain(events).await;
        bench.end().await;
        let (drained, stored) = drained?;
        tracing::info!("and has {} events/s", self.args.rate);
        let bench = PeerBench::start(peer, sync).await?;
        let taken = bench.latency(self.args.rate, self.lasts()).await;
        let memory = bench.memory_peak_bytes();
        bench.end().await;
        let measured = Measured {
            memory_peak_bytes: drained.memory_peak_bytes.max(memory?),
            drained,
            stored,
            taken: taken?,
        };
        self.tell(&measured, name, (events, sync), report);
        Ok(measured)
    }

    fn tell(&self, measured: &Measured, name: &str, of: (u64, SyncMode), report: &mut Report) {
        let ((events, sync), rate) = (of, self.args.rate);
        let sync = sync.label();
        report.section(format!("{name}: drain of {events} events, {sync}"));
        measured.stored.add_to(report, events);
        measured.drained.add_to(report);
        report.section(format!("{name}: {rate} events/s, {sync}"));
        measured.taken.add_to(report);
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(self.load.of(self.args.seconds).max(3))
    }
}

fn ratios(report: &mut Report, ours: &Measured, theirs: &Measured, name: &str, sync: SyncMode) {
    report.section(format!("ours ÷ {name}, {}", sync.label()));
    let percentile =
        |percent| ours.taken.percentile_ms(percent) / theirs.taken.percentile_ms(percent);
    let cpu = |measured: &Measured| measured.drained.cpu.relay + measured.drained.cpu.postgres;
    let memory = |measured: &Measured| measured.memory_peak_bytes as f64;
    let drain = ours.drained.per_second / theirs.drained.per_second;
    report.figure("drain", drain, "");
    report.figure("commit → consumer, p50", percentile(50), "");
    report.figure("commit → consumer, p99", percentile(99), "");
    report.figure(
        "CPU of relay and Postgres in the drain",
        cpu(ours) / cpu(theirs),
        "",
    );
    report.figure(
        "memory of the relay, peak",
        memory(ours) / memory(theirs),
        "",
    );
}
