//! A whole stack: Postgres, nats-server, gateways and relays.

use std::path::Path;

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};

use super::child::{Child, first_given_up};
use super::nats::{Nats, NatsAddresses};
use super::ports::{Ports, loopback};
use super::postgres::{Durability, Postgres, PostgresAddresses};
use super::run_dir::RunDir;
use super::secret;
use super::services::{Recipe, ServiceBinaries};
use super::staging::Staging;
use crate::provision::{NatsServer, PostgresBinaries};

/// What a stack is made of.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Prefix of the run's directory: `play`, `e2e`.
    pub name: &'static str,
    /// Where its parts listen; as many gateways and relays as there are ports for.
    pub ports: Ports,
    /// The services' binaries.
    pub binaries: ServiceBinaries,
    /// What a crash may take away from a private Postgres.
    pub durability: Durability,
    /// What a power cut may take away from a private nats-server.
    pub broker_durability: Durability,
    /// Where a private nats-server stages batches.
    pub staging: Staging,
    /// A running Postgres to use instead of a private one.
    pub database_url: Option<String>,
    /// A running nats-server to use instead of a private one.
    pub nats_url: Option<String>,
    /// Further variables for the services.
    pub extra_env: Vec<(String, String)>,
}

/// A stack that runs. Dropping it kills it; [`Stack::end`] ends it in order.
#[derive(Debug)]
pub struct Stack {
    // Fields are dropped in this order: clients of a server before the server, files last.
    /// The game-api instances.
    pub gateways: Vec<Child>,
    /// The relays.
    pub relays: Vec<Child>,
    /// A private nats-server.
    pub nats: Option<Nats>,
    /// A private Postgres.
    pub postgres: Option<Postgres>,
    /// Where Postgres is reached.
    pub postgres_addresses: PostgresAddresses,
    /// Where NATS is reached.
    pub nats_addresses: NatsAddresses,
    /// Where everything listens.
    pub ports: Ports,
    run_dir: RunDir,
}

impl Stack {
    /// Starts everything, in order, and waits until all of it is ready.
    ///
    /// # Errors
    /// A taken port, a missing tool, or a part that does not start: with its last words.
    pub async fn start(target: &Path, options: StackOptions) -> Result<Self> {
        options
            .ports
            .check_free(options.database_url.is_none(), options.nats_url.is_none())?;
        let tools = target.join("tools");
        let run_dir = RunDir::create(target, options.name)?;
        let postgres = match options.database_url {
            None => Some(private_postgres(&tools, &run_dir, &options).await?),
            Some(_) => None,
        };
        let nats = match options.nats_url {
            None => Some(private_nats(&tools, &run_dir, &options).await?),
            Some(_) => None,
        };
        let postgres_addresses =
            postgres_addresses(postgres.as_ref(), options.database_url.as_deref())?;
        let nats_addresses = nats_addresses(nats.as_ref(), options.nats_url.as_deref())?;
        let roles = postgres.as_ref().map(|postgres| &postgres.roles);
        options
            .binaries
            .migrate(&postgres_addresses.owner_url, roles)?;
        let recipe = Recipe {
            binaries: &options.binaries,
            run_dir: &run_dir,
            postgres: &postgres_addresses,
            nats: &nats_addresses,
            keys: secret::fogline_keys(),
            allowed_origins: allowed_origins(&options.ports),
            extra_env: &options.extra_env,
        };
        let gateway_ports = options
            .ports
            .gateways
            .iter()
            .zip(&options.ports.gateway_ops);
        let gateways = gateway_ports
            .enumerate()
            .map(|(nth, (port, ops_port))| Child::start(recipe.gateway(nth, *port, *ops_port)))
            .collect();
        let relay_ports = options.ports.relay_ops.iter();
        let relays = relay_ports
            .enumerate()
            .map(|(nth, ops_port)| Child::start(recipe.relay(nth, *ops_port)))
            .collect();
        let ports = options.ports;
        let stack = Self {
            gateways,
            relays,
            nats,
            postgres,
            postgres_addresses,
            nats_addresses,
            ports,
            run_dir,
        };
        try_join_all(stack.services().map(Child::ready)).await?;
        Ok(stack)
    }

    /// The address of a gateway, such as `127.0.0.1:8080`.
    #[must_use]
    pub fn gateway_address(&self, nth: usize) -> String {
        loopback(self.ports.gateways[nth]).to_string()
    }

    /// Where the logs are.
    #[must_use]
    pub fn run_dir(&self) -> &RunDir {
        &self.run_dir
    }

    /// Every part that is supervised.
    pub fn children(&self) -> impl Iterator<Item = &Child> {
        self.services()
            .chain(self.nats.iter().map(|nats| &nats.child))
            .chain(self.postgres.iter().map(|postgres| &postgres.child))
    }

    fn services(&self) -> impl Iterator<Item = &Child> {
        self.gateways.iter().chain(&self.relays)
    }

    /// Waits until a part is given up.
    ///
    /// # Errors
    /// Always, with why.
    pub async fn given_up(&self) -> Result<()> {
        first_given_up(self.children().map(Child::states).collect()).await
    }

    /// Ends everything in order: services, NATS, Postgres; then the run's directory goes.
    pub async fn end(self) {
        join_all(self.services().map(Child::end)).await;
        if let Some(nats) = &self.nats {
            nats.child.end().await;
        }
        if let Some(postgres) = &self.postgres {
            postgres.child.end().await;
        }
    }
}

async fn private_postgres(
    tools: &Path,
    run_dir: &RunDir,
    options: &StackOptions,
) -> Result<Postgres> {
    let binaries = PostgresBinaries::provision(tools)?;
    tracing::info!(
        "Postgres {} from {}",
        binaries.version,
        binaries.bin_dir.display()
    );
    Postgres::start(
        &binaries,
        run_dir,
        options.ports.postgres,
        options.durability,
    )
    .await
}

async fn private_nats(tools: &Path, run_dir: &RunDir, options: &StackOptions) -> Result<Nats> {
    let server = NatsServer::provision(tools)?;
    tracing::info!(
        "nats-server {} from {}",
        server.version,
        server.program.display()
    );
    Nats::start(
        &server,
        run_dir,
        options.ports.of_nats(),
        options.broker_durability,
        options.staging,
    )
    .await
}

/// A page of either gateway may call either gateway, under both names of the loopback address.
fn allowed_origins(ports: &Ports) -> String {
    let origins: Vec<String> = ports
        .gateways
        .iter()
        .flat_map(|port| ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}")))
        .collect();
    origins.join(",")
}

fn postgres_addresses(
    private: Option<&Postgres>,
    given: Option<&str>,
) -> Result<PostgresAddresses> {
    match (private, given) {
        (Some(postgres), _) => Ok(postgres.addresses.clone()),
        (None, given) => {
            let url = given.context("no Postgres")?.to_owned();
            Ok(PostgresAddresses {
                api_url: url.clone(),
                relay_url: url.clone(),
                owner_url: url,
                reader_url: None,
            })
        }
    }
}

fn nats_addresses(private: Option<&Nats>, given: Option<&str>) -> Result<NatsAddresses> {
    match (private, given) {
        (Some(nats), _) => Ok(nats.addresses.clone()),
        (None, given) => {
            let url = given.context("no NATS")?.to_owned();
            Ok(NatsAddresses {
                gateway_url: url.clone(),
                relay_url: url.clone(),
                auditor_url: url,
                reader_url: None,
                monitoring: None,
            })
        }
    }
}
