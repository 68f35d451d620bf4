//! The gateway's settings.

use std::time::Duration;

use shared::env::{BadVariable, Env, millis_or, number_or};

/// What may be set.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// `GATEWAY_RECONCILE_MS`, 100 to 60000, default 3000: how often the watched games are compared
    /// with the database while NATS is there, and so how late a lost message is at most.
    pub reconcile_every: Duration,
    /// `GATEWAY_SOCKETS_PER_PLAYER`, 1 to 10000, default 32: open connections, WebSocket or SSE,
    /// of one player on one instance.
    pub sockets_per_player_max: usize,
    /// `GATEWAY_RECONNECT_SPREAD_MS`, 0 to 60000, default 3000: over how long a drain spreads the
    /// departure of its clients, if its deadline leaves so much.
    pub reconnect_spread: Duration,
    /// `GATEWAY_HEARTBEAT_MS`, 1000 to 120000, default 25000: between two pings to a WebSocket, and
    /// between two comments of a quiet SSE stream.
    pub heartbeat: Duration,
    /// `GATEWAY_PRESENCE_MS`, 100 to 60000, default 2000: how often this gateway says who is here
    /// and asks who is there.
    pub presence_every: Duration,
}

/// What a drain needs beside the time over which it spreads the departures: sockets stay open for
/// a second longer, commands in flight take three at most, and closing takes one.
const LAST_DEPARTURE_MAX: Duration = Duration::from_secs(5);

impl GatewayConfig {
    /// The same for an instance that is ended `deadline` after its drain has begun: the last client
    /// must be gone by then.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        let left = deadline.saturating_sub(LAST_DEPARTURE_MAX);
        self.reconnect_spread = self.reconnect_spread.min(left);
        self
    }

    /// Reads the variables.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let sockets = number_or(env, "GATEWAY_SOCKETS_PER_PLAYER", 32, 1..=10_000)?;
        Ok(Self {
            reconcile_every: millis_or(env, "GATEWAY_RECONCILE_MS", 3000, 100..=60_000)?,
            sockets_per_player_max: usize::try_from(sockets).unwrap_or(usize::MAX),
            reconnect_spread: millis_or(env, "GATEWAY_RECONNECT_SPREAD_MS", 3000, 0..=60_000)?,
            heartbeat: millis_or(env, "GATEWAY_HEARTBEAT_MS", 25_000, 1000..=120_000)?,
            presence_every: millis_or(env, "GATEWAY_PRESENCE_MS", 2000, 100..=60_000)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn departures_are_over_when_the_drain_must_be() {
        let config = GatewayConfig::from_env(&HashMap::new()).unwrap();
        let spread = |deadline_s| {
            let config = config.clone().within(Duration::from_secs(deadline_s));
            config.reconnect_spread.as_secs()
        };
        assert_eq!([0, 5, 7, 20].map(spread), [0, 0, 2, 3]);
    }
}
