//! Every variable the relay reads, each with its unit, default and range. Reading does no IO.
//!
#![doc = include_str!("variables.md")]
//!
//! The three `EVENTS_*` count only when the relay makes the stream; an existing one keeps its own.

use std::net::SocketAddr;
use std::time::Duration;

use async_nats::ServerAddr;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use shared::env::{
    BadVariable, Env, flag_or, millis_or, number_or, parse_or, required_secret, unescaped,
};

/// Messages in an atomic batch at most, a limit of the server (ADR-50); the fence is one of them.
pub const BATCH_MESSAGES_MAX: u64 = 1000;

/// Atomic batches in flight that the server allows on one stream, all publishers together.
pub const SERVER_BATCHES_IN_FLIGHT_MAX: u64 = 50;

/// Workers of one relay at most: three relays stay under [`SERVER_BATCHES_IN_FLIGHT_MAX`].
const WORKERS_MAX: u64 = 16;

/// The server abandons a batch after 10 s: a longer wait learns nothing more.
const PUBLISH_TIMEOUT_MS_MAX: u64 = 10_000;

/// All of the relay's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database.
    pub database: DatabaseConfig,
    /// The broker's connection.
    pub broker: BrokerConfig,
    /// The stream, where the relay makes it.
    pub stream: StreamConfig,
    /// Whether the broker may acknowledge what it has not flushed.
    pub fsync: FsyncConfig,
    /// Leases, batches and workers.
    pub relay: RelayConfig,
    /// How the relay learns that rows wait.
    pub wake: WakeConfig,
    /// `OUTBOX_RETENTION_HOURS`: how long a published row stays findable.
    pub retention: Duration,
}

/// Where the outbox is.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`.
    pub url: SecretString,
}

/// Where the broker is.
#[derive(Clone)]
pub struct BrokerConfig {
    /// The servers of `NATS_URL`; they may hold a password, which `Debug` leaves out.
    pub servers: Vec<ServerAddr>,
    /// User and password of the first server that names them.
    pub credentials: Option<(String, SecretString)>,
    /// `OUTBOX_PUBLISH_TIMEOUT_MS`: how long to wait for any answer.
    pub answer_timeout: Duration,
}

impl std::fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts: Vec<&str> = self.servers.iter().map(ServerAddr::host).collect();
        f.debug_struct("BrokerConfig")
            .field("hosts", &hosts)
            .field("answer_timeout", &self.answer_timeout)
            .finish_non_exhaustive()
    }
}

/// The settings of a stream that the relay makes.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// `EVENTS_REPLICAS`.
    pub replicas: usize,
    /// `EVENTS_MAX_AGE_HOURS`.
    pub max_age: Duration,
    /// `EVENTS_MAX_BYTES`.
    pub max_bytes: i64,
}

/// Where it is seen whether the broker flushes before it acknowledges, and what follows if not.
#[derive(Clone, Debug)]
pub struct FsyncConfig {
    /// `OUTBOX_NATS_MONITOR_URL`: the monitoring addresses of the servers, none if not given.
    pub monitors: Vec<Url>,
    /// `OUTBOX_ALLOW_LAZY_FSYNC`.
    pub allow_lazy: bool,
}

/// Leases, batches and workers.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// `OUTBOX_BATCH_MAX`: events a batch.
    pub batch_max: usize,
    /// `OUTBOX_BATCH_BYTES_MAX`: bytes of payload a batch.
    pub batch_bytes_max: i64,
    /// `OUTBOX_WORKERS`: batches in flight at once.
    pub workers: usize,
    /// `OUTBOX_LEASE_MS`: how long a lease lasts without renewal.
    pub lease: Duration,
    /// `OUTBOX_POISON`: what becomes of the key of a dead letter.
    pub poison: PoisonPolicy,
    /// `OUTBOX_ANNOUNCE`: when few events are published one by one.
    pub announce: AnnouncePolicy,
}

/// When few events are published one by one behind a fence that announces them, and not in an atomic
/// batch (ADR 124).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnouncePolicy {
    /// Where that takes less time.
    Auto,
    /// Never.
    Never,
    /// Whenever it can be done.
    Always,
}

/// What becomes of the other events of a key of which one cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoisonPolicy {
    /// They wait until an operator decides: the key's order has no hole.
    Block,
    /// They go on: the key's order has a hole.
    Skip,
}

