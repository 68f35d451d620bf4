//! Rooms that are opened at the same time read the database together.

use std::collections::HashMap;

use serde_json::json;
use sqlx::PgPool;

use super::away::hold;
use super::harness::{Instance, NatsServer};

const GAMES: usize = 20;

/// How many games were read, in how many queries.
fn read(instance: &Instance) -> (f64, u64) {
    let sizes = &instance.app.metrics.gateway_read_batch_size;
    (sizes.get_sample_sum(), sizes.get_sample_count())
}

#[sqlx::test(migrations = "../migrations")]
async fn games_opened_at_once_are_read_together_and_a_bad_one_fails_alone(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let mut games = Vec::new();
    for _ in 0..GAMES {
        let game = a.create(&white, &json!({})).await;
        games.push(game["id"].as_str().unwrap().to_owned());
    }
    // A row, and an event, that no build can read.
    for (statement, game) in [
        (
            "update games set scene = '1', ruleset = 'none' where id = $1::uuid",
            &games[3],
        ),
        (
            "update game_events set payload = '{}' where game_id = $1::uuid",
            &games[7],
        ),
    ] {
        sqlx::query(statement)
            .bind(game)
            .execute(&pool)
            .await
            .unwrap();
    }
    let (mut socket, mut asked) = (a.socket(None).await, Vec::new());
    let before = read(&a);
    let held = hold(&pool).await;
    for game in &games {
        let subscribe = json!({"type": "subscribe", "topic": format!("game:{game}")});
        asked.push(socket.ask(subscribe).await);
    }
    socket.is_usable().await;
    held.rollback().await.unwrap();
    let mut answers = HashMap::new();
    while answers.len() < GAMES {
        let message = socket.next().await;
        if let Some(reference) = message["ref"].as_str() {
            answers.insert(reference.to_owned(), message);
        }
    }
    for (nth, reference) in asked.iter().enumerate() {
        let answer = &answers[reference];
        if [3, 7].contains(&nth) {
            assert_eq!(answer["reason"], "unavailable", "{nth}: {answer}");
        } else {
            assert_eq!(answer["type"], "subscribed", "{nth}: {answer}");
        }
    }
    let after = read(&a);
    let games = after.0 - before.0;
    assert!((games - GAMES as f64).abs() < f64::EPSILON, "{games} games");
    // The first to ask go ahead; whoever came while their query was held went in the next one.
    assert!(after.1 - before.1 <= 3, "{} queries", after.1 - before.1);
    drop(socket);
    a.stop().await;
}
