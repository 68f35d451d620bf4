//! What each viewer is sent of a game that is being played.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, kinds, numbers, relay};

#[sqlx::test(migrations = "../migrations")]
async fn two_players_on_two_gateways_and_a_spectator_see_each_their_own(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let (white, black) = (a.register().await, b.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    b.join(&black, &game).await;
    relay(&pool, &nats, |_| true).await;

    let mut at_a = a.socket(Some(&white)).await;
    let mut at_b = b.socket(Some(&black)).await;
    let mut watcher = b.socket(None).await;
    for socket in [&mut at_a, &mut at_b, &mut watcher] {
        let subscribed = socket.subscribe(&game, Some("0")).await;
        assert_eq!(subscribed["resumed"], true);
    }

    let ack = at_a
        .command(&game, &json!({"type": "move", "uci": "e2e4"}))
        .await;
    assert_eq!(
        (&ack["type"], &ack["n"], &ack["duplicate"]),
        (&json!("ack"), &json!(3), &json!(false))
    );
    assert_eq!(ack["trace_id"].as_str().unwrap().len(), 32);
    relay(&pool, &nats, |_| true).await;
    b.act(&black, &game, &json!({"type": "resign"})).await;
    relay(&pool, &nats, |_| true).await;

    let of_black = at_b.frames(4).await;
    let of_public = watcher.frames(4).await;
    for frames in [&of_black, &of_public] {
        assert_eq!(numbers(frames), [1, 2, 3, 4]);
        assert_eq!(kinds(frames), ["created", "joined", "moved", "ended"]);
        assert_eq!(
            frames[2]["event"].get("uci"),
            None,
            "only the mover is told the move"
        );
    }
    let fog = "?".repeat(64);
    assert!(
        of_public[..3]
            .iter()
            .all(|frame| frame["view"]["board"] == fog)
    );
    assert_ne!(
        of_public[3]["view"]["board"], fog,
        "the last frame reveals everything"
    );
    assert_eq!(of_public[3]["view"]["result"]["reason"], "resigned");
    assert_ne!(of_black[2]["view"]["board"], fog);

    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn frames_stay_as_they_were_seen_also_after_the_end(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    a.moves(&white, &game, "e2e4").await;
    a.act(&black, &game, &json!({"type": "resign"})).await;

    let mut watcher = a.socket(None).await;
    watcher.subscribe(&game, Some("0")).await;
    let frames = watcher.frames(4).await;
    let fog = "?".repeat(64);
    assert!(
        frames[..3]
            .iter()
            .all(|frame| frame["view"]["board"] == fog)
    );
    assert_ne!(frames[3]["view"]["board"], fog);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_answer_of_a_command_the_socket_and_the_poll_carry_one_frame(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    let mut socket = a.socket(Some(&white)).await;
    socket.subscribe(&game, Some("0")).await;
    let answer = a.moves(&white, &game, "e2e4").await;
    let sent = socket.frames(3).await;
    let (_, polled) = a
        .get(&format!("/v1/games/{game}/events"), Some(&white.token))
        .await;
    assert_eq!(answer["frame"], sent[2]);
    assert_eq!(polled["frames"], json!(sent));
    assert_eq!(answer["cursor"], sent[2]["cursor"]);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_takes_a_seat_while_watching_goes_on_with_that_seats_view(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let (white, black) = (a.register().await, b.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut socket = b.socket(Some(&black)).await;
    assert_eq!(socket.subscribe(&game, None).await["resumed"], false);
    let before = socket.next().await;
    assert_eq!(before["view"]["board"], "?".repeat(64));

    a.join(&black, &game).await;
    relay(&pool, &nats, |_| true).await;
    let is_snapshot = |frame: &Value| frame["type"] == "snapshot";
    let after = socket.up_to(is_snapshot).await.pop().unwrap();
    assert_ne!(after["view"]["board"], "?".repeat(64));
    assert_eq!(after["game"]["status"], "active");
    assert!(
        after["game"]["code"].is_string(),
        "the code is for the seats"
    );

    a.moves(&white, &game, "e2e4").await;
    relay(&pool, &nats, |_| true).await;
    let moved = socket.frames(1).await;
    assert_eq!(numbers(&moved), [3]);
    assert!(moved[0]["view"]["moves"].is_array(), "it is black's move");
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_snapshot_is_the_state_and_says_when_its_clock_was_read(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let clock = json!({"clock": {"initial_ms": 60_000, "increment_ms": 0}});
    let game = a.create(&white, &clock).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    let mut socket = a.socket(Some(&white)).await;
    socket.subscribe(&game, None).await;
    let snapshot = socket.next().await;
    let (_, state) = a
        .get(&format!("/v1/games/{game}"), Some(&white.token))
        .await;
    for member in ["view", "game", "n", "cursor", "at_ms"] {
        assert_eq!(snapshot[member], state[member], "{member}");
    }
    let apart = snapshot["now_ms"].as_i64().unwrap() - state["now_ms"].as_i64().unwrap();
    assert!(
        apart.abs() < 5000,
        "both say the database's time: {apart} ms apart"
    );
    a.stop().await;
}