/// How the relay learns that rows wait.
#[derive(Clone, Debug)]
pub struct WakeConfig {
    /// `OUTBOX_POLL_MIN_MS`.
    pub poll_min: Duration,
    /// `OUTBOX_POLL_MAX_MS`.
    pub poll_max: Duration,
    /// `OUTBOX_LISTEN`.
    pub listen: bool,
}

/// The address of the ops port, `OPS_ADDR`.
pub fn ops_addr(env: &dyn Env) -> Result<SocketAddr, BadVariable> {
    parse_or(env, "OPS_ADDR", SocketAddr::from(([127, 0, 0, 1], 9110)))
}

impl Config {
    /// Reads every variable.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be used.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let retention_hours = number_or(env, "OUTBOX_RETENTION_HOURS", 72, 1..=8760)?;
        Ok(Self {
            retention: Duration::from_secs(retention_hours * 3600),
            database: DatabaseConfig::from_env(env)?,
            broker: BrokerConfig::from_env(env)?,
            stream: StreamConfig::from_env(env, retention_hours)?,
            fsync: FsyncConfig::from_env(env)?,
            relay: RelayConfig::from_env(env)?,
            wake: WakeConfig::from_env(env)?,
        })
    }
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL`.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let url = required_secret(
            env,
            "DATABASE_URL",
            "the Postgres database that holds the outbox, postgres://user@host:port/name",
        )?;
        Ok(Self { url })
    }
}

impl BrokerConfig {
    /// Reads `NATS_URL` and `OUTBOX_PUBLISH_TIMEOUT_MS`.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let list = required_secret(
            env,
            "NATS_URL",
            "the NATS servers, nats://user:pass@host:port, separated by commas",
        )?;
        let servers = list
            .expose_secret()
            .split(',')
            .map(|server| {
                let server = server.trim().parse::<ServerAddr>().ok();
                server.filter(|server| !server.is_websocket())
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                BadVariable::new(
                    "NATS_URL",
                    "must be nats://[user:pass@]host:port, several separated by commas",
                )
            })?;
        let credentials = servers.iter().find_map(|server| {
            let user = unescaped(server.username()?);
            let password = unescaped(server.password().unwrap_or_default());
            Some((user, SecretString::from(password)))
        });
        Ok(Self {
            servers,
            credentials,
            answer_timeout: millis_or(
                env,
                "OUTBOX_PUBLISH_TIMEOUT_MS",
                5_000,
                100..=PUBLISH_TIMEOUT_MS_MAX,
            )?,
        })
    }
}

impl StreamConfig {
    /// Reads `EVENTS_*`. What the stream holds, `verify` must find in the database: so the stream
    /// must not keep an event for longer.
    pub fn from_env(env: &dyn Env, retention_hours: u64) -> Result<Self, BadVariable> {
        let replicas = number_or(env, "EVENTS_REPLICAS", 1, 1..=5)?;
        let max_age_hours = number_or(
            env,
            "EVENTS_MAX_AGE_HOURS",
            retention_hours.min(72),
            1..=retention_hours,
        )?;
        let max_bytes = number_or(
            env,
            "EVENTS_MAX_BYTES",
            2 << 30,
            (1 << 20)..=i64::MAX.unsigned_abs(),
        )?;
        Ok(Self {
            replicas: narrow(replicas),
            max_age: Duration::from_secs(max_age_hours * 3600),
            max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
        })
    }
}

impl FsyncConfig {
    /// Reads `OUTBOX_NATS_MONITOR_URL` and `OUTBOX_ALLOW_LAZY_FSYNC`.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        const MONITOR: &str = "OUTBOX_NATS_MONITOR_URL";
        let list = env.get(MONITOR).unwrap_or_default();
        let monitors = list
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(|url| {
                let url = url.parse::<Url>().ok();
                url.filter(|url| url.scheme() == "http" && url.has_host())
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                let problem = "must be http://host:port, several separated by commas";
                BadVariable::new(MONITOR, problem)
            })?;
        Ok(Self {
            monitors,
            allow_lazy: flag_or(env, "OUTBOX_ALLOW_LAZY_FSYNC", false)?,
        })
    }
}

impl RelayConfig {
    /// Reads `OUTBOX_BATCH_*`, `OUTBOX_WORKERS`, `OUTBOX_LEASE_MS`, `OUTBOX_POISON` and
    /// `OUTBOX_ANNOUNCE`.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let events_max = BATCH_MESSAGES_MAX - 1;
        let bytes = number_or(
            env,
            "OUTBOX_BATCH_BYTES_MAX",
            4 << 20,
            (64 << 10)..=(64 << 20),
        )?;
        Ok(Self {
            batch_max: narrow(number_or(
                env,
                "OUTBOX_BATCH_MAX",
                events_max,
                1..=events_max,
            )?),
            batch_bytes_max: i64::try_from(bytes).unwrap_or(i64::MAX),
            workers: narrow(number_or(env, "OUTBOX_WORKERS", 4, 1..=WORKERS_MAX)?),
            lease: millis_or(env, "OUTBOX_LEASE_MS", 1_500, 500..=60_000)?,
            poison: match env.get("OUTBOX_POISON").as_deref() {
                None | Some("block") => PoisonPolicy::Block,
                Some("skip") => PoisonPolicy::Skip,
                Some(other) => {
                    let problem = format!("must be block or skip, not {other:?}");
                    return Err(BadVariable::new("OUTBOX_POISON", problem));
                }
            },
            announce: match env.get("OUTBOX_ANNOUNCE").as_deref() {
                None | Some("auto") => AnnouncePolicy::Auto,
                Some("never") => AnnouncePolicy::Never,
                Some("always") => AnnouncePolicy::Always,
                Some(other) => {
                    let problem = format!("must be auto, never or always, not {other:?}");
                    return Err(BadVariable::new("OUTBOX_ANNOUNCE", problem));
                }
            },
        })
    }
}

impl WakeConfig {
    /// Reads `OUTBOX_POLL_*` and `OUTBOX_LISTEN`.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let poll_min_ms = number_or(env, "OUTBOX_POLL_MIN_MS", 20, 1..=60_000)?;
        let poll_max_ms = number_or(
            env,
            "OUTBOX_POLL_MAX_MS",
            poll_min_ms.max(1_000),
            poll_min_ms..=60_000,
        )?;
        Ok(Self {
            poll_min: Duration::from_millis(poll_min_ms),
            poll_max: Duration::from_millis(poll_max_ms),
            listen: flag_or(env, "OUTBOX_LISTEN", false)?,
        })
    }
}

/// Only for numbers whose range has been checked to be small.
fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let mut env = HashMap::from([
            (
                "DATABASE_URL".to_owned(),
                "postgres://localhost/x".to_owned(),
            ),
            ("NATS_URL".to_owned(), "nats://localhost".to_owned()),
        ]);
        env.extend(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        env
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = Config::from_env(&env(&[])).unwrap();
        assert_eq!(config.relay.batch_max, 999);
        assert_eq!(config.relay.workers, 4);
        assert_eq!(config.relay.lease, Duration::from_millis(1_500));
        assert_eq!(config.wake.poll_min, Duration::from_millis(20));
        assert_eq!(config.stream.max_bytes, 2_147_483_648);
        assert!(!config.wake.listen);
    }

    #[test]
    fn a_password_in_nats_url_is_used_and_never_shown() {
        let broker = BrokerConfig::from_env(&env(&[(
            "NATS_URL",
            "nats://relay:s3cret%2F%25@a:4222, nats://b",
        )]))
        .unwrap();
        assert_eq!(broker.servers.len(), 2);
        let (user, password) = broker.credentials.as_ref().unwrap();
        assert_eq!(
            (user.as_str(), password.expose_secret()),
            ("relay", "s3cret/%")
        );
        assert!(!format!("{broker:?}").contains("s3cret"));
    }

    #[test]
    fn a_websocket_is_no_way_to_nats() {
        let refused = BrokerConfig::from_env(&env(&[("NATS_URL", "nats://a,ws://b")]));
        assert_eq!(refused.unwrap_err().name, "NATS_URL");
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        for (name, value) in [
            ("OUTBOX_BATCH_MAX", "1000"),
            ("OUTBOX_WORKERS", "0"),
            ("OUTBOX_LEASE_MS", "soon"),
            ("OUTBOX_POLL_MAX_MS", "5"),
            ("EVENTS_REPLICAS", "7"),
            ("NATS_URL", "nats://ho st"),
            ("OUTBOX_POISON", "drop"),
            ("OUTBOX_ANNOUNCE", "yes"),
            ("EVENTS_MAX_AGE_HOURS", "73"),
            ("DATABASE_URL", ""),
            ("OUTBOX_NATS_MONITOR_URL", "nats:8222"),
            ("OUTBOX_NATS_MONITOR_URL", "https://nats:8222"),
            ("OUTBOX_ALLOW_LAZY_FSYNC", "perhaps"),
        ] {
            let error = Config::from_env(&env(&[(name, value)])).unwrap_err();
            assert_eq!(error.name, name);
        }
    }
}
