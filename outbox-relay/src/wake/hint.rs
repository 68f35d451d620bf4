//! Hints over core NATS.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::stream::broker::Broker;

/// Calls `heard` and notifies `notify` for each message on `subject`, until `stop`. The client
/// subscribes anew by itself after a reconnect.
pub async fn watch(
    broker: Broker,
    subject: &'static str,
    notify: Arc<Notify>,
    heard: impl Fn() + Send,
    stop: CancellationToken,
) {
    let mut messages = match broker.client.subscribe(subject).await {
        Ok(messages) => messages,
        Err(error) => {
            tracing::warn!(%error, subject, "hints cannot be heard, polling goes on");
            return stop.cancelled().await;
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = messages.next() => {
                if message.is_none() {
                    return stop.cancelled().await;
                }
                heard();
                notify.notify_one();
            }
        }
    }
}
