//! Gateways killed in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use tokio::time::{Interval, interval, timeout};

use super::{Plan, Rhythm, STANDSTILL_MAX, doing};
use crate::load::Tournament;
use crate::supervisor::{Child, Metrics, Stack, loopback};

/// Between two looks at the progress while a kill is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Struck {
    pub(super) kills: u32,
    /// Sockets held by all gateways together, right before each kill.
    pub(super) connections: Vec<u64>,
}

/// Kills the gateways in turn, as often as planned, or until nobody plays any more: why they do not
/// is told by the tournament's conclusion.
pub(super) async fn strike(plan: &Plan, stack: &Stack, tournament: &mut Tournament) -> Struck {
    let mut struck = Struck::default();
    doing(plan, "seating the players");
    let tables = plan.clients / super::CLIENTS_A_TABLE;
    if moves(plan, tournament, tables as u64 * 2).await.is_err() {
        return struck;
    }
    doing(plan, "playing");
    let mut pace = Pace::new(plan.rhythm);
    let mut last: Option<&Child> = None;
    for (nth, victim) in (0..plan.kills).zip(stack.gateways.iter().cycle()) {
        if pace.wait(plan, tournament, last).await.is_err() {
            break;
        }
        struck.connections.push(connections(stack).await);
        victim.kill().await;
        last = Some(victim);
        struck.kills = nth + 1;
        plan.progress
            .send_modify(|progress| progress.kills = struck.kills);
    }
    // What the last kill came to belongs to the run as well.
    let _ = pace.wait(plan, tournament, last).await;
    struck
}

enum Pace {
    Time(Interval),
    Moves(u64),
}

impl Pace {
    fn new(rhythm: Rhythm) -> Self {
        match rhythm {
            Rhythm::Time(every) => {
                let mut interval = interval(every);
                interval.reset();
                Self::Time(interval)
            }
            Rhythm::Moves(every) => Self::Moves(every),
        }
    }

    /// Waits until the next gateway is to be killed.
    async fn wait(
        &mut self,
        plan: &Plan,
        tournament: &mut Tournament,
        last: Option<&Child>,
    ) -> Result<()> {
        match self {
            Self::Time(interval) => {
                let shown = show(plan, tournament);
                tokio::select! {
                    _ = interval.tick() => {}
                    () = shown => {}
                }
                Ok(())
            }
            Self::Moves(every) => {
                if let Some(last) = last {
                    last.ready().await?;
                }
                let now = *tournament.progress.borrow();
                moves(plan, tournament, now + *every).await
            }
        }
    }
}

/// Waits for so many moves, for as long as any are made.
async fn moves(plan: &Plan, tournament: &mut Tournament, count: u64) -> Result<()> {
    while *tournament.progress.borrow() < count {
        let next = *tournament.progress.borrow() + 1;
        let moved = timeout(STANDSTILL_MAX, tournament.moves(next)).await;
        moved.context("nobody moves any more")??;
        tell(plan, tournament);
    }
    Ok(())
}

async fn show(plan: &Plan, tournament: &Tournament) {
    loop {
        tell(plan, tournament);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(plan: &Plan, tournament: &Tournament) {
    let (moves, games) = (*tournament.progress.borrow(), tournament.ended());
    plan.progress.send_modify(|progress| {
        progress.moves = moves;
        progress.games = games;
    });
}

async fn connections(stack: &Stack) -> u64 {
    let ops = stack.ports.gateway_ops.iter();
    let scrapes = ops.map(|port| Metrics::of(loopback(*port)));
    let found = join_all(scrapes).await.into_iter().flatten();
    found
        .map(|metrics| metrics.count("gateway_connections"))
        .sum()
}
