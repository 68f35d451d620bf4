//! Every limit of the gateway has a refusal with a name, which is answered and counted under it.

use serde_json::json;
use sqlx::PgPool;
use tokio_tungstenite::tungstenite;

use super::harness::{Instance, NatsServer};

#[sqlx::test(migrations = "../migrations")]
async fn each_limit_of_a_socket_is_refused_by_name_and_counted(pool: PgPool) {
    let nats = NatsServer::start().await;
    let small = [("RATE_COMMANDS_PER_S", "1"), ("RATE_COMMANDS_BURST", "1")];
    let a = Instance::start(&pool, &nats, &small).await;
    let (white, _, game) = a.game(&json!({})).await;
    let mut socket = a.socket(Some(&white)).await;

    // Commands of a player, over both ways together.
    a.moves(&white, &game, "e2e4").await;
    let refused = socket.command(&game, &json!({"type": "resign"})).await;
    assert_eq!(refused["reason"], "rate_limited");
    assert_eq!(a.rejections("rate_limited"), 1);

    // Topics of a socket. That there is no such game is found out later.
    let mut topics = a.socket(Some(&white)).await;
    for nth in 0..32 {
        let more = a.create(&white, &json!({})).await;
        let subscribed = topics.subscribe(more["id"].as_str().unwrap(), None).await;
        assert_eq!(subscribed["type"], "subscribed", "{nth}");
    }
    assert_eq!(
        topics.subscribe(&game, None).await["reason"],
        "rate_limited"
    );
    assert_eq!(a.rejections("rate_limited"), 2);

    // Messages of a socket.
    let limited = loop {
        let reference = socket.ask(json!({"type": "ping"})).await;
        let answer = socket.answer(&reference).await;
        if answer["type"] == "error" {
            break answer;
        }
    };
    assert_eq!(limited["reason"], "rate_limited");
    assert_eq!(a.rejections("rate_limited"), 3);

    // Bytes of a message.
    let mut large = a.socket(None).await;
    large.send_text(&"x".repeat(4097)).await;
    assert_eq!(large.next().await["reason"], "too_large");
    assert_eq!(a.rejections("too_large"), 1);
    let close = large.next_or_close().await.unwrap_err().unwrap();
    assert_eq!(u16::from(close.code), 1009);

    // The time to the first message.
    let mut mute = a.socket(None).await;
    let before = a.rejections("invalid");
    assert_eq!(mute.next().await["reason"], "invalid");
    assert_eq!(a.rejections("invalid"), before + 1);
    let close = mute.next_or_close().await.unwrap_err().unwrap();
    assert_eq!(u16::from(close.code), 1008);
    drop((socket, topics));
    a.stop().await;
}

/// The status with which a socket was refused.
fn status<T>(refused: Result<T, tungstenite::Error>) -> u16 {
    match refused {
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn each_limit_of_connections_is_refused_by_name_and_counted(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("GATEWAY_SOCKETS_PER_PLAYER", "1")]).await;
    let white = a.register().await;
    let socket = a.socket(Some(&white)).await;
    assert_eq!(status(a.raw_connect(&white.token).await), 429);
    assert_eq!(a.rejections("rate_limited"), 1);
    assert_eq!(status(a.raw_connect("nonsense").await), 401);
    assert_eq!(a.rejections("unauthorized"), 1);

    // Requests of an address: opening a socket is one.
    let few = [("RATE_REQUESTS_PER_S", "1"), ("RATE_REQUESTS_BURST", "2")];
    let b = Instance::start(&pool, &nats, &few).await;
    let (first, second) = (
        b.raw_connect(&white.token).await,
        b.raw_connect(&white.token).await,
    );
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert_eq!(status(b.raw_connect(&white.token).await), 429);
    assert_eq!(b.rejections("rate_limited"), 1);
    drop(socket);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_socket_is_opened_by_a_cookie_from_an_allowed_page_alone_or_by_a_ticket(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let credentials = &a.app.credentials;
    let player = credentials.open_access_token(&white.token).unwrap();
    let set = credentials.session_cookie(player, false);
    let cookie = set.split(';').next().unwrap().to_owned();
    let own = format!("http://{}", a.address());
    // Whether the socket is the player's: nobody else has games of their own.
    let is_theirs = async |query: &str, headers: &[(&'static str, &str)]| {
        let mut socket = a.handshake(query, headers).await.unwrap();
        assert_eq!(socket.next().await["type"], "welcome");
        let me = socket
            .ask(json!({"type": "subscribe", "topic": "me"}))
            .await;
        socket.answer(&me).await["type"] == "subscribed"
    };

    let foreign = [
        ("cookie", cookie.as_str()),
        ("origin", "http://evil.example"),
    ];
    for headers in [&foreign[..], &foreign[..1]] {
        assert_eq!(status(a.handshake("", headers).await), 403, "{headers:?}");
    }
    assert_eq!(a.rejections("forbidden"), 2);
    assert!(is_theirs("", &[foreign[0], ("origin", &own)]).await);
    // A cookie that is not valid is as good as none.
    let stale = [("cookie", "fogline_session=stale"), foreign[1]];
    assert!(!is_theirs("", &stale).await);

    let ticket = format!("?ticket={}", credentials.ticket(player));
    assert!(is_theirs(&ticket, &[foreign[1]]).await);
    // Each is good for what it was made for.
    let token = format!("?ticket={}", white.token);
    let session = cookie.split_once('=').unwrap().1;
    let session = format!("?ticket={session}");
    for (query, headers) in [(&token, &foreign[..]), (&session, &foreign[..0])] {
        assert_eq!(status(a.handshake(query, headers).await), 401, "{query}");
    }
    assert_eq!(status(a.raw_connect(&ticket[8..]).await), 401);
    // And whose games are asked for by nobody.
    assert_eq!(a.rejections("unauthorized"), 4);
    a.stop().await;
}
