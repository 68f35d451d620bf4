//! The post-commit hint to the relays: coalesced and best effort, since relays poll anyway.

use std::sync::Arc;

use shared::lifecycle::Lifecycle;
use shared::subjects;
use tokio::sync::Notify;

/// Rings the relays' bell. Clones ring the same one.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Starts the worker that publishes one hint for however many commits there were meanwhile.
    #[must_use]
    pub fn start(nats: async_nats::Client, life: &Lifecycle) -> Self {
        let wake = Self::default();
        let bell = wake.0.clone();
        let draining = life.draining();
        life.spawn_worker("wake hints", async move {
            loop {
                tokio::select! {
                    () = bell.notified() => {}
                    () = draining.cancelled() => return,
                }
                hint(&nats).await;
            }
        });
        wake
    }

    /// Says that rows wait in the outbox.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

async fn hint(nats: &async_nats::Client) {
    use async_nats::connection::State;
    // While NATS is away the client would queue hints that nobody needs any more.
    if nats.connection_state() != State::Connected {
        return;
    }
    if let Err(error) = nats.publish(subjects::WAKE, bytes::Bytes::new()).await {
        tracing::debug!(%error, "the relays could not be woken, they will poll");
    }
}
