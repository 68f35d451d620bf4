//! Crashes in the middle of play: nothing lost, nothing doubled, nothing out of order.

use e2e::client::Transport::{Http, WebSocket};
use e2e::faults::{Fault, strike_by_progress};
use e2e::load::{GameRecord, Tournament, TournamentPlan};
use e2e::supervisor::Stack;

use crate::harness::{assert_agreement, gateways, stack};

/// Enough games that a fault every few hundred moves strikes in the middle.
fn start(stack: &Stack, games: usize, seed: u64) -> Tournament {
    Tournament::start(&TournamentPlan {
        at_once: 50,
        transports: vec![
            [WebSocket, WebSocket],
            [WebSocket, Http],
            [Http, WebSocket],
            [Http, Http],
        ],
        ..TournamentPlan::new(gateways(stack), games, seed)
    })
}

fn reconnects(records: &[GameRecord]) -> usize {
    records.iter().map(|record| record.passages().count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_killed_ten_times_and_a_gateway_lose_double_and_reorder_nothing() {
    let stack = stack(vec![]).await;
    let mut tournament = start(&stack, 200, 31);
    let relays: Vec<_> = stack.relays.iter().collect();
    strike_by_progress(&mut tournament, Fault::Kill, &relays, 5, 300)
        .await
        .expect("five faults");
    strike_by_progress(&mut tournament, Fault::Kill, &[&stack.gateways[0]], 1, 300)
        .await
        .expect("a fault");
    strike_by_progress(&mut tournament, Fault::Kill, &relays, 5, 300)
        .await
        .expect("five faults");
    let records = tournament
        .finish()
        .await
        .expect("all games played to the end");
    assert!(
        reconnects(&records) > 0,
        "nobody had to move to the other gateway"
    );
    assert_agreement(&stack, &records).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_everything_is_noticed_by_reconnects_alone() {
    let stack = stack(vec![]).await;
    let mut tournament = start(&stack, 60, 47);
    let all: Vec<_> = stack.gateways.iter().chain(&stack.relays).collect();
    strike_by_progress(&mut tournament, Fault::Restart, &all, all.len(), 250)
        .await
        .expect("restarts");
    let records = tournament
        .finish()
        .await
        .expect("all games played to the end");
    assert!(
        reconnects(&records) > 0,
        "nobody had to move to the other gateway"
    );
    assert_agreement(&stack, &records).await;
    stack.end().await;
}
