//! One relay and the servers it needs, for benchmarks that have no game.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use e2e::environment;
use e2e::supervisor::{Durability, Relays, RelaysOptions, Staging};
use sqlx::ConnectOptions as _;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::build;

/// Connections that a benchmark may use beside the services'.
const CONNECTIONS_MAX: u32 = 80;
/// The stream keeps all that a run publishes. The server refuses a stream that may become larger than
/// three quarters of what the disk has left.
const STREAM_BYTES_MAX: u64 = 8 << 30;

/// When the nats-server's writes are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SyncMode {
    /// Before they are acknowledged
    Always,
    /// The same, while batches that are not complete are in memory
    Staged,
    /// Within two minutes, the server's default
    Default,
}

impl SyncMode {
    pub(super) const ALL: [Self; 3] = [Self::Always, Self::Staged, Self::Default];

    fn durability(self) -> Durability {
        match self {
            Self::Always | Self::Staged => Durability::PowerCut,
            Self::Default => Durability::Kill,
        }
    }

    fn staging(self) -> Staging {
        match self {
            Self::Staged => Staging::Memory,
            Self::Always | Self::Default => Staging::Disk,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Always => "sync_interval: always",
            Self::Staged => "sync_interval: always, batches staged in memory",
            Self::Default => "sync_interval: default",
        }
    }
}

/// One relay with servers of its own, and the owner's way to its database. Commits survive a power
/// cut, as in production.
pub(crate) struct RelayRig {
    pub(crate) relays: Relays,
    pub(crate) pool: PgPool,
}

impl RelayRig {
    /// Starts the servers, and the relay with these further variables.
    ///
    /// # Errors
    /// A part does not start.
    pub(crate) async fn start(sync: SyncMode, env: &[(&str, &str)]) -> Result<Self> {
        let mut rig = Self::prepare(sync, env).await?;
        rig.relays.start_relays().await?;
        Ok(rig)
    }

    /// The same without the relay.
    ///
    /// # Errors
    /// A part does not start.
    pub(crate) async fn prepare(sync: SyncMode, env: &[(&str, &str)]) -> Result<Self> {
        let stream = ("EVENTS_MAX_BYTES".to_owned(), STREAM_BYTES_MAX.to_string());
        let further = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = RelaysOptions {
            name: "bench",
            program: build::release_dir().join("outbox-relay"),
            relays: 1,
            nats_nodes: 1,
            durability: Durability::PowerCut,
            broker_durability: sync.durability(),
            staging: sync.staging(),
            extra_env: std::iter::once(stream).chain(further).collect(),
        };
        let relays = Relays::prepare(&environment::target_dir(), options).await?;
        let options: PgConnectOptions = relays.postgres.addresses.owner_url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            // Appending a backlog takes long, which nobody needs to be warned of.
            .connect_with(options.disable_statement_logging())
            .await
            .context("the benchmark's connections to Postgres")?;
        Ok(Self { relays, pool })
    }

    /// Ends everything in order.
    pub(crate) async fn end(self) {
        self.pool.close().await;
        self.relays.end().await;
    }
}
