//! The socket itself: refusals that leave it usable, and the ends that do not.

use serde_json::{Value, json};
use shared::ids::{CommandId, GameId};
use sqlx::PgPool;
use tokio_tungstenite::tungstenite;

use super::harness::{Instance, NatsServer, numbers};

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
async fn the_thirty_third_topic_is_refused_until_one_is_given_up(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let mut games = Vec::new();
    for _ in 0..33 {
        games.push(
            a.create(&white, &json!({})).await["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let mut socket = a.socket(Some(&white)).await;
    for game in &games[..32] {
        assert_eq!(socket.subscribe(game, None).await["type"], "subscribed");
    }
    assert_eq!(
        socket.subscribe(&games[32], None).await["reason"],
        "rate_limited"
    );
    // One that there is already may be asked for again.
    assert_eq!(
        socket.subscribe(&games[0], None).await["type"],
        "subscribed"
    );
    let reference = socket
        .ask(json!({"type": "unsubscribe", "topic": format!("game:{}", games[0])}))
        .await;
    assert_eq!(socket.answer(&reference).await["type"], "unsubscribed");
    assert_eq!(
        socket.subscribe(&games[32], None).await["type"],
        "subscribed"
    );
    assert_eq!(a.app.metrics.gateway_subscriptions.get(), 32);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_message_over_four_kibibytes_is_named_and_ends_the_socket_with_1009(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    for bytes in [4097, 1_000_000] {
        let mut socket = a.socket(None).await;
        let padding = "x".repeat(bytes);
        socket.send_text(&padding).await;
        let error = socket.next().await;
        assert_eq!(
            (&error["type"], &error["reason"]),
            (&json!("error"), &json!("too_large"))
        );
        let close = socket.next_or_close().await.unwrap_err().unwrap();
        assert_eq!(u16::from(close.code), 1009);
    }
    let mut socket = a.socket(None).await;
    let fits = json!({"type": "ping", "ref": "a"}).to_string();
    socket
        .send_text(&format!("{fits}{}", " ".repeat(4096 - fits.len())))
        .await;
    assert_eq!(socket.next().await["type"], "pong");
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_says_nothing_is_shown_out(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let mut socket = a.socket(None).await;
    let error = socket.next().await;
    assert_eq!(
        (&error["type"], &error["reason"]),
        (&json!("error"), &json!("invalid"))
    );
    let close = socket.next_or_close().await.unwrap_err().unwrap();
    assert_eq!(u16::from(close.code), 1008);
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
async fn a_player_has_so_many_sockets_and_no_more(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_SOCKETS_PER_PLAYER", "2")]).await;
    let white = a.register().await;
    let sockets = (a.socket(Some(&white)).await, a.socket(Some(&white)).await);
    let refused = a.raw_connect(&white.token).await.unwrap_err();
    let tungstenite::Error::Http(answer) = refused else {
        panic!("{refused}")
    };
    assert_eq!(answer.status().as_u16(), 429);
    let refused = a.raw_connect("nonsense").await.unwrap_err();
    let tungstenite::Error::Http(answer) = refused else {
        panic!("{refused}")
    };
    assert_eq!(answer.status().as_u16(), 401);
    drop(sockets);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_drain_sends_clients_away_with_a_time_and_1012(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_RECONNECT_SPREAD_MS", "700")]).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut socket = a.socket(Some(&white)).await;
    socket.subscribe(&game, None).await;
    socket.frames(1).await;
    a.drain();
    let reconnect = socket.next().await;
    assert_eq!(reconnect["type"], "reconnect");
    assert!(reconnect["after_ms"].as_u64().unwrap() <= 700);
    let close = socket.next_or_close().await.unwrap_err().unwrap();
    assert_eq!(u16::from(close.code), 1012);
    drop(socket);
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
