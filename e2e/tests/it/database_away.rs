//! Postgres away during play: durable before visible.

use std::time::{Duration, Instant};

use e2e::client::protocol::move_action;
use e2e::client::{Api, Refusal, new_id};
use reqwest::Method;

use crate::harness::{Duel, PATIENCE, stack};

/// The contract: a failed write is answered within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// `/health` is 503 for so long after the last failed write.
const HEALTH_WINDOW: Duration = Duration::from_mins(1);

async fn health(api: &Api) -> u16 {
    api.raw(Method::GET, "/health")
        .send()
        .await
        .map_or(0, |response| response.status().as_u16())
}

async fn health_becomes(api: &Api, status: u16, deadline: Duration) {
    let reached = async {
        while health(api).await != status {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(deadline, reached)
        .await
        .unwrap_or_else(|_| panic!("/health never was {status}"));
}

/// Sends a move by `POST` that must fail, and returns its command id.
async fn fail(duel: &Duel, uci: &str) -> uuid::Uuid {
    let (nth, _, at) = duel.to_move();
    let command_id = new_id();
    let sent = Instant::now();
    let refusal = duel.apis[nth]
        .command(
            &duel.sessions[nth],
            duel.game,
            command_id,
            Some(at),
            &move_action(uci),
        )
        .await
        .expect_err("no database");
    assert_eq!(refusal.reason(), Some("persistence_failure"), "{refusal}");
    assert!(matches!(refusal, Refusal::Problem { status, .. } if status == 503));
    assert!(
        sent.elapsed() < ANSWER_DEADLINE,
        "answered after {:?}",
        sent.elapsed()
    );
    command_id
}

/// Sends the command again until it is carried out, as the protocol says a client should.
async fn insist(duel: &Duel, command_id: uuid::Uuid, at: u64, uci: &str) -> u64 {
    let (nth, _, _) = duel.to_move();
    let insisted = async {
        loop {
            let again = duel.apis[nth]
                .command(
                    &duel.sessions[nth],
                    duel.game,
                    command_id,
                    Some(at),
                    &move_action(uci),
                )
                .await;
            match again {
                Ok(answer) => return answer.body.n,
                Err(refusal) if refusal.reason() == Some("persistence_failure") => {}
                Err(refusal) => panic!("{refusal}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, insisted)
        .await
        .expect("carried out")
}

/// What a spectator is told now.
async fn public_ply(api: &Api, duel: &Duel) -> usize {
    api.current(None, duel.game).await.expect("read").view.ply
}

#[tokio::test]
async fn while_postgres_is_stopped_moves_fail_are_not_seen_and_play_goes_on_after() {
    let stack = stack(vec![]).await;
    let mut duel = Duel::start(&stack).await;
    duel.play("e2e4").await;
    duel.play("e7e5").await;
    assert_eq!(health(&duel.apis[0]).await, 200);
    let postgres = &stack.postgres.as_ref().expect("private").child;

    postgres.end().await;
    let (_, ply, at) = duel.to_move();
    let command_id = fail(&duel, "g1f3").await;
    let failed_by = Instant::now();
    assert_eq!(health(&duel.apis[0]).await, 503);
    assert_eq!(
        health(&duel.apis[1]).await,
        200,
        "the other instance had no failed write"
    );
    postgres.start_again().await.expect("Postgres is back");

    // It was refused before anything was written: the log does not hold it, so nobody sees it.
    assert_eq!(public_ply(&duel.apis[1], &duel).await, ply);
    assert_eq!(insist(&duel, command_id, at, "g1f3").await, at + 1);
    for nth in 0..2 {
        duel.frame_at(nth, ply + 1).await;
    }
    duel.play("b8c6").await;

    health_becomes(&duel.apis[0], 200, HEALTH_WINDOW + PATIENCE).await;
    assert!(
        failed_by.elapsed() > HEALTH_WINDOW.mul_f32(0.95),
        "recovered after {:?}",
        failed_by.elapsed()
    );
    stack.end().await;
}

#[tokio::test]
async fn a_move_whose_outcome_is_unknown_is_seen_only_if_the_log_holds_it() {
    let stack = stack(vec![]).await;
    let mut duel = Duel::start(&stack).await;
    duel.play("e2e4").await;
    let postgres = &stack.postgres.as_ref().expect("private").child;
    let (_, ply, at) = duel.to_move();

    postgres.freeze().await;
    let command_id = fail(&duel, "e7e5").await;
    postgres.thaw().await;

    // Sent again, it learns the truth; and there is one event of it, whichever that was.
    assert_eq!(insist(&duel, command_id, at, "e7e5").await, at + 1);
    for nth in 0..2 {
        duel.frame_at(nth, ply + 1).await;
    }
    assert_eq!(public_ply(&duel.apis[0], &duel).await, ply + 1);
    duel.play("g1f3").await;
    stack.end().await;
}
