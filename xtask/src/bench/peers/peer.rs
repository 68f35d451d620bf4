//! What this benchmark has to know of another relay.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use e2e::provision::RunAs;
use e2e::supervisor::{ChildSpec, Launch, Readiness};
use rustix::process::Signal;

/// A JVM with many libraries starts slowly on a busy machine.
const READY_DEADLINE: Duration = Duration::from_mins(2);
/// What has not ended by then is killed: nothing of it is measured any more.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// Another relay, in one tuning: drain and latency are those of the same one.
pub(super) trait Peer: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Whether it reads the write-ahead log, which Postgres must then write for it.
    fn reads_wal(&self) -> bool;

    /// Statements that give it its outbox table, and have `outbox_append` write to that: the
    /// producers of the benchmark stay as they are. It is not started yet.
    fn producer(&self) -> String;

    /// Statements that append events with the numbers below `events`, to be run in one transaction.
    fn backlog(&self, events: u64) -> String;

    /// How it is started.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    fn start(&self, place: &Place) -> Result<Start>;
}

/// Where a peer runs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The owner's URL of the database.
    pub(super) postgres_url: String,
    /// The relay's URL of the nats-server.
    pub(super) nats_url: String,
    /// Where it can say that it is ready.
    pub(super) ops: SocketAddr,
    /// A directory of its own, which goes with the run.
    pub(super) dir: PathBuf,
}

/// How a peer is started.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// What answers 200 once it is ready.
    pub(super) ready_path: &'static str,
}

impl Start {
    pub(super) fn spec(self, name: &str, place: &Place, log: &Path) -> ChildSpec {
        ChildSpec {
            name: name.to_owned(),
            launch: Launch {
                program: self.program,
                args: self.args,
                env: self.env,
                env_prefixes_removed: vec![],
                dir: place.dir.clone(),
                log: log.to_path_buf(),
                run_as: RunAs::Caller,
            },
            readiness: Readiness::Answers(format!("http://{}{}", place.ops, self.ready_path)),
            ready_deadline: READY_DEADLINE,
            end_signal: Signal::TERM,
            end_deadline: END_DEADLINE,
        }
    }
}
