//! What a benchmark runs on: private servers and release builds of the services.

use anyhow::{Context as _, Result};
use e2e::environment;
use e2e::supervisor::{Durability, Ports, ServiceBinaries, Stack, StackOptions, Staging};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::build;

/// Connections that a benchmark may use beside the services'.
const CONNECTIONS_MAX: u32 = 64;

/// How much of a stack a benchmark needs, and what its broker promises.
#[derive(Clone, Debug)]
pub(crate) struct RigOptions {
    /// game-api instances.
    pub(crate) gateways: usize,
    /// Relays.
    pub(crate) relays: usize,
    /// What a power cut may take from the broker.
    pub(crate) broker: Durability,
    /// Where it stages batches.
    pub(crate) staging: Staging,
    /// Further variables for the services.
    pub(crate) env: Vec<(String, String)>,
}

/// A stack on private servers. Commits survive a power cut, as in production.
///
/// # Errors
/// A part does not start.
pub(crate) async fn start(options: RigOptions) -> Result<Stack> {
    let stack = StackOptions {
        name: "bench",
        ports: Ports::free(options.gateways, options.relays)?,
        binaries: ServiceBinaries::in_dir(&build::release_dir())?,
        durability: Durability::PowerCut,
        broker_durability: options.broker,
        staging: options.staging,
        database_url: None,
        nats_url: None,
        extra_env: options.env,
    };
    Stack::start(&environment::target_dir(), stack).await
}

/// The owner's way to the stack's database.
///
/// # Errors
/// The database cannot be reached.
pub(crate) async fn database(stack: &Stack) -> Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .connect(&stack.postgres_addresses.owner_url)
        .await
        .context("the benchmark's connections to Postgres")
}
