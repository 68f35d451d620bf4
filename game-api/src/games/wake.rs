//! The post-commit hint to the relays: coalesced and best effort, since relays poll anyway.

use shared::lifecycle::Lifecycle;
use shared::subjects;
use tokio::sync::mpsc;

/// Rings the relays' bell. Clones ring the same one.
#[derive(Clone, Debug)]
pub struct Wake(mpsc::Sender<()>);

impl Wake {
    /// Starts the worker that publishes one hint for however many commits there were meanwhile. It
    /// runs until nobody can ring any more: in a drain moves are still made.
    #[must_use]
    pub fn start(nats: async_nats::Client, life: &Lifecycle) -> Self {
        let (ring, mut bell) = mpsc::channel(1);
        let stopping = life.stopping();
        life.spawn_worker("wake hints", async move {
            let hints = async {
                while bell.recv().await.is_some() {
                    hint(&nats).await;
                }
            };
            tokio::select! {
                () = hints => {}
                () = stopping.cancelled() => {}
            }
        });
        Self(ring)
    }

    /// Says that rows wait in the outbox.
    pub fn ring(&self) {
        // A full bell rings already.
        let _ = self.0.try_send(());
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
