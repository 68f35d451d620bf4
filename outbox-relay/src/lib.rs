//! `outbox-relay`: drains the table `outbox_events` into NATS `JetStream`, in order per key, each
//! event once, whatever crashes. It serves any producer and knows no game.
//!
//! Shards are leased ([`leases`]), looked at ([`dispatch`], [`wake`]), and published by a fenced
//! atomic batch each ([`shard`], [`batch`], [`stream`]).

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use shared::lifecycle::Lifecycle;
use shared::ops::Ops;
use shared::subjects::WAKE;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

pub mod backlog;
pub mod batch;
pub mod commands;
pub mod config;
pub mod dead;
pub mod dispatch;
pub mod error;
pub mod identity;
pub mod leases;
pub mod metrics;
pub mod pause;
pub mod retention;
pub mod shard;
pub mod stream;
pub mod verify;
pub mod wake;

use config::{Config, DatabaseConfig};
use dispatch::dispatcher::{Dispatcher, Parts};
use error::{Fatal, RelayError};
use leases::holdings::Holdings;
use leases::keeper::{Keeper, LEASES_HINT};
use metrics::{Metrics, WakeSource};
use shard::job::Tools;
use stream::broker::Broker;
use stream::fsync::FsyncCheck;
use stream::publisher::Publisher;
use stream::watcher::{Status, Watcher};

/// Connections beside those of the workers: lease keeper, watcher, backlog, dispatcher, listener.
const CONNECTIONS_BESIDE_WORKERS: usize = 5;
/// Waiting for a connection of the pool. Short: whoever waits tries again by itself.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// From SIGTERM to the hard stop: a batch in flight and its settlement.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// Orders and returns on their way between keeper and dispatcher.
const ORDERS_MAX: usize = 16;

/// Runs a relay until SIGTERM, SIGINT or the drain of `life`.
///
/// # Errors
/// What cannot be mended by waiting: bad addresses, an unfit server or stream, a failed worker.
pub async fn run(
    config: Config,
    ops_listener: TcpListener,
    life: Lifecycle,
) -> Result<(), RelayError> {
    run_with(config, ops_listener, life, Metrics::new()?).await
}

/// The same with metrics that the caller reads, too.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: Config,
    ops_listener: TcpListener,
    life: Lifecycle,
    metrics: Metrics,
) -> Result<(), RelayError> {
    let owner: Arc<str> = instance_name().into();
    let pool = connect(&config.database, config.relay.workers)?;
    let broker = Broker::connect(&config.broker, &owner)
        .await
        .map_err(RelayError::Broker)?;
    let fatal = Fatal::default();
    let (status_sender, status) = watch::channel(Status::Waiting(
        "the broker is not connected yet".to_owned(),
    ));
    let (database_sender, database) = watch::channel(None);
    let look_now = Arc::new(Notify::new());
    let tools = Tools {
        pool: pool.clone(),
        broker: broker.clone(),
        metrics: metrics.clone(),
        owner: Arc::clone(&owner),
        config: config.relay.clone(),
        look_now: Arc::clone(&look_now),
    };
    tracing::info!(
        outbox.relay = %owner,
        ops.addr = ops_listener.local_addr().ok().map(tracing::field::display),
        "relay starting"
    );

    serve_ops(&life, ops_listener, &metrics, status.clone(), database);
    let watcher = Watcher {
        broker,
        pool,
        config: config.stream.clone(),
        retention: config.retention,
        fsync: FsyncCheck::new(config.fsync.clone())?,
        metrics: metrics.clone(),
        status: status_sender,
        warned_of: None,
        look_now,
        fatal: fatal.clone(),
    };
    life.spawn_worker("stream watcher", watcher.run(life.clone()));
    spawn_relaying(&config, &life, &fatal, &tools, status, database_sender).await?;

    let ended = life.run_until_signal(DRAIN_MAX).await;
    if let Some(unfit) = fatal.take() {
        return Err(unfit.into());
    }
    ended?;
    say_goodbye(&metrics);
    Ok(())
}

/// The ops port closes when the drain begins: what was counted since the last scrape is told here.
fn say_goodbye(metrics: &Metrics) {
    tracing::info!(
        outbox.published = metrics.published.get(),
        outbox.fenced = metrics.fenced.get(),
        outbox.duplicates_prevented = metrics.duplicates_prevented.get(),
        "relay stopped"
    );
}

