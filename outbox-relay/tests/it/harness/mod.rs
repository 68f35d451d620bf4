//! What the tests are made of. Everything waits on conditions; a condition that is not met within
//! [`PATIENCE`] fails the test with its name.

mod nats;
mod outbox;
mod proxy;
mod relay;
mod stream;

use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use nats::NatsServer;
pub(crate) use outbox::Outbox;
pub(crate) use proxy::Proxy;
pub(crate) use relay::{Process, Relay, command};
pub(crate) use stream::Stream;

/// How long a test waits for a condition: far longer than it ever takes, so that only what will
/// never happen fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
