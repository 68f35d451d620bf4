//! Configuration: one struct per concern, read from the environment by [`Config::from_env`], no IO.

#[cfg(test)]
mod tests;
mod variables;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use shared::env::{BadVariable, Env, millis_or, number_or, parse_or, required_secret};

pub use self::variables::{VARIABLES, Variable};
use crate::gateway::config::GatewayConfig;
use crate::keys::Keys;

/// All that the service needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Postgres.
    pub database: DatabaseConfig,
    /// NATS.
    pub nats: NatsConfig,
    /// Where to listen, and how much at once.
    pub listen: ListenConfig,
    /// What seals tokens and cursors.
    pub keys: Keys,
    /// How long credentials live.
    pub credentials: CredentialsConfig,
    /// Which pages may use the session cookie.
    pub origins: AllowedOrigins,
    /// Whose sampling decision counts.
    pub trace_trusted: TrustedNetworks,
    /// Rate limits.
    pub limits: LimitsConfig,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// From SIGTERM to the hard stop.
    pub drain_deadline: Duration,
    /// This instance's name.
    pub instance: String,
}

/// The connections to Postgres.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`.
    pub url: SecretString,
    /// `DATABASE_POOL_MAX`, connections.
    pub connections_max: u32,
}

/// The connection to NATS.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// `NATS_URL`, with credentials.
    pub url: SecretString,
}

/// Listening sockets.
#[derive(Clone, Copy, Debug)]
pub struct ListenConfig {
    /// `LISTEN_ADDR`.
    pub public: SocketAddr,
    /// `OPS_ADDR`.
    pub ops: SocketAddr,
    /// `CONNECTIONS_MAX`: beyond it new connections wait in the kernel's queue.
    pub connections_max: usize,
}

/// Lives of credentials.
#[derive(Clone, Copy, Debug)]
pub struct CredentialsConfig {
    /// `ACCESS_TOKEN_TTL_S`, seconds.
    pub access_token_ttl_s: u64,
}

/// A rate with its burst.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Per second, in the long run.
    pub per_s: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Rate limits of one instance, and what one player may have open.
#[derive(Clone, Copy, Debug)]
pub struct LimitsConfig {
    /// Game commands, per player, HTTP and WebSocket together.
    pub commands: Rate,
    /// Requests, per peer address.
    pub requests: Rate,
    /// New players, per peer address.
    pub registrations: Rate,
    /// `CHALLENGES_PER_PLAYER`, 1 to 1000, default 20: open challenges that one player has made. The
    /// database counts them, whichever instance made them.
    pub challenges: u32,
}

/// Which origins may act with the session cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// The page's own: an `Origin` whose host and port are the request's `Host`.
    Own,
    /// These and no others.
    Listed(Vec<HeaderValue>),
}

/// Addresses whose `traceparent` decides whether a trace is recorded.
#[derive(Clone, Debug, Default)]
pub struct TrustedNetworks(Vec<IpNet>);

