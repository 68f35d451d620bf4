//! Postgres away: what is committed flows on, what is written fails and says so.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::ids::CommandId;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};
use tokio::time::timeout;

use super::harness::{Instance, NatsServer, numbers, relay};

/// Holds games and their log, so that nothing of them is read or written until the end of the
/// transaction: to a gateway, a Postgres that does not answer.
pub(super) async fn hold(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut held = pool.begin().await.unwrap();
    sqlx::query("lock table games, game_events, players in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    held
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_committed_flows_while_postgres_is_away_and_writes_fail(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let b = Instance::start(&pool, &nats, &[]).await;
    let (white, black, game) = a.game(&json!({})).await;
    relay(&pool, &nats, |_| true).await;
    let mut watcher = b.socket(Some(&black)).await;
    watcher.subscribe(&game, Some("0")).await;
    let seen = watcher.frames(2).await;
    let cursor = seen[1]["cursor"].as_str().unwrap().to_owned();
    a.moves(&white, &game, "e2e4").await;

    // The instances wait with the connections that they have; the relay has its own.
    let own = PgPoolOptions::new()
        .connect_with((*pool.connect_options()).clone())
        .await
        .unwrap();
    let held = hold(&own).await;
    relay(&own, &nats, |_| true).await;
    assert_eq!(numbers(&watcher.frames(1).await), [3]);
    // Who was away for a moment needs no database either, while somebody else watches.
    let mut back = b.socket(Some(&black)).await;
    assert_eq!(back.subscribe(&game, Some(&cursor)).await["resumed"], true);
    assert_eq!(numbers(&back.frames(1).await), [3]);

    let command = json!({"command_id": CommandId::generate(),
        "action": {"type": "move", "uci": "e7e5"}});
    let path = format!("/v1/games/{game}/commands");
    let send = async || -> (u16, Value) {
        let (status, answer) = b.call("POST", &path, Some(&black.token), &command).await;
        (status.as_u16(), answer)
    };
    let (status, refused) = send().await;
    assert_eq!(
        (status, &refused["reason"]),
        (503, &json!("persistence_failure"))
    );
    held.rollback().await.unwrap();

    // Sent again, it is carried out once, and only then seen.
    let (status, answer) = send().await;
    assert_eq!((status, &answer["n"]), (200, &json!(4)), "{answer}");
    for socket in [&mut watcher, &mut back] {
        let frames = socket.frames(1).await;
        assert_eq!((numbers(&frames), &frames[0]), (vec![4], &answer["frame"]));
    }
    drop((watcher, back));
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_needs_the_database_is_told_in_time_that_it_is_away_however_many_ask(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut watcher = a.socket(None).await;
    watcher.subscribe(&game, None).await;
    watcher.frames(1).await;
    // A new state, of which no snapshot has been drawn.
    let black = a.register().await;
    a.join(&black, &game).await;
    watcher.frames(1).await;
    let mut crowd = Vec::new();
    for _ in 0..6 {
        crowd.push(a.socket(None).await);
    }
    let own = PgPoolOptions::new()
        .connect_with((*pool.connect_options()).clone())
        .await
        .unwrap();
    let held = hold(&own).await;
    // Each within the patience of a test.
    let answers = join_all(crowd.iter_mut().map(|socket| socket.subscribe(&game, None))).await;
    for answer in answers {
        assert_eq!(answer["reason"], "unavailable", "{answer}");
    }
    held.rollback().await.unwrap();
    for socket in &mut crowd {
        assert_eq!(socket.subscribe(&game, None).await["type"], "subscribed");
        assert_eq!(numbers(&socket.frames(1).await), [2]);
    }
    drop((watcher, crowd));
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_asks_for_counts_is_told_in_time_that_there_are_none(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let own = PgPoolOptions::new()
        .connect_with((*pool.connect_options()).clone())
        .await
        .unwrap();
    let mut held = own.begin().await.unwrap();
    sqlx::query("lock table presence, gateways in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let all = join_all((0..4).map(|_| a.get("/v1/stats", None)));
    // A read is given up after 8 s.
    let answers = timeout(Duration::from_secs(12), all).await.unwrap();
    for (status, answer) in answers {
        assert_eq!(status.as_u16(), 503, "{answer}");
    }
    held.rollback().await.unwrap();
    let (status, answer) = a.get("/v1/stats", None).await;
    assert_eq!(status.as_u16(), 200, "{answer}");
    a.stop().await;
}
