//! The variables, as `--help` prints them.

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