/// Lease keeper, dispatcher, and what wakes them.
async fn spawn_relaying(
    config: &Config,
    life: &Lifecycle,
    fatal: &Fatal,
    tools: &Tools,
    status: watch::Receiver<Status>,
    database: watch::Sender<Option<String>>,
) -> Result<(), RelayError> {
    let stop = life.draining();
    let holdings = Holdings::default();
    let (wake, moved) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (orders_sender, orders) = mpsc::channel(ORDERS_MAX);
    let (given_back_sender, given_back) = mpsc::channel(ORDERS_MAX);
    let mut publishers = Vec::with_capacity(config.relay.workers);
    for _ in 0..config.relay.workers {
        let publisher = Publisher::new(&tools.broker).await;
        publishers.push(publisher.map_err(RelayError::Broker)?);
    }
    let keeper = Keeper {
        pool: tools.pool.clone(),
        broker: tools.broker.clone(),
        owner: Arc::clone(&tools.owner),
        lease: config.relay.lease,
        holdings: holdings.clone(),
        metrics: tools.metrics.clone(),
        orders: orders_sender,
        given_back,
        status: status.clone(),
        moved: Arc::clone(&moved),
        database,
    };
    let dispatcher = Dispatcher::new(Parts {
        tools: tools.clone(),
        life: life.clone(),
        fatal: fatal.clone(),
        holdings: holdings.clone(),
        orders,
        given_back: given_back_sender,
        status,
        wake: Arc::clone(&wake),
        pace: wake::pace::Pace::new(config.wake.poll_min, config.wake.poll_max),
        publishers,
    });
    life.spawn_worker("lease keeper", keeper.run(life.clone()));
    life.spawn_worker("dispatcher", dispatcher.run());
    spawn_wakers(config, life, tools, &wake, moved);
    life.spawn_worker(
        "horizon",
        backlog::horizon::run(tools.pool.clone(), holdings, stop.clone()),
    );
    life.spawn_worker(
        "leaves",
        backlog::leaves::run(tools.pool.clone(), stop.clone()),
    );
    life.spawn_worker(
        "retention",
        retention::run(tools.pool.clone(), config.retention, stop.clone()),
    );
    life.spawn_worker(
        "backlog observer",
        backlog::observer::run(tools.pool.clone(), tools.metrics.clone(), stop),
    );
    Ok(())
}

fn spawn_wakers(
    config: &Config,
    life: &Lifecycle,
    tools: &Tools,
    wake: &Arc<Notify>,
    moved: Arc<Notify>,
) {
    let (stop, metrics) = (life.draining(), tools.metrics.clone());
    life.spawn_worker(
        "wake hints",
        wake::hint::watch(
            tools.broker.clone(),
            WAKE,
            Arc::clone(wake),
            move || metrics.woken(WakeSource::Hint),
            stop.clone(),
        ),
    );
    life.spawn_worker(
        "lease hints",
        wake::hint::watch(
            tools.broker.clone(),
            LEASES_HINT,
            moved,
            || {},
            stop.clone(),
        ),
    );
    if config.wake.listen {
        let (pool, metrics) = (tools.pool.clone(), tools.metrics.clone());
        life.spawn_worker(
            "listener",
            wake::listen::watch(pool, Arc::clone(wake), metrics, stop),
        );
    }
}

/// A pool that connects when it is first used. The planner is kept to index scans: a queue table is
/// now empty, now huge, and a plan made for the one must not meet the other.
///
/// # Errors
/// `DATABASE_URL` cannot be parsed.
pub fn connect(config: &DatabaseConfig, workers: usize) -> Result<PgPool, RelayError> {
    let options: PgConnectOptions = config
        .url
        .expose_secret()
        .parse()
        .map_err(RelayError::Database)?;
    let connections = workers + CONNECTIONS_BESIDE_WORKERS;
    let pool = PgPoolOptions::new()
        .max_connections(u32::try_from(connections).unwrap_or(u32::MAX))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(
                    "set enable_seqscan = off; set enable_bitmapscan = off;
                     set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;
                     set default_transaction_isolation = 'read committed';
                     set statement_timeout = '30s';
                     set idle_in_transaction_session_timeout = '10s'",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.application_name("outbox-relay"));
    Ok(pool)
}

fn serve_ops(
    life: &Lifecycle,
    listener: TcpListener,
    metrics: &Metrics,
    status: watch::Receiver<Status>,
    database: watch::Receiver<Option<String>>,
) {
    let probe: shared::ops::Probe =
        Arc::new(move || match (&*status.borrow(), &*database.borrow()) {
            (_, Some(why)) | (Status::Waiting(why), None) => Err(why.clone()),
            (Status::Ready(_), None) => Ok(()),
        });
    let ops = Ops::new(metrics.registry.clone(), Arc::clone(&probe), probe);
    ops.set_ready(true);
    let draining = life.draining();
    life.spawn_worker("ops port", async move {
        let served = axum::serve(listener, ops.router())
            .with_graceful_shutdown(draining.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the ops port failed");
        }
    });
}

/// Unlike any other instance's, also one of the same host before a restart.
fn instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(40)
        .collect();
    let host = if host.is_empty() { "relay" } else { &host };
    format!("{host}-{:08x}", rand::random::<u32>())
}
