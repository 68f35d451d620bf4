//! Configuration: one struct per concern, read from the environment by [`Config::from_env`], no IO.
//! [`VARIABLES`] is what `--help` prints.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use shared::env::{BadVariable, Env, millis_or, number_or, parse_or, required_secret};

use crate::gateway::config::GatewayConfig;
use crate::keys::Keys;

/// A variable as `--help` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it holds, with unit, range and default.
    pub what: &'static str,
}

const fn variable(name: &'static str, what: &'static str) -> Variable {
    Variable { name, what }
}

/// Every variable that `run` reads, except those of telemetry (`RUST_LOG`, `LOG_FORMAT`, `OTEL_*`).
pub const VARIABLES: [Variable; 24] = [
    variable(
        "DATABASE_URL",
        "postgres://user:password@host:port/database; required",
    ),
    variable(
        "DATABASE_POOL_MAX",
        "connections to Postgres, 2 to 500; default 10",
    ),
    variable(
        "NATS_URL",
        "nats://user:password@host:port, several separated by commas; required",
    ),
    variable("LISTEN_ADDR", "public address; default 127.0.0.1:8080"),
    variable(
        "OPS_ADDR",
        "address of /metrics, /livez, /readyz, /health; default 127.0.0.1:9100",
    ),
    variable(
        "FOGLINE_KEYS",
        "id:base64,…, 32 bytes each, the same on every instance: the first seals, all open; required",
    ),
    variable(
        "ALLOWED_ORIGINS",
        "origins separated by commas whose pages may use the session cookie; default: the page's own \
         (an Origin with the request's Host)",
    ),
    variable(
        "TRACE_TRUSTED",
        "addresses and networks (CIDR) separated by commas whose traceparent decides sampling; \
         default none",
    ),
    variable(
        "ACCESS_TOKEN_TTL_S",
        "life of an access token, seconds, 60 to 86400; default 3600",
    ),
    variable(
        "RATE_COMMANDS_PER_S",
        "game commands a second a player, 1 to 100000; default 20",
    ),
    variable(
        "RATE_COMMANDS_BURST",
        "game commands at once, 1 to 100000; default 40",
    ),
    variable(
        "RATE_REQUESTS_PER_S",
        "requests a second an address, 1 to 1000000; default 2000",
    ),
    variable(
        "RATE_REQUESTS_BURST",
        "requests at once, 1 to 1000000; default 4000",
    ),
    variable(
        "RATE_REGISTRATIONS_PER_S",
        "new players a second an address, 1 to 100000; default 200",
    ),
    variable(
        "RATE_REGISTRATIONS_BURST",
        "new players at once, 1 to 100000; default 1000",
    ),
    variable(
        "CHALLENGES_PER_PLAYER",
        "open challenges that one player has made, on all instances, 1 to 1000; default 20",
    ),
    variable(
        "CONNECTIONS_MAX",
        "open TCP connections, 10 to 1000000; default 50000",
    ),
    variable(
        "GATEWAY_RECONCILE_MS",
        "between two comparisons of the watched games with the database, ms, 100 to 60000; default 3000",
    ),
    variable(
        "GATEWAY_SOCKETS_PER_PLAYER",
        "open WebSocket and SSE connections of one player, 1 to 10000; default 32",
    ),
    variable(
        "GATEWAY_RECONNECT_SPREAD_MS",
        "over how long a drain spreads the departure of its clients, ms, 0 to 60000; default 3000",
    ),
    variable(
        "GATEWAY_HEARTBEAT_MS",
        "between two pings of a WebSocket, ms, 1000 to 120000; default 25000",
    ),
    variable(
        "GATEWAY_PRESENCE_MS",
        "between two looks at who is there of the watched games, ms, 100 to 60000; default 2000",
    ),
    variable(
        "DRAIN_DEADLINE_MS",
        "from SIGTERM to the hard stop, ms, 0 to 600000; default 20000",
    ),
    variable(
        "INSTANCE",
        "name of this instance in logs and towards Postgres and NATS; default: made up",
    ),
];

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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    const KEY: &str = "k:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn env(more: &[(&str, &str)]) -> HashMap<String, String> {
        let needed = [
            ("DATABASE_URL", "postgres://fogline@127.0.0.1/fogline"),
            ("NATS_URL", "nats://127.0.0.1:4222"),
            ("FOGLINE_KEYS", KEY),
        ];
        let all = needed.iter().chain(more);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn refusal(name: &str, value: &str) -> String {
        Config::from_env(&env(&[(name, value)]))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn three_variables_are_enough() {
        let config = Config::from_env(&env(&[])).unwrap();
        assert_eq!(config.listen.public.to_string(), "127.0.0.1:8080");
        assert_eq!(config.origins, AllowedOrigins::Own);
        assert_eq!(config.limits.commands.per_s.get(), 20);
        assert_eq!(config.limits.commands.burst.get(), 40);
    }

    #[test]
    fn a_bad_value_is_a_sentence_with_the_name_and_without_the_secret() {
        let cases = [
            ("DATABASE_URL", "mysql:secret@x", "is not a Postgres URL"),
            (
                "NATS_URL",
                "http://secret@x:y",
                "is not a list of NATS URLs",
            ),
            // Neither of the two connections speaks it.
            (
                "NATS_URL",
                "nats://a,ws://secret@x",
                "is not a list of NATS URLs",
            ),
            ("LISTEN_ADDR", "here", "cannot use \"here\""),
            ("ACCESS_TOKEN_TTL_S", "1", "from 60 to 86400"),
            ("RATE_COMMANDS_PER_S", "0", "from 1 to 100000"),
            ("ALLOWED_ORIGINS", "*", "is not an origin"),
            ("ALLOWED_ORIGINS", "https://a.example/", "is not an origin"),
            (
                "TRACE_TRUSTED",
                "10.0.0.0/33",
                "neither an address nor a network",
            ),
            ("INSTANCE", "a b", "must be 1 to 48"),
        ];
        for (name, value, expected) in cases {
            let sentence = refusal(name, value);
            assert!(sentence.starts_with(name), "{sentence}");
            assert!(sentence.contains(expected), "{sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }

    #[test]
    fn networks_and_addresses_are_trusted_also_over_ipv6() {
        let config = Config::from_env(&env(&[("TRACE_TRUSTED", "10.0.0.0/8, ::1")])).unwrap();
        for (address, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("11.0.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(
                config.trace_trusted.contain(address.parse().unwrap()),
                trusted,
                "{address}"
            );
        }
    }

    /// Notes what is asked for.
    struct Asked(HashMap<String, String>, RefCell<BTreeSet<String>>);

    impl Env for Asked {
        fn get(&self, name: &str) -> Option<String> {
            self.1.borrow_mut().insert(name.to_owned());
            Env::get(&self.0, name)
        }
    }

    #[test]
    fn help_lists_exactly_what_is_read() {
        let asked = Asked(env(&[]), RefCell::default());
        Config::from_env(&asked).unwrap();
        let listed = VARIABLES.map(|variable| variable.name.to_owned());
        assert_eq!(*asked.1.borrow(), BTreeSet::from(listed));
    }
}
