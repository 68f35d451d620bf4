//! The connection to NATS as the gateway sees it: up, or away. Subscriptions survive a reconnect,
//! the messages of the meantime do not.

use tokio::sync::watch;

/// Watches the connection. Clones watch the same one, each with what it has seen.
#[derive(Clone, Debug)]
pub struct Link(watch::Receiver<bool>);

impl Link {
    /// A link that is up when `connected` says so. Every connect must be told, also if nobody
    /// looked since the one before: events may have been lost in between.
    #[must_use]
    pub fn new(connected: watch::Receiver<bool>) -> Self {
        Self(connected)
    }

    /// Whether events can arrive now; marks it as seen.
    pub fn look(&mut self) -> bool {
        *self.0.borrow_and_update()
    }

    /// Waits until the connection has come or gone since the last look.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The client is gone: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}
