//! The socket itself: refusals that leave it usable, and the ends that do not.

use serde_json::{Value, json};
use shared::ids::{CommandId, GameId};
use sqlx::{PgPool, Postgres, Transaction};

use super::harness::{Instance, NatsServer, kinds, numbers, until};

#[sqlx::test(migrations = "../migrations")]
async fn every_bad_message_is_refused_by_name_and_the_socket_stays_usable(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let mut socket = a.socket(Some(&white)).await;
    let unknown = GameId::generate().to_string();
    let topic = format!("game:{unknown}");
    for (text, reference, reason) in [
        ("{".to_owned(), None, "invalid"),
        ("[]".to_owned(), None, "invalid"),
        (json!({"type": "ping"}).to_string(), None, "invalid"),
        (json!({"type": "ping", "ref": "a", "x": 1}).to_string(), Some("a"), "invalid"),
        (json!({"type": "nonsense", "ref": "b"}).to_string(), Some("b"), "invalid"),
        (json!({"type": "subscribe", "ref": "c", "topic": "game:1"}).to_string(), Some("c"), "invalid"),
        (json!({"type": "subscribe", "ref": "d", "topic": "moon"}).to_string(), Some("d"), "not_found"),
        (json!({"type": "subscribe", "ref": "e", "topic": topic}).to_string(), Some("e"), "not_found"),
        (json!({"type": "unsubscribe", "ref": "f", "topic": topic}).to_string(), Some("f"), "not_found"),
        (
            json!({"type": "command", "ref": "g", "game": unknown, "command_id": CommandId::generate(),
                "action": {"type": "resign"}}).to_string(),
            Some("g"),
            "not_found",
        ),
        (
            json!({"type": "command", "ref": "h", "game": unknown, "command_id": "1",
                "action": {"type": "resign"}}).to_string(),
            Some("h"),
            "invalid",
        ),
    ] {
        socket.send_text(&text).await;
        let error = socket.next().await;
        assert_eq!(error["type"], "error", "{text}");
        assert_eq!(error["reason"], reason, "{text}: {error}");
        assert_eq!(error.get("ref").and_then(Value::as_str), reference, "{text}");
    }
    socket.is_usable().await;
    let rejected = &a.app.metrics.gateway_rejected_total;
    assert_eq!(rejected.with_label_values(&["not_found"]).get(), 4);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_spectator_cannot_act_and_a_private_game_is_not_there_for_strangers(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({"visibility": "private"})).await;
    let (id, code) = (game["id"].as_str().unwrap(), game["code"].as_str().unwrap());
    let mut stranger = a.socket(None).await;
    let refused = stranger.command(id, &json!({"type": "resign"})).await;
    assert_eq!(refused["reason"], "unauthorized");
    let unknown = GameId::generate().to_string();
    let (refused, nowhere) = (
        stranger.subscribe(id, None).await,
        stranger.subscribe(&unknown, None).await,
    );
    assert_eq!(refused["reason"], "not_found");
    assert_eq!(refused["detail"], nowhere["detail"]);
    let reference = stranger
        .ask(json!({"type": "subscribe", "topic": format!("game:{id}"), "code": code}))
        .await;
    assert_eq!(stranger.answer(&reference).await["type"], "subscribed");
    let (status, _) = a.get(&format!("/v1/games/{id}/events"), None).await;
    assert_eq!(status.as_u16(), 404);
    let (status, _) = a
        .get(&format!("/v1/games/{id}/events?code={code}"), None)
        .await;
    assert_eq!(status.as_u16(), 200);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn commands_are_acknowledged_repeated_and_refused_under_their_ref(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    let mut socket = a.socket(Some(&white)).await;
    let id = CommandId::generate();
    let command = |uci: &str| {
        json!({"type": "command", "game": game, "command_id": id,
            "action": {"type": "move", "uci": uci}})
    };
    let first = socket.ask(command("e2e4")).await;
    let again = socket.ask(command("e2e4")).await;
    let other = socket.ask(command("d2d4")).await;
    let (first, again, other) = (
        socket.answer(&first).await,
        socket.answer(&again).await,
        socket.answer(&other).await,
    );
    assert_eq!(
        (&first["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&first["n"], &first["cursor"]),
        (&again["n"], &again["cursor"])
    );
    assert_eq!(other["reason"], "conflict");
    let early = socket
        .command(&game, &json!({"type": "move", "uci": "d2d4"}))
        .await;
    assert_eq!(early["reason"], "not_your_turn");
    socket.subscribe(&game, first["cursor"].as_str()).await;
    a.moves(&black, &game, "e7e5").await;
    assert_eq!(numbers(&socket.frames(1).await), [4]);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_drain_sends_clients_away_with_a_time_and_1012(pool: PgPool) {
    let nats = NatsServer::start().await;
    let settings = [
        ("GATEWAY_RECONNECT_SPREAD_MS", "2000"),
        ("GATEWAY_PRESENCE_MS", "100"),
    ];
    let a = Instance::start(&pool, &nats, &settings).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut socket = a.socket(Some(&white)).await;
    socket.subscribe(&game, None).await;
    socket.frames(1).await;
    let mut visitor = a.socket(None).await;
    visitor
        .ask(json!({"type": "subscribe", "topic": "lobby"}))
        .await;
    visitor.up_to(|message| message["type"] == "snapshot").await;
    a.drain();
    for socket in [&mut socket, &mut visitor] {
        let reconnect = socket.next().await;
        assert_eq!(reconnect["type"], "reconnect");
        assert!(reconnect["after_ms"].as_u64().unwrap() <= 2000);
    }
    // Until its time has come it is a socket as any other.
    let abort = json!({
        "type": "command", "game": game, "command_id": CommandId::generate(),
        "action": {"type": "abort"},
    });
    let reference = socket.ask(abort).await;
    // In either order.
    let answers = [socket.next().await, socket.next().await];
    assert!(
        answers
            .iter()
            .any(|answer| answer["type"] == "ack" && answer["ref"] == reference)
    );
    assert!(
        answers
            .iter()
            .any(|answer| answer["event"]["kind"] == "ended")
    );
    visitor
        .up_to(|message| message["gone"] == json!([game]))
        .await;
    for socket in [&mut socket, &mut visitor] {
        let close = loop {
            match socket.next_or_close().await {
                Ok(message) => assert_eq!(message["topic"], "lobby"),
                Err(close) => break close.unwrap(),
            }
        };
        assert_eq!(u16::from(close.code), 1012);
    }
    drop((socket, visitor));
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_takes_nothing_is_given_up_and_costs_the_others_nothing(pool: PgPool) {
    const REPLAYS: usize = 24;
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("RATE_COMMANDS_BURST", "1000")]).await;
    let (white, black) = (a.register().await, a.register().await);
    let wanted = json!({"ruleset": "turn-log"});
    let game = a.create(&white, &wanted).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    let payload = "x".repeat(3500);
    for i in 0..40 {
        let action = json!({"type": "append", "payload": payload});
        a.act([&white, &black][i % 2], &game, &action).await;
    }
    // Asks for the whole log again and again (8 MB in all), and takes none of it.
    let mut deaf = a.deaf_socket().await;
    for _ in 0..REPLAYS {
        deaf.ask(json!({"type": "subscribe", "topic": format!("game:{game}"), "cursor": "0"}))
            .await;
        deaf.ask(json!({"type": "ping"})).await;
    }
    let mut other = a.socket(None).await;
    other.subscribe(&game, None).await;
    other.frames(1).await;
    let action = json!({"type": "append", "payload": "still here"});
    a.act(&white, &game, &action).await;
    assert_eq!(other.frames(1).await[0]["event"]["payload"], "still here");
    let disconnects = &a.app.metrics.gateway_disconnects_total;
    let given_up = async || disconnects.with_label_values(&["stalled"]).get() == 1;
    // Ten seconds of patience are the server's, the rest is the test's.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !given_up().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the deaf socket is still served"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(deaf);
    drop(other);
    a.stop().await;
}

/// Holds every game, so that nothing of one is read or written until the end of the transaction.
async fn hold_games(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut held = pool.begin().await.unwrap();
    sqlx::query("lock table games in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    held
}

#[sqlx::test(migrations = "../migrations")]
async fn who_closes_is_answered_and_the_commands_sent_before_are_carried_out(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    let mut socket = a.socket(Some(&white)).await;
    let held = hold_games(&pool).await;
    // The second waits for the first, and so has not begun when the client goes.
    for action in [
        json!({"type": "move", "uci": "e2e4"}),
        json!({"type": "resign"}),
    ] {
        let id = CommandId::generate();
        socket
            .ask(json!({"type": "command", "game": game, "command_id": id, "action": action}))
            .await;
    }
    socket.close().await;
    let close = socket.next_or_close().await.unwrap_err().unwrap();
    assert_eq!(u16::from(close.code), 1000);
    held.rollback().await.unwrap();
    until("both commands are carried out", async || {
        let path = format!("/v1/games/{game}");
        let (_, view) = a.get(&path, Some(&white.token)).await;
        view.to_string().contains(r#""finished""#)
    })
    .await;
    let events = format!("/v1/games/{game}/events");
    let (_, log) = a.get(&events, Some(&white.token)).await;
    let frames = log["frames"].as_array().unwrap();
    assert!(kinds(frames).contains(&"moved"), "{log}");
    assert_eq!(kinds(frames).last(), Some(&"ended"), "{log}");
    let disconnects = &a.app.metrics.gateway_disconnects_total;
    assert_eq!(disconnects.with_label_values(&["closed"]).get(), 1);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_refused_subscription_leaves_the_one_before_it_as_it_was(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    let mut socket = a.socket(Some(&white)).await;
    socket.subscribe(&game, None).await;
    let n = numbers(&socket.frames(1).await)[0];
    let refused = socket.subscribe(&game, Some("junk")).await;
    assert_eq!(refused["reason"], "invalid", "{refused}");
    a.moves(&white, &game, "e2e4").await;
    assert_eq!(numbers(&socket.frames(1).await), [n + 1]);
    // One that opens takes its place: what follows comes once.
    assert_eq!(socket.subscribe(&game, None).await["type"], "subscribed");
    assert_eq!(numbers(&socket.frames(1).await), [n + 1]);
    assert_eq!(a.app.metrics.gateway_subscriptions.get(), 1);
    a.moves(&black, &game, "e7e5").await;
    a.moves(&white, &game, "d2d4").await;
    assert_eq!(numbers(&socket.frames(2).await), [n + 2, n + 3]);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_subscription_given_up_before_it_was_open_is_answered(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut socket = a.socket(Some(&white)).await;
    let held = hold_games(&pool).await;
    let topic = format!("game:{game}");
    let first = socket
        .ask(json!({"type": "subscribe", "topic": topic}))
        .await;
    let second = socket
        .ask(json!({"type": "subscribe", "topic": topic}))
        .await;
    let replaced = socket.next().await;
    assert_eq!(
        (&replaced["ref"], &replaced["reason"]),
        (&json!(first), &json!("conflict"))
    );
    let third = socket
        .ask(json!({"type": "unsubscribe", "topic": topic}))
        .await;
    let given_up = socket.next().await;
    assert_eq!(
        (&given_up["ref"], &given_up["reason"]),
        (&json!(second), &json!("conflict"))
    );
    let unsubscribed = socket.next().await;
    assert_eq!(
        (&unsubscribed["ref"], &unsubscribed["type"]),
        (&json!(third), &json!("unsubscribed"))
    );
    held.rollback().await.unwrap();
    assert_eq!(socket.subscribe(&game, None).await["type"], "subscribed");
    a.stop().await;
}