impl TrustedNetworks {
    /// Whether `address` is one of them. An IPv4 address that arrives over IPv6 counts as IPv4.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl Config {
    /// Reads every variable.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be used, with a sentence.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let drain_deadline = millis_or(env, "DRAIN_DEADLINE_MS", 20_000, 0..=600_000)?;
        Ok(Self {
            database: DatabaseConfig::from_env(env)?,
            nats: NatsConfig::from_env(env)?,
            listen: ListenConfig::from_env(env)?,
            keys: Keys::from_env(env)?,
            credentials: CredentialsConfig {
                access_token_ttl_s: number_or(env, "ACCESS_TOKEN_TTL_S", 3600, 60..=86_400)?,
            },
            origins: AllowedOrigins::from_env(env)?,
            trace_trusted: TrustedNetworks::from_env(env)?,
            limits: LimitsConfig::from_env(env)?,
            gateway: GatewayConfig::from_env(env)?.within(drain_deadline),
            drain_deadline,
            instance: instance_from_env(env)?,
        })
    }
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL` and `DATABASE_POOL_MAX`.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be used.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let what = "postgres://user:password@host:port/database";
        let url = required_secret(env, "DATABASE_URL", what)?;
        let text = url.expose_secret();
        let known = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !known || text.parse::<sqlx::postgres::PgConnectOptions>().is_err() {
            // The value is not shown: it holds a password.
            let problem = format!("is not a Postgres URL; give {what}");
            return Err(BadVariable::new("DATABASE_URL", problem));
        }
        // Commits and reads of games keep one each.
        let connections_max = number_or(env, "DATABASE_POOL_MAX", 10, 3..=500)?;
        Ok(Self {
            url,
            connections_max: u32::try_from(connections_max).unwrap_or(u32::MAX),
        })
    }
}

impl NatsConfig {
    fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let what = "nats://user:password@host:port";
        let url = required_secret(env, "NATS_URL", what)?;
        let valid = |text: &str| {
            let server = text.trim().parse::<async_nats::ServerAddr>();
            server.is_ok_and(|server| !server.is_websocket())
        };
        if url.expose_secret().split(',').all(valid) {
            return Ok(Self { url });
        }
        let problem = format!("is not a list of NATS URLs; give {what}");
        Err(BadVariable::new("NATS_URL", problem))
    }
}

impl ListenConfig {
    fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let public = SocketAddr::from(([127, 0, 0, 1], 8080));
        let ops = SocketAddr::from(([127, 0, 0, 1], 9100));
        let connections_max = number_or(env, "CONNECTIONS_MAX", 50_000, 10..=1_000_000)?;
        Ok(Self {
            public: parse_or(env, "LISTEN_ADDR", public)?,
            ops: parse_or(env, "OPS_ADDR", ops)?,
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
        })
    }
}

impl LimitsConfig {
    fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        Ok(Self {
            commands: Rate {
                per_s: count_or(env, "RATE_COMMANDS_PER_S", 20, 100_000)?,
                burst: count_or(env, "RATE_COMMANDS_BURST", 40, 100_000)?,
            },
            requests: Rate {
                per_s: count_or(env, "RATE_REQUESTS_PER_S", 2000, 1_000_000)?,
                burst: count_or(env, "RATE_REQUESTS_BURST", 4000, 1_000_000)?,
            },
            registrations: Rate {
                per_s: count_or(env, "RATE_REGISTRATIONS_PER_S", 200, 100_000)?,
                burst: count_or(env, "RATE_REGISTRATIONS_BURST", 1000, 100_000)?,
            },
            challenges: count_or(env, "CHALLENGES_PER_PLAYER", 20, 1000)?.get(),
        })
    }
}

impl AllowedOrigins {
    fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let Some(list) = env.get("ALLOWED_ORIGINS") else {
            return Ok(Self::Own);
        };
        list.split(',')
            .map(|text| parse_origin(text.trim()))
            .collect::<Result<_, _>>()
            .map(Self::Listed)
            .map_err(|problem| BadVariable::new("ALLOWED_ORIGINS", problem))
    }
}

impl TrustedNetworks {
    fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let list = env.get("TRACE_TRUSTED").unwrap_or_default();
        list.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(parse_network)
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|problem| BadVariable::new("TRACE_TRUSTED", problem))
    }
}

fn parse_network(entry: &str) -> Result<IpNet, String> {
    entry
        .parse::<IpNet>()
        .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{entry:?} is neither an address nor a network such as 10.0.0.0/8"))
}

/// An origin as a browser sends it (RFC 6454 §6.2): `scheme://host[:port]`, nothing after it.
fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let problem = || format!("{text:?} is not an origin such as https://play.example.org");
    let uri: Uri = text.parse().map_err(|_| problem())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(problem());
    };
    let plain = format!("{scheme}://{authority}");
    if !matches!(scheme, "http" | "https") || !plain.eq_ignore_ascii_case(text) {
        return Err(problem());
    }
    HeaderValue::from_str(&plain.to_ascii_lowercase()).map_err(|_| problem())
}

fn count_or(env: &dyn Env, name: &str, default: u32, max: u32) -> Result<NonZeroU32, BadVariable> {
    let number = number_or(env, name, default.into(), 1..=max.into())?;
    Ok(u32::try_from(number)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN))
}

fn instance_from_env(env: &dyn Env) -> Result<String, BadVariable> {
    /// Postgres cuts `application_name` at 63 bytes; `game-api ` stands before it.
    const INSTANCE_BYTES_MAX: usize = 48;
    let Some(name) = env.get("INSTANCE") else {
        return Ok(format!("{:08x}", rand::random::<u32>()));
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() <= INSTANCE_BYTES_MAX && name.chars().all(known) {
        return Ok(name);
    }
    let problem = format!("must be 1 to {INSTANCE_BYTES_MAX} letters, digits, dots, _ or -");
    Err(BadVariable::new("INSTANCE", problem))
}
