//! Very many games that are opened at once, as after the death of another instance.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::away::hold;
use super::harness::{Instance, NatsServer};

/// Who waits longer for a connection is refused by the pool.
const ACQUIRE_MAX: Duration = Duration::from_millis(500);

#[sqlx::test(migrations = "../migrations")]
async fn games_opened_all_at_once_wait_for_their_turn_and_none_is_refused(pool: PgPool) {
    let nats = NatsServer::start().await;
    let small = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(ACQUIRE_MAX)
        .connect_with((*pool.connect_options()).clone())
        .await
        .unwrap();
    let instance = Instance::start(&small, &nats, &[]).await;
    let white = instance.register().await;
    let (mut sockets, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let game = instance.create(&white, &json!({})).await;
        let socket = instance.socket(None).await;
        let topic = format!("game:{}", game["id"].as_str().unwrap());
        sockets.push((socket, topic));
    }
    let held = hold(&pool).await;
    for (socket, topic) in &mut sockets {
        asked.push(
            socket
                .ask(json!({"type": "subscribe", "topic": topic}))
                .await,
        );
    }
    // So long that the pool would refuse whoever waits for a connection.
    tokio::time::sleep(ACQUIRE_MAX * 3).await;
    held.rollback().await.unwrap();
    for ((socket, topic), reference) in sockets.iter_mut().zip(&asked) {
        let answer = socket.answer(reference).await;
        assert_eq!(answer["type"], "subscribed", "{topic}: {answer}");
    }
}
