//! Resuming at any gateway: exactly the missing frames, or a snapshot.

use std::sync::Arc;

use game_api::gateway::cursor::Cursors;
use game_api::keys::Keys;
use game_api::rules::ViewClass;
use serde_json::{Value, json};
use shared::ids::GameId;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, numbers, relay};

/// A game in which `moves` were made.
async fn played(a: &Instance, moves: &[&str]) -> (Player, Player, String) {
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    for (i, uci) in moves.iter().enumerate() {
        a.moves([&white, &black][i % 2], &game, uci).await;
    }
    (white, black, game)
}

const OPENING: [&str; 6] = ["e2e4", "e7e5", "g1f3", "b8c6", "f1c4", "g8f6"];

#[sqlx::test(migrations = "../migrations")]
async fn a_cursor_of_one_gateway_resumes_at_another_with_exactly_what_is_missing(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, _, game) = played(&a, &OPENING[..2]).await;
    let mut socket = a.socket(Some(&white)).await;
    socket.subscribe(&game, Some("0")).await;
    let seen = socket.frames(4).await;
    let cursor = seen[3]["cursor"].as_str().unwrap().to_owned();
    drop(socket);
    a.moves(&white, &game, OPENING[2]).await;

    let b = Instance::start(&pool, &nats, &[]).await;
    let mut socket = b.socket(Some(&white)).await;
    assert_eq!(
        socket.subscribe(&game, Some(&cursor)).await["resumed"],
        true
    );
    let missed = socket.frames(1).await;
    assert_eq!(numbers(&missed), [5]);
    let cursor = missed[0]["cursor"].as_str().unwrap().to_owned();
    assert_eq!(
        socket.subscribe(&game, Some(&cursor)).await["resumed"],
        true
    );
    socket.is_usable().await;
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_log_longer_than_the_ring_is_replayed_whole_and_goes_on_live(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("RATE_COMMANDS_BURST", "1000")]).await;
    let (white, _, game) = {
        let (white, black) = (a.register().await, a.register().await);
        let wanted = json!({"ruleset": "turn-log"});
        let game = a.create(&white, &wanted).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        a.join(&black, &game).await;
        for i in 0..150 {
            let action = json!({"type": "append", "payload": i});
            a.act([&white, &black][i % 2], &game, &action).await;
        }
        (white, black, game)
    };
    let mut socket = a.socket(None).await;
    assert_eq!(socket.subscribe(&game, Some("0")).await["resumed"], true);
    assert_eq!(
        numbers(&socket.frames(152).await),
        (1..=152).collect::<Vec<_>>()
    );
    a.act(&white, &game, &json!({"type": "append", "payload": "live"}))
        .await;
    let live = socket.frames(1).await;
    assert_eq!(
        (numbers(&live), &live[0]["event"]["payload"]),
        (vec![153], &json!("live"))
    );
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_gateway_that_is_behind_reads_on_before_it_answers_a_cursor_that_is_ahead(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let (white, black, game) = played(&a, &OPENING[..1]).await;
    let mut behind = b.socket(Some(&black)).await;
    behind.subscribe(&game, None).await;
    assert_eq!(numbers(&behind.frames(1).await), [3]);
    // No relay runs, so the second gateway hears nothing of these.
    a.moves(&black, &game, OPENING[1]).await;
    let ahead = a.moves(&white, &game, OPENING[2]).await;

    let mut socket = b.socket(Some(&white)).await;
    let cursor = ahead["cursor"].as_str().unwrap();
    assert_eq!(socket.subscribe(&game, Some(cursor)).await["resumed"], true);
    socket.is_usable().await;
    assert_eq!(
        numbers(&behind.frames(2).await),
        [4, 5],
        "whoever watched there gains by it"
    );
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cursor_from_a_future_that_a_restore_took_back_gets_a_snapshot(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, _, game) = played(&a, &OPENING[..1]).await;
    let id: GameId = game.parse().unwrap();
    let future = a.app.gateway.cursors().seal(id, ViewClass::White, 99);
    let mut socket = a.socket(Some(&white)).await;
    assert_eq!(
        socket.subscribe(&game, Some(&future)).await["resumed"],
        false
    );
    let snapshot = socket.next().await;
    assert_eq!(
        (&snapshot["type"], &snapshot["n"]),
        (&json!("snapshot"), &json!(3))
    );
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cursor_of_an_old_epoch_or_a_retired_key_gets_a_snapshot(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, _, game) = played(&a, &OPENING[..1]).await;
    let id: GameId = game.parse().unwrap();
    let keys = Arc::new(a.app.config.keys.clone());
    let old = Cursors::of_epoch(keys, 0).seal(id, ViewClass::White, 1);
    let retired = Cursors::new(Arc::new(Keys::new([9; 32], &[]))).seal(id, ViewClass::White, 1);
    let mut socket = a.socket(Some(&white)).await;
    for cursor in [old, retired] {
        assert_eq!(
            socket.subscribe(&game, Some(&cursor)).await["resumed"],
            false
        );
        assert_eq!(socket.next().await["type"], "snapshot");
        let path = format!("/v1/games/{game}/events?after={cursor}");
        let (_, polled) = a.get(&path, Some(&white.token)).await;
        assert_eq!(polled["reset"], true);
        assert_eq!(polled["frames"][0]["type"], "snapshot");
    }
    let resyncs = &a.app.metrics.gateway_resyncs_total;
    assert_eq!(resyncs.with_label_values(&["cursor"]).get(), 4);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_false_cursor_and_one_of_another_game_or_class_are_invalid(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black, game) = played(&a, &OPENING[..1]).await;
    let other = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cursor = |of: &str, class| a.app.gateway.cursors().seal(of.parse().unwrap(), class, 1);
    let mut forged = cursor(&game, ViewClass::White);
    forged.replace_range(20..21, if &forged[20..21] == "A" { "B" } else { "A" });

    let mut socket = a.socket(Some(&white)).await;
    for bad in [
        forged,
        cursor(&other, ViewClass::White),
        cursor(&game, ViewClass::Black),
        cursor(&game, ViewClass::Public),
        "1".to_owned(),
        String::new(),
    ] {
        let refused = socket.subscribe(&game, Some(&bad)).await;
        assert_eq!(
            (&refused["type"], &refused["reason"]),
            (&json!("error"), &json!("invalid"))
        );
        let path = format!("/v1/games/{game}/events?after={bad}");
        let (status, problem) = a.get(&path, Some(&white.token)).await;
        assert_eq!(
            (status.as_u16(), &problem["reason"]),
            (400, &json!("invalid")),
            "{bad}"
        );
    }
    socket.is_usable().await;
    let mut socket = a.socket(Some(&black)).await;
    let own = cursor(&game, ViewClass::Black);
    assert_eq!(socket.subscribe(&game, Some(&own)).await["resumed"], true);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_viewer_who_lags_beyond_the_ring_is_given_the_present(pool: PgPool) {
    const APPENDS: usize = 80;
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("RATE_COMMANDS_BURST", "1000")]).await;
    let b = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let wanted = json!({"ruleset": "turn-log"});
    let game = a.create(&white, &wanted).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    relay(&pool, &nats, |_| true).await;
    let mut watcher = b.socket(None).await;
    watcher.subscribe(&game, None).await;
    assert_eq!(numbers(&watcher.frames(1).await), [2]);
    // The second gateway hears of the last of many moves alone, and reads the hole in one piece
    // that is longer than its ring.
    for i in 0..APPENDS {
        let action = json!({"type": "append", "payload": i});
        a.act([&white, &black][i % 2], &game, &action).await;
    }
    relay(&pool, &nats, |number| number == APPENDS - 1).await;
    let last = json!(APPENDS + 2);
    let frames = watcher.up_to(|frame: &Value| frame["n"] == last).await;
    let frame = frames.last().unwrap();
    assert_eq!((&frame["type"], frames.len()), (&json!("snapshot"), 1));
    assert_eq!(
        b.app
            .metrics
            .gateway_resyncs_total
            .with_label_values(&["lagged"])
            .get(),
        1
    );
    a.stop().await;
    b.stop().await;
}
