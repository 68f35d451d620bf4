//! A peer with servers of its own, and what is measured of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::{self, stream};
use e2e::environment;
use e2e::outbox::STREAM;
use e2e::supervisor::{Child, RunDir, connect_nats};
use sqlx::AssertSqlSafe;

use super::peer::{Peer, Place};
use super::stored::{Stored, last_sequence};
use crate::bench::machine::{cpu_of_tree, own_memory_bytes, peak_memory_bytes};
use crate::bench::processes::Processes;
use crate::bench::relay::drain::Drained;
use crate::bench::relay::latency::{self, Taken};
use crate::bench::relay_rig::{RelayRig, SyncMode};
use crate::bench::traffic::Waking;

/// Between two questions to the stream how far a drain is, as with our relay.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A drain that has not ended by then has stalled.
const DRAIN_DEADLINE: Duration = Duration::from_mins(3);
/// The stream has all that a peer will send when its end has stood still for so long.
const QUIET: Duration = Duration::from_secs(1);
/// How long events come one by one before anything counts: a JVM compiles what runs often.
const WARM_UP: Duration = Duration::from_secs(6);
/// The backlog that is drained before the one that counts, for the same reason.
const WARM_UP_BACKLOG: u64 = 20_000;
/// A replication slot that nobody reads by then never will be.
const SLOT_DEADLINE: Duration = Duration::from_mins(1);

/// A peer that runs, with servers of its own.
pub(super) struct PeerBench<'a> {
    peer: &'a dyn Peer,
    child: Child,
    rig: RelayRig,
    _dir: RunDir,
}

impl<'a> PeerBench<'a> {
    /// Starts the servers and the peer, and waits until it is ready.
    ///
    /// # Errors
    /// A part does not start.
    pub(super) async fn start(peer: &'a dyn Peer, sync: SyncMode) -> Result<Self> {
        let rig = RelayRig::prepare(sync, &[]).await?;
        make_stream(&rig).await?;
        if peer.reads_wal() {
            write_wal_for_decoding(&rig).await?;
        }
        run_sql(&rig, peer.producer()).await?;
        let dir = RunDir::create(&environment::target_dir(), "bench")?;
        let place = Place {
            postgres_url: rig.relays.postgres.addresses.owner_url.clone(),
            nats_url: rig.relays.nats_addresses.relay_url.clone(),
            ops: rig.relays.ops(0),
            dir: dir.path().to_path_buf(),
        };
        let start = peer.start(&place)?;
        let log = dir.logs().join("peer.log");
        let child = Child::start(start.spec(peer.name(), &place, &log));
        child.ready().await?;
        if peer.reads_wal() {
            slot_is_read(&rig).await?;
        }
        Ok(Self {
            peer,
            child,
            rig,
            _dir: dir,
        })
    }

    /// From commit to consumer at a rate, after a warm-up.
    ///
    /// # Errors
    /// As [`latency::take`].
    pub(super) async fn latency(&self, per_second: u32, lasts: Duration) -> Result<Taken> {
        latency::take(&self.rig, Waking::Nothing, per_second, WARM_UP).await?;
        self.quiet().await?;
        let before = cpu_of_tree(self.pid()?);
        let mut taken = latency::take(&self.rig, Waking::Nothing, per_second, lasts).await?;
        let used = cpu_of_tree(self.pid()?).saturating_sub(before);
        taken.cpu.relay = used.as_secs_f64() * 1e6 / (taken.arrived as f64).max(1.0);
        Ok(taken)
    }

    /// A backlog of so many events, after a smaller one as a warm-up.
    ///
    /// # Errors
    /// The peer stalls.
    pub(super) async fn drain(&self, events: u64) -> Result<(Drained, Stored)> {
        self.drain_once(WARM_UP_BACKLOG.min(events)).await?;
        self.drain_once(events).await
    }

    /// The peer stands still, process and connections alive, while the backlog is appended: neither
    /// its start nor the appending is counted.
    async fn drain_once(&self, events: u64) -> Result<(Drained, Stored)> {
        let first = self.quiet().await? + 1;
        self.child.freeze().await;
        run_sql(&self.rig, self.peer.backlog(events)).await?;
        // What autovacuum would do in a minute, and what the appending has left to write.
        for statement in ["analyze", "checkpoint"] {
            run_sql(&self.rig, statement.to_owned()).await?;
        }
        let pid = self.pid()?;
        let processes = Processes::of(&self.rig.relays)?;
        let (servers_before, own_before) = (processes.cpu(), cpu_of_tree(pid));
        let client = connect_nats(&self.rig.relays.nats_addresses.auditor_url).await?;
        self.child.thaw().await;
        let begun = Instant::now();
        while last_sequence(&client).await? < first + events - 1 {
            if begun.elapsed() > DRAIN_DEADLINE {
                bail!("the drain has stalled:\n{}", self.child.log_tail());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let took = begun.elapsed();
        let mut cpu = processes
            .cpu()
            .an_event_since(servers_before, events as f64);
        let own = cpu_of_tree(pid).saturating_sub(own_before);
        cpu.relay = own.as_secs_f64() * 1e6 / events as f64;
        let drained = Drained {
            per_second: events as f64 / took.as_secs_f64(),
            cpu,
            memory_bytes: own_memory_bytes(pid),
            memory_peak_bytes: peak_memory_bytes(pid),
        };
        self.quiet().await?;
        Ok((drained, Stored::since(&self.rig, first).await?))
    }

    /// Waits until nothing more is stored, and gives the last sequence.
    async fn quiet(&self) -> Result<u64> {
        let client = connect_nats(&self.rig.relays.nats_addresses.auditor_url).await?;
        let mut last = last_sequence(&client).await?;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = last_sequence(&client).await?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }

    /// The largest resident memory that it has had, in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn memory_peak_bytes(&self) -> Result<u64> {
        Ok(peak_memory_bytes(self.pid()?))
    }

    fn pid(&self) -> Result<i32> {
        if self.child.deaths() > 0 {
            bail!("{} has died:\n{}", self.peer.name(), self.child.log_tail());
        }
        let pid = self.child.pid();
        pid.with_context(|| {
            format!(
                "{} does not run:\n{}",
                self.peer.name(),
                self.child.log_tail()
            )
        })
    }

    /// Ends everything in order.
    pub(super) async fn end(self) {
        self.child.end().await;
        self.rig.end().await;
    }
}

/// A stream with the server's defaults: what our relay asks of its own is no use to a peer.
async fn make_stream(rig: &RelayRig) -> Result<()> {
    let client = connect_nats(&rig.relays.nats_addresses.auditor_url).await?;
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..stream::Config::default()
    };
    jetstream::new(client)
        .create_stream(config)
        .await
        .map(|_| ())
        .context("the stream cannot be made")
}

async fn write_wal_for_decoding(rig: &RelayRig) -> Result<()> {
    run_sql(rig, "alter system set wal_level = logical".to_owned()).await?;
    rig.relays.postgres.child.restart().await
}

async fn slot_is_read(rig: &RelayRig) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < SLOT_DEADLINE {
        let active: bool =
            sqlx::query_scalar("select exists (select from pg_replication_slots where active)")
                .fetch_one(&rig.pool)
                .await?;
        if active {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    bail!("nobody reads the replication slot")
}

/// Statements, in one transaction where they are several.
async fn run_sql(rig: &RelayRig, statements: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&rig.pool)
        .await
        .map(|_| ())
        .context("Postgres refuses")
}
