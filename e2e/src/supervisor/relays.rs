//! Relays alone, with the servers they need: no game, no gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use super::child::Child;
use super::nats::{Nats, NatsAddresses, NatsPorts};
use super::nats_cluster::NatsCluster;
use super::nats_monitor::NatsMonitor;
use super::ports::{free_ports, loopback};
use super::postgres::{Durability, Postgres};
use super::run_dir::RunDir;
use super::services::Service;
use super::staging::Staging;
use crate::environment::workspace_root;
use crate::provision::{NatsServer, PostgresBinaries};

/// What relays run on.
#[derive(Clone, Debug)]
pub struct RelaysOptions {
    /// Prefix of the run's directory.
    pub name: &'static str,
    /// The program `outbox-relay`.
    pub program: PathBuf,
    /// How many.
    pub relays: usize,
    /// How many nats-servers: 1, or the nodes of a cluster.
    pub nats_nodes: usize,
    /// What a crash may take away from Postgres.
    pub durability: Durability,
    /// What a power cut may take away from the nats-servers.
    pub broker_durability: Durability,
    /// Where a lone nats-server stages batches.
    pub staging: Staging,
    /// Further variables for the relays.
    pub extra_env: Vec<(String, String)>,
}

/// Relays with a Postgres and NATS of their own. Dropping it kills all of it.
#[derive(Debug)]
pub struct Relays {
    // Fields are dropped in this order: clients of a server before the server, files last.
    /// The relays; none before [`Relays::start_relays`].
    pub relays: Vec<Child>,
    /// The nats-servers.
    pub nats: Vec<Child>,
    /// Where they are reached.
    pub nats_addresses: NatsAddresses,
    /// What each node of a cluster says of itself.
    pub nats_monitors: Vec<NatsMonitor>,
    /// Postgres, with the schema in it.
    pub postgres: Postgres,
    ops_ports: Vec<u16>,
    options: RelaysOptions,
    run_dir: RunDir,
    _staged: Option<TempDir>,
}

impl Relays {
    /// Starts the servers and brings the schema in; the relays are started by
    /// [`Relays::start_relays`].
    ///
    /// # Errors
    /// A missing tool, or a server that does not start: with its last words.
    pub async fn prepare(target: &Path, options: RelaysOptions) -> Result<Self> {
        let tools = target.join("tools");
        let run_dir = RunDir::create(target, options.name)?;
        let mut ports = free_ports(options.relays + 3)?;
        let (postgres_port, clients, monitor) = (ports.remove(0), ports.remove(0), ports.remove(0));
        let nats_ports = NatsPorts { clients, monitor };
        let binaries = PostgresBinaries::provision(&tools)?;
        let postgres =
            Postgres::start(&binaries, &run_dir, postgres_port, options.durability).await?;
        migrate(&postgres).await?;
        let server = NatsServer::provision(&tools)?;
        let durability = options.broker_durability;
        let (nats, nats_addresses, nats_monitors, staged) = if options.nats_nodes == 1 {
            let nats =
                Nats::start(&server, &run_dir, nats_ports, durability, options.staging).await?;
            (vec![nats.child], nats.addresses, vec![], nats.staged)
        } else {
            let nodes = options.nats_nodes;
            let cluster = NatsCluster::start(&server, &run_dir, nodes, durability).await?;
            (cluster.nodes, cluster.addresses, cluster.monitors, None)
        };
        Ok(Self {
            relays: vec![],
            nats,
            nats_addresses,
            nats_monitors,
            postgres,
            ops_ports: ports,
            options,
            run_dir,
            _staged: staged,
        })
    }

    /// Starts the relays and waits until all are ready.
    ///
    /// # Errors
    /// One does not start: with its last words.
    pub async fn start_relays(&mut self) -> Result<()> {
        let mut env = vec![
            ("DATABASE_URL", self.postgres.addresses.relay_url.as_str()),
            ("NATS_URL", self.nats_addresses.relay_url.as_str()),
        ];
        env.extend(self.nats_addresses.monitoring_env());
        let start = |(nth, ops_port): (usize, &u16)| {
            let service = Service {
                name: format!("relay {}", nth + 1),
                program: &self.options.program,
                env: &env,
                ops_port: *ops_port,
                run_dir: &self.run_dir,
                extra_env: &self.options.extra_env,
            };
            Child::start(service.spec())
        };
        self.relays = self.ops_ports.iter().enumerate().map(start).collect();
        try_join_all(self.relays.iter().map(Child::ready)).await?;
        Ok(())
    }

    /// Where a relay's metrics are.
    #[must_use]
    pub fn ops(&self, nth: usize) -> SocketAddr {
        loopback(self.ops_ports[nth])
    }

    /// Ends everything in order: relays, NATS, Postgres; then the run's directory goes.
    pub async fn end(self) {
        join_all(self.relays.iter().map(Child::end)).await;
        join_all(self.nats.iter().map(Child::end)).await;
        self.postgres.child.end().await;
    }
}

/// The schema as any producer's deployment brings it in, and the relay's role with what the
/// migrations grant it.
async fn migrate(postgres: &Postgres) -> Result<()> {
    let options: PgConnectOptions = postgres.addresses.owner_url.parse()?;
    let mut connection = options
        .connect()
        .await
        .context("Postgres cannot be connected to")?;
    // The password is made of letters and digits.
    let role = format!(
        "create role fogline_relay login password '{}'",
        postgres.roles.relay
    );
    sqlx::query(AssertSqlSafe(role))
        .execute(&mut connection)
        .await
        .context("the relay's role cannot be made")?;
    Migrator::new(workspace_root().join("migrations"))
        .await
        .context("migrations/ cannot be read")?
        .run(&mut connection)
        .await
        .context("a migration failed")?;
    connection.close().await.context("closing the connection")
}
