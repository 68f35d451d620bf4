//! Clients that are there no more, or take nothing: each is found, and counted under its reason.

use std::time::Duration;

use serde_json::{Value, json};
use shared::ids::CommandId;
use sqlx::PgPool;
use tokio::time::timeout;

use super::away::hold;
#[cfg(target_os = "linux")]
use super::harness::vanish;
use super::harness::{Instance, NatsServer, until, until_within};

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_that_nobody_reads_is_given_up_and_costs_the_others_nothing(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("RATE_COMMANDS_BURST", "1000")]).await;
    let (white, black, game) = a.game(&json!({"ruleset": "turn-log"})).await;
    // Together more than the kernel keeps for a client that does not read.
    let payload = "x".repeat(3500);
    for i in 0..100 {
        let action = json!({"type": "append", "payload": payload});
        a.act([&white, &black][i % 2], &game, &action).await;
    }
    let path = format!("/v1/games/{game}/stream");
    let deaf = a.deaf_stream(&path).await;
    let mut other = a.socket(None).await;
    other.subscribe(&game, None).await;
    other.frames(1).await;
    until("both are there", async || {
        a.app.metrics.gateway_subscriptions.get() == 2
    })
    .await;
    let action = json!({"type": "append", "payload": "still here"});
    a.act(&white, &game, &action).await;
    assert_eq!(other.frames(1).await[0]["event"]["payload"], "still here");
    // Ten seconds of patience are the server's, the rest is the test's.
    let patience = Duration::from_secs(25);
    until_within(patience, "the deaf stream is given up", async || {
        a.disconnects("stalled") == 1
    })
    .await;
    assert_eq!(a.app.metrics.gateway_subscriptions.get(), 1);
    // One that the client ends is no such thing.
    drop(a.stream(&path, None).await);
    assert_eq!(a.disconnects("closed"), 1);
    drop((deaf, other));
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_answers_no_ping_is_found(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_HEARTBEAT_MS", "1000")]).await;
    let mut answering = a.socket(None).await;
    answering.is_usable().await;
    // A client that is there as far as TCP can see, and has fallen silent after its first message.
    let mut silent = a.deaf_socket().await;
    silent.ask(json!({"type": "ping"})).await;
    tokio::select! {
        // Whoever reads answers pings.
        message = answering.next_or_close() => panic!("{message:?}"),
        () = until("the silent one is found", async || a.disconnects("silent") == 1) => {}
    }
    let close = loop {
        match silent.next_or_close().await {
            Ok(message) => assert_ne!(message["type"], Value::from("error")),
            Err(close) => break close.unwrap(),
        }
    };
    assert_eq!(u16::from(close.code), 1008);
    answering.is_usable().await;
    drop(answering);
    a.stop().await;
}

#[cfg(target_os = "linux")]
#[sqlx::test(migrations = "../migrations")]
async fn who_is_gone_without_a_word_is_found(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_HEARTBEAT_MS", "1000")]).await;
    let (_white, _black, game) = a.game(&json!({})).await;
    let path = format!("/v1/games/{game}/stream");
    // The streams differ from nothing but the network: nobody answers them, and one of the two has
    // nobody who could.
    let (here, gone) = (a.deaf_stream(&path).await, a.deaf_stream(&path).await);
    let mut there = a.socket(None).await;
    there.is_usable().await;
    let mut away = a.socket(None).await;
    away.subscribe(&game, None).await;
    until("all are there", async || {
        a.app.metrics.gateway_subscriptions.get() == 3
    })
    .await;
    vanish(&gone);
    away.vanish();
    // Within two heartbeats, and what this machine takes for it.
    let both = until_within(
        Duration::from_secs(6),
        "those who are gone are found",
        async || a.disconnects("silent") == 2,
    );
    tokio::select! {
        // Whoever reads answers pings.
        message = there.next_or_close() => panic!("{message:?}"),
        () = both => {}
    }
    assert_eq!(a.app.metrics.gateway_subscriptions.get(), 1);
    // A socket that is given up holds its place for a moment, to say goodbye.
    until("their places are free", async || {
        a.app.metrics.gateway_connections.get() == 2
    })
    .await;
    there.is_usable().await;
    drop((here, gone, there, away));
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_is_not_listened_to_is_not_taken_for_silent(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_HEARTBEAT_MS", "1000")]).await;
    let (white, _black, game) = a.game(&json!({})).await;
    let mut socket = a.socket(Some(&white)).await;
    let held = hold(&pool).await;
    // As many as a socket may have in flight, and then nothing more of it is read.
    for _ in 0..32 {
        let action = json!({"type": "move", "uci": "e2e5"});
        let id = CommandId::generate();
        socket
            .ask(json!({"type": "command", "game": game, "command_id": id, "action": action}))
            .await;
    }
    // Some beats, in each of which the client answers.
    let five_beats = timeout(Duration::from_secs(5), socket.next_or_close()).await;
    assert!(five_beats.is_err(), "{five_beats:?}");
    held.rollback().await.unwrap();
    socket.is_usable().await;
    drop(socket);
    a.stop().await;
}
