//! The topics that are no game: the lobby, and a player's own games.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Socket};

const QUICK: [(&str, &str); 1] = [("GATEWAY_PRESENCE_MS", "100")];

async fn subscribe(socket: &mut Socket, topic: &str) -> Value {
    let reference = socket
        .ask(json!({"type": "subscribe", "topic": topic}))
        .await;
    socket.answer(&reference).await
}

/// The kinds and ids of what `me` says next.
async fn told(socket: &mut Socket) -> Vec<(Value, Value)> {
    let message = socket.next().await;
    assert_eq!(
        (&message["type"], &message["topic"]),
        (&json!("event"), &json!("me"))
    );
    let events = message["events"].as_array().unwrap().iter();
    events
        .map(|event| (event["kind"].clone(), event["game"]["id"].clone()))
        .collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn the_lobby_shows_who_waits_for_a_player_and_then_what_changes(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let b = Instance::start(&pool, &nats, &QUICK).await;
    let (white, black) = (a.register().await, b.register().await);
    let first = a.create(&white, &json!({})).await;
    let mut socket = b.socket(None).await;
    assert_eq!(subscribe(&mut socket, "lobby").await["resumed"], false);
    let whole = socket.next().await;
    assert_eq!(
        (&whole["type"], &whole["topic"]),
        (&json!("snapshot"), &json!("lobby"))
    );
    assert_eq!(whole["games"][0]["id"], first["id"]);
    assert_eq!(whole["games"][0]["watching"], 0);
    assert_eq!(
        whole["games"][0].get("code"),
        None,
        "the code is for the seats"
    );
    assert_eq!(
        whole["stats"],
        json!({"players": 0, "viewers": 0, "games": 0})
    );

    // A private game is not listed; the public one comes alone.
    a.create(&white, &json!({"visibility": "private"})).await;
    let second = a.create(&white, &json!({})).await;
    let came = socket.next().await;
    assert_eq!(
        (&came["type"], &came["gone"]),
        (&json!("event"), &json!([]))
    );
    assert_eq!(came["games"].as_array().unwrap().len(), 1);
    assert_eq!(came["games"][0]["id"], second["id"]);
    // Who is there is shown as it changes.
    let game = first["id"].as_str().unwrap();
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(game, None).await;
    let of_first = |message: &Value| {
        message["games"][0]["id"] == first["id"] && message["games"][0]["seats"]["white"] == true
    };
    socket.up_to(of_first).await;
    // A game that has begun waits for nobody.
    b.join(&black, game).await;
    socket
        .up_to(|message| message["gone"] == json!([game]))
        .await;
    let reference = socket
        .ask(json!({"type": "unsubscribe", "topic": "lobby"}))
        .await;
    assert_eq!(socket.answer(&reference).await["type"], "unsubscribed");
    drop((socket, player));
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_player_is_told_of_their_own_games_wherever_they_happen(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let b = Instance::start(&pool, &nats, &QUICK).await;
    let (white, black) = (a.register().await, b.register().await);
    let hidden = json!({"visibility": "private"});
    let game = a.create(&white, &hidden).await;
    let mut stranger = a.socket(None).await;
    assert_eq!(
        subscribe(&mut stranger, "me").await["reason"],
        "unauthorized"
    );

    let mut of_white = b.socket(Some(&white)).await;
    assert_eq!(subscribe(&mut of_white, "me").await["resumed"], false);
    let whole = of_white.next().await;
    assert_eq!(whole["games"][0]["id"], game["id"]);
    assert_eq!(whole["games"][0]["code"], game["code"]);
    let mut of_black = b.socket(Some(&black)).await;
    subscribe(&mut of_black, "me").await;
    let nothing = of_black.next().await;
    assert_eq!(
        (&nothing["type"], &nothing["games"]),
        (&json!("snapshot"), &json!([]))
    );

    let (status, _) = a
        .call(
            "POST",
            "/v1/join",
            Some(&black.token),
            &json!({"code": game["code"]}),
        )
        .await;
    assert_eq!(status.as_u16(), 200);
    let id = game["id"].as_str().unwrap();
    for socket in [&mut of_white, &mut of_black] {
        assert_eq!(told(socket).await, [(json!("started"), game["id"].clone())]);
    }
    let second = a.create(&white, &json!({})).await;
    assert_eq!(
        told(&mut of_white).await,
        [(json!("created"), second["id"].clone())]
    );
    a.act(&black, id, &json!({"type": "resign"})).await;
    for socket in [&mut of_white, &mut of_black] {
        assert_eq!(told(socket).await, [(json!("ended"), game["id"].clone())]);
    }
    // Who comes later is shown what lives.
    let mut again = a.socket(Some(&white)).await;
    subscribe(&mut again, "me").await;
    let whole = again.next().await;
    let games = whole["games"].as_array().unwrap();
    assert_eq!((games.len(), &games[0]["id"]), (1, &second["id"]));
    drop((stranger, of_white, of_black, again));
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn games_that_go_on_are_shown_however_many_have_ended_since(pool: PgPool) {
    let nats = NatsServer::start().await;
    let variables = [QUICK[0], ("RATE_COMMANDS_BURST", "1000")];
    let a = Instance::start(&pool, &nats, &variables).await;
    let white = a.register().await;
    let long = a.create(&white, &json!({})).await;
    for _ in 0..60 {
        let short = a.create(&white, &json!({})).await;
        let abort = json!({"type": "abort"});
        a.act(&white, short["id"].as_str().unwrap(), &abort).await;
    }
    let mut socket = a.socket(Some(&white)).await;
    subscribe(&mut socket, "me").await;
    let whole = socket.next().await;
    let games = whole["games"].as_array().unwrap();
    let ids: Vec<&Value> = games.iter().map(|game| &game["id"]).collect();
    assert_eq!(ids, [&long["id"]]);
    a.stop().await;
}
