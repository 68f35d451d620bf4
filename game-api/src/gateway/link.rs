//! The connection to NATS as the gateway sees it: up, or away.
//!
//! Away is noticed within [`PING_EVERY`] × 3, also if the server is frozen and not closed: the
//! client gives a connection up when two pings stand unanswered and the third is due. Subscriptions
//! survive a reconnect, the messages of the meantime do not.

use std::time::Duration;

use async_nats::{ConnectOptions, Event};
use tokio::sync::watch;

/// How often the client pings: a third of the longest time in which a frozen server goes unnoticed,
/// which must be under 5 s.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A frozen server accepts connections and says nothing; the next attempt should not wait long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause between attempts: how much later than NATS the gateway is back.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Whether events can arrive.
    pub up: bool,
    /// Grows whenever events may have been lost: at every connect and at an overflow.
    pub losses: u64,
}

/// Watches the connection. Clones watch the same one.
#[derive(Clone, Debug)]
pub struct Link(watch::Receiver<LinkState>);

impl Link {
    /// Adds what the gateway needs to the options of the process's connection.
    #[must_use]
    pub fn observe(options: ConnectOptions) -> (ConnectOptions, Self) {
        let (sender, receiver) = watch::channel(LinkState::default());
        let options = options
            .ping_interval(PING_EVERY)
            .connection_timeout(CONNECT_TIMEOUT)
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                note(&sender, &event);
                std::future::ready(())
            });
        (options, Self(receiver))
    }

    /// Whether events can arrive now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.borrow().up
    }

    /// The present state, marked as seen.
    pub fn look(&mut self) -> LinkState {
        *self.0.borrow_and_update()
    }

    /// Waits until the state is another than the one last looked at.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The client is gone: nothing changes any more.
            std::future::pending().await
        }
    }
}

fn note(state: &watch::Sender<LinkState>, event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("NATS is away, rooms read the log instead"),
        Event::SlowConsumer(_) => tracing::warn!("an event from NATS found no room in its queue"),
        other => tracing::info!(event = %other, "NATS connection"),
    }
    state.send_if_modified(|state| {
        let before = *state;
        match event {
            Event::Connected => *state = LinkState { up: true, losses: state.losses + 1 },
            Event::SlowConsumer(_) => state.losses += 1,
            Event::Disconnected | Event::Closed => state.up = false,
            _ => {}
        }
        *state != before
    });
}

fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.min(10)).unwrap_or(10);
    (Duration::from_millis(1) * 2_u32.pow(doublings)).min(RECONNECT_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reconnect_is_a_loss_also_when_the_link_is_back_before_anybody_looks() {
        let (sender, receiver) = watch::channel(LinkState::default());
        let mut link = Link(receiver);
        note(&sender, &Event::Connected);
        let before = link.look();
        note(&sender, &Event::Disconnected);
        note(&sender, &Event::Connected);
        link.changed().await;
        let after = link.look();
        assert!(before.up && after.up);
        assert!(after.losses > before.losses);
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        assert!(pause(1) < pause(3));
        assert_eq!(pause(1000), RECONNECT_PAUSE_MAX);
    }
}
