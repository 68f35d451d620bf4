//! Real input: many whole games, over both transports, on two gateways.

use e2e::client::Transport::{Http, WebSocket};
use e2e::load::{Tournament, TournamentPlan};

use crate::harness::{assert_agreement, gateways, stack};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_games_tell_one_story_in_log_stream_and_frames() {
    let stack = stack(vec![]).await;
    let tournament = Tournament::start(&TournamentPlan {
        at_once: 50,
        transports: vec![
            [WebSocket, WebSocket],
            [WebSocket, Http],
            [Http, WebSocket],
            [Http, Http],
        ],
        ..TournamentPlan::new(gateways(&stack), 200, 200)
    });
    let records = tournament
        .finish()
        .await
        .expect("all games played to the end");
    assert_eq!(records.len(), 200);
    assert_agreement(&stack, &records).await;
    stack.end().await;
}
