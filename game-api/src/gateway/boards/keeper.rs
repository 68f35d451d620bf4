//! The worker that keeps the boards.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::lobby::Lobby;
use super::me::Players;
use crate::gateway::Gateway;

/// From a new reader's coming to the look for it: many come at once when a gateway has died.
const BELL_PAUSE: Duration = Duration::from_millis(50);

/// In a drain: until the last reader is gone.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs until the last reader has gone in the drain, or its hard stop.
pub(in crate::gateway) async fn run(gateway: Gateway) {
    let every = gateway.config().presence_every;
    let (draining, stopping) = (gateway.life().draining(), gateway.life().stopping());
    let (mut lobby, mut players) = (Lobby::default(), Players::default());
    let mut next = Instant::now();
    loop {
        let parting = draining.is_cancelled();
        if parting && gateway.boards().are_unread() {
            return;
        }
        tokio::select! {
            () = sleep_until(next) => {
                next = Instant::now() + every;
                // A failure was logged where it was found; what is shown stays as it was.
                let _ = lobby.look(&gateway).await;
                let _ = players.go_on(&gateway).await;
            }
            () = gateway.boards().bell.notified() => sleep(BELL_PAUSE).await,
            () = draining.cancelled(), if !parting => {}
            () = sleep(DRAIN_LOOK_EVERY), if parting => {}
            () = stopping.cancelled() => return,
        }
        if Lobby::is_wanted(&gateway) {
            let _ = lobby.look(&gateway).await;
        }
        let _ = players.begin(&gateway).await;
    }
}
