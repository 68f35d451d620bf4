//! NATS away during play: slower, never wrong.

use std::time::{Duration, Instant};

use e2e::client::Transport::{Http, WebSocket};
use e2e::load::{Tournament, TournamentPlan};

use crate::harness::{Duel, assert_agreement, gateways, stack};

/// A gateway without NATS asks the database every 250 ms.
const BY_RECONCILIATION: Duration = Duration::from_millis(500);
/// A frozen broker is noticed within 5 s.
const NOTICED: Duration = Duration::from_secs(5);

/// Moves that undo each other, for as long as a test wants: well below the third repetition.
const SHUFFLE: [&str; 4] = ["g1f3", "g8f6", "f3g1", "f6g8"];

/// Moves come over by reconciliation. Half of them at least in time: one may meet a machine that is busy with
/// something else.
async fn assert_reconciled(duel: &mut Duel) {
    let mut took = Vec::new();
    for uci in SHUFFLE {
        let sent = Instant::now();
        duel.play(uci).await;
        took.push(sent.elapsed());
    }
    let mut sorted = took.clone();
    sorted.sort();
    assert!(
        sorted[(sorted.len() - 1) / 2] < BY_RECONCILIATION,
        "{took:?}"
    );
}

#[tokio::test]
async fn without_nats_the_other_gateway_learns_of_moves_within_half_a_second() {
    let stack = stack(vec![]).await;
    let mut duel = Duel::start(&stack).await;
    duel.play("e2e4").await;
    duel.play("e7e5").await;
    let nats = &stack.nats.as_ref().expect("private").child;

    nats.end().await;
    assert_reconciled(&mut duel).await;

    nats.start_again().await.expect("NATS is back");
    duel.play("d2d4").await;
    stack.end().await;
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_and_costs_no_move() {
    let stack = stack(vec![]).await;
    let mut duel = Duel::start(&stack).await;
    duel.play("e2e4").await;
    let nats = &stack.nats.as_ref().expect("private").child;

    nats.freeze().await;
    let sent = Instant::now();
    duel.play("e7e5").await;
    assert!(
        sent.elapsed() < NOTICED + BY_RECONCILIATION,
        "took {:?}",
        sent.elapsed()
    );
    assert_reconciled(&mut duel).await;
    nats.thaw().await;
    duel.play("d2d4").await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_of_nats_the_stream_catches_up_in_order() {
    let stack = stack(vec![]).await;
    let mut tournament = Tournament::start(&TournamentPlan {
        at_once: 20,
        transports: vec![[WebSocket, WebSocket], [WebSocket, Http]],
        ..TournamentPlan::new(gateways(&stack), 40, 5)
    });
    let nats = &stack.nats.as_ref().expect("private").child;
    tournament.moves(200).await.expect("moves");
    nats.end().await;
    tournament.moves(500).await.expect("moves without NATS");
    nats.start_again().await.expect("NATS is back");
    tournament.moves(800).await.expect("moves");
    nats.kill().await;
    nats.ready().await.expect("NATS is back");
    let records = tournament
        .finish()
        .await
        .expect("all games played to the end");
    assert_agreement(&stack, &records).await;
    stack.end().await;
}
