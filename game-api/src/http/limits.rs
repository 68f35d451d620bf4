//! Rate limits of one instance: commands per player, requests and registrations per address.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use shared::ids::PlayerId;
use shared::lifecycle::Lifecycle;

use super::peer;
use crate::app::App;
use crate::config::{LimitsConfig, Rate};
use crate::problem::{Problem, Reason};

/// How often keys that are back at their full burst are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// Keys that one limit remembers, a few megabytes; who comes on top of that is refused until some
/// are forgotten.
const KEYS_MAX: usize = 200_000;

/// The limits, shared by HTTP and WebSocket.
#[derive(Debug)]
pub struct Limits {
    commands: Keyed<PlayerId>,
    requests: Keyed<IpAddr>,
    registrations: Keyed<IpAddr>,
}

impl Limits {
    /// Nobody has used anything yet.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            commands: Keyed::new(config.commands),
            requests: Keyed::new(config.requests),
            registrations: Keyed::new(config.registrations),
        }
    }

    /// One game command of a player, by HTTP or WebSocket.
    ///
    /// # Errors
    /// `rate_limited` with the time until the next one is allowed.
    pub fn command(&self, player: PlayerId) -> Result<(), Problem> {
        self.commands.take(&player, "game commands")
    }

    /// One request of an address; a WebSocket's opening is one.
    ///
    /// # Errors
    /// `rate_limited` with the time until the next one is allowed.
    pub fn request(&self, address: IpAddr) -> Result<(), Problem> {
        self.requests.take(&network(address), "requests")
    }

    /// One new player from an address.
    ///
    /// # Errors
    /// `rate_limited` with the time until the next one is allowed.
    pub fn registration(&self, address: IpAddr) -> Result<(), Problem> {
        self.registrations.take(&network(address), "new players")
    }

    /// Forgets, now and then, who has not been here for a while.
    pub fn forget_regularly(self: &Arc<Self>, life: &Lifecycle) {
        let (limits, draining) = (self.clone(), life.draining());
        life.spawn_worker("limits", async move {
            loop {
                tokio::select! {
                    () = draining.cancelled() => return,
                    () = tokio::time::sleep(FORGET_INTERVAL) => limits.forget(),
                }
            }
        });
    }

    fn forget(&self) {
        self.commands.forget();
        self.requests.forget();
        self.registrations.forget();
    }
}

struct Keyed<K: Hash + Eq + Clone>(DefaultKeyedRateLimiter<K>);

impl<K: Hash + Eq + Clone> std::fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_s).allow_burst(rate.burst);
        Self(RateLimiter::keyed(quota))
    }

    fn take(&self, key: &K, what: &str) -> Result<(), Problem> {
        if self.0.len() >= KEYS_MAX {
            self.forget();
            if self.0.len() >= KEYS_MAX {
                return Err(refusal(what, FORGET_INTERVAL));
            }
        }
        self.0
            .check_key(key)
            .map_err(|not_until| refusal(what, not_until.wait_time_from(self.0.clock().now())))
    }

    fn forget(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

fn refusal(what: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem {
        retry_after_s: Some(seconds.max(1)),
        ..Problem::new(Reason::RateLimited, format!("too many {what}"))
    }
}

/// An IPv6 customer has a whole /64: it counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Counts every request against its address.
pub async fn limit_requests(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.limits.request(peer(request.extensions())) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let rejected = &app.metrics.gateway_rejected_total;
            rejected.with_label_values(&[problem.reason.as_str()]).inc();
            problem.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(per_s: u32, burst: u32) -> Rate {
        Rate {
            per_s: NonZeroU32::new(per_s).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    fn limits() -> Limits {
        Limits::new(&LimitsConfig {
            commands: rate(1, 3),
            requests: rate(1, 2),
            registrations: rate(1, 1),
            challenges: 1,
        })
    }

    #[test]
    fn the_burst_is_allowed_and_then_the_rate_and_each_key_has_its_own() {
        let (limits, one, other) = (limits(), PlayerId::generate(), PlayerId::generate());
        for _ in 0..3 {
            limits.command(one).unwrap();
        }
        let problem = limits.command(one).unwrap_err();
        assert_eq!(problem.reason, Reason::RateLimited);
        assert_eq!(problem.retry_after_s, Some(1));
        limits.command(other).unwrap();
    }

    #[test]
    fn a_whole_ipv6_customer_is_one_address() {
        let limits = limits();
        limits.registration("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limits.registration("2001:db8::2".parse().unwrap()).is_err());
        limits
            .registration("2001:db8:0:1::1".parse().unwrap())
            .unwrap();
    }

    #[test]
    fn who_is_back_at_full_burst_is_forgotten() {
        let limits = Limits::new(&LimitsConfig {
            commands: rate(1_000_000, 1),
            requests: rate(1, 1),
            registrations: rate(1, 1),
            challenges: 1,
        });
        for _ in 0..1000 {
            let _ = limits.command(PlayerId::generate());
        }
        // A microsecond after its command a player is back at the full burst.
        limits.forget();
        assert!(limits.commands.0.len() < 1000);
    }
}
