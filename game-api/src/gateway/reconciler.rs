//! Compares the watched games with the database: what NATS lost, also the last event of a game,
//! which no later one would reveal, is found here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared::ids::GameId;
use tokio::time::{Instant, sleep, timeout};

use super::Gateway;
use super::room::Room;
use crate::games::entity::Seq;
use crate::games::repo;

/// Between two comparisons while NATS is away: events then arrive within twice this.
const AWAY_EVERY: Duration = Duration::from_millis(250);
/// For so long after a reconnect comparisons go on as if NATS were away: until the subscriptions
/// stand again, events may pass unheard.
const SETTLING: Duration = Duration::from_secs(2);
/// While NATS is there, an event that was just committed is on its way; one that has not come
/// after this is taken to be lost.
const IN_FLIGHT: Duration = Duration::from_millis(100);
/// A comparison that takes longer has failed.
const QUERY_MAX: Duration = Duration::from_secs(5);

/// Runs until the last room has ended in the drain, or its hard stop.
pub(super) async fn run(gateway: Gateway) {
    let mut link = gateway.link().clone();
    let stopping = gateway.life().stopping();
    let draining = gateway.life().draining();
    let mut up = link.look();
    let mut settled_at = Instant::now();
    loop {
        let settled = up && Instant::now() >= settled_at;
        let quick = !settled || draining.is_cancelled();
        let pause = if quick {
            AWAY_EVERY
        } else {
            gateway.config().reconcile_every
        };
        tokio::select! {
            () = sleep(pause) => {}
            // Whoever watched nothing has missed nothing.
            () = link.changed() => if !gateway.is_vacant() {
                settled_at = Instant::now() + SETTLING;
            },
            () = draining.cancelled(), if !quick => {}
            () = stopping.cancelled() => return,
        }
        if draining.is_cancelled() && gateway.is_vacant() {
            return;
        }
        up = link.look();
        compare(&gateway, settled).await;
    }
}

async fn compare(gateway: &Gateway, in_flight: bool) {
    let watched = gateway.watched();
    if watched.is_empty() {
        return;
    }
    let ids: Vec<GameId> = watched.iter().map(|(_, id, _)| *id).collect();
    let latest = match timeout(QUERY_MAX, repo::latest_seqs(gateway.pool(), &ids)).await {
        Ok(Ok(latest)) => latest,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the watched games could not be compared with the database");
            return;
        }
        Err(_) => {
            tracing::warn!("the database did not answer the comparison in time");
            return;
        }
    };
    let latest = HashMap::<GameId, Seq>::from_iter(latest);
    let behind = watched
        .into_iter()
        .filter_map(|(room, id, _)| Some((room, *latest.get(&id)?)));
    let mut behind: Vec<(Arc<Room>, Seq)> = behind.filter(is_behind).collect();
    if in_flight && !behind.is_empty() {
        sleep(IN_FLIGHT).await;
        behind.retain(is_behind);
    }
    for (room, latest) in behind {
        let missing = latest.0 - room.seq().unwrap_or(latest).0;
        gateway
            .metrics()
            .gateway_reconciled_total
            .inc_by(u64::try_from(missing).unwrap_or(0));
        room.nudge();
    }
}

fn is_behind((room, latest): &(Arc<Room>, Seq)) -> bool {
    room.seq().is_some_and(|seq| seq < *latest)
}
