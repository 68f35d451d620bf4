//! How much a socket, and whoever has sockets, may ask for.

use serde_json::json;
use sqlx::PgPool;
use tokio_tungstenite::tungstenite;

use super::harness::{Instance, NatsServer, Player, until};

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
    // Answering pings is not saying something.
    let a = Instance::start(&pool, &nats, &[("GATEWAY_HEARTBEAT_MS", "1000")]).await;
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
    assert_eq!(answer.headers()["retry-after"], "1");
    let refused = a.raw_connect("nonsense").await.unwrap_err();
    let tungstenite::Error::Http(answer) = refused else {
        panic!("{refused}")
    };
    assert_eq!(answer.status().as_u16(), 401);
    drop(sockets);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn malformed_messages_are_limited_like_all_others(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let mut socket = a.socket(None).await;
    let malformed = json!({"type": "nonsense", "ref": "a"}).to_string();
    let limited = loop {
        socket.send_text(&malformed).await;
        let error = socket.next().await;
        if error["reason"] != "invalid" {
            break error;
        }
    };
    assert_eq!(
        (&limited["ref"], &limited["reason"]),
        (&json!("a"), &json!("rate_limited"))
    );
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn pings_are_limited_like_messages(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let mut socket = a.socket(None).await;
    // More than a burst, and than what comes back meanwhile.
    for _ in 0..1000 {
        socket.ping().await;
    }
    assert_eq!(socket.next().await["reason"], "rate_limited");
    assert!(a.rejections("rate_limited") > 0);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_long_poll_that_waits_and_a_stream_take_a_place(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_SOCKETS_PER_PLAYER", "1")]).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let socket = a.socket(Some(&white)).await;
    let path = format!("/v1/games/{game}/events");
    let waiting = format!("{path}?wait_ms=1");
    for more in [&waiting, &format!("/v1/games/{game}/stream")] {
        let (status, refused) = a.get(more, Some(&white.token)).await;
        assert_eq!(
            (status.as_u16(), &refused["reason"]),
            (429, &json!("rate_limited"))
        );
    }
    assert_eq!(a.rejections("rate_limited"), 2);
    let (status, _) = a.get(&path, Some(&white.token)).await;
    assert_eq!(status.as_u16(), 200);
    drop(socket);
    until("the place is given back", async || {
        let (status, _) = a.get(&waiting, Some(&white.token)).await;
        status.as_u16() == 200
    })
    .await;
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_long_reaches_whoever_asks_for_it(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_PRESENCE_MS", "100")]).await;
    let name = json!({"name": "\u{1d538}".repeat(40)});
    let (_, body) = a.call("POST", "/v1/players", None, &name).await;
    let token = body["access_token"].as_str().unwrap().to_owned();
    let id = body["player"]["id"].as_str().unwrap().to_owned();
    let player = Player { id, token };
    let mut socket = a.socket(Some(&player)).await;
    let subscribe = json!({"type": "subscribe", "topic": "me"});
    socket.ask(subscribe).await;
    socket.up_to(|message| message["type"] == "snapshot").await;
    for _ in 0..5 {
        // As many as are found at a time.
        for _ in 0..30 {
            a.create(&player, &json!({})).await;
        }
        let mut told = 0;
        while told < 30 {
            let message = socket.next().await;
            told += message["events"].as_array().unwrap().len();
        }
    }
    // The whole of it, and the lobby that is full.
    for (topic, games_min) in [("me", 50), ("lobby", 100)] {
        let mut late = a.socket(Some(&player)).await;
        late.ask(json!({"type": "subscribe", "topic": topic})).await;
        let shown = late.up_to(|message| message["type"] == "snapshot").await;
        let games = shown.last().unwrap()["games"].as_array().unwrap();
        assert!(games.len() >= games_min, "{topic}: {}", games.len());
        late.is_usable().await;
    }
    drop(socket);
    a.stop().await;
}
