//! A drain under load: every client is sent to another gateway, and none misses a frame.

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Barrier;

use super::harness::{Instance, NatsServer, Player, numbers};

const CLIENTS: usize = 60;
const APPENDS: usize = 120;
const SPREAD_MS: u64 = 400;

/// What a client saw.
struct Seen {
    numbers: Vec<i64>,
    after_ms: u64,
}

/// Follows the game to its last frame, from wherever it is sent.
async fn follow(a: &Instance, b: &Instance, game: &str, ready: &Barrier) -> Seen {
    let last = i64::try_from(APPENDS + 2).unwrap();
    let mut seen = Seen {
        numbers: Vec::new(),
        after_ms: u64::MAX,
    };
    let mut cursor = "0".to_owned();
    let mut socket = a.socket(None).await;
    socket.subscribe(game, Some(&cursor)).await;
    ready.wait().await;
    loop {
        let message = match socket.next_or_close().await {
            Ok(message) => message,
            Err(close) => {
                assert_eq!(close.map(|close| u16::from(close.code)), Some(1012));
                // A client waits for as long as it was told; this one wants to know the worst.
                socket = b.socket(None).await;
                let subscribed = socket.subscribe(game, Some(&cursor)).await;
                assert_eq!(subscribed["resumed"], true);
                continue;
            }
        };
        match message["type"].as_str().unwrap() {
            "reconnect" => seen.after_ms = message["after_ms"].as_u64().unwrap(),
            "event" => {
                seen.numbers.extend(numbers(std::slice::from_ref(&message)));
                message["cursor"].as_str().unwrap().clone_into(&mut cursor);
            }
            other => panic!("{other}"),
        }
        if seen.numbers.last() == Some(&last) {
            return seen;
        }
    }
}

/// Plays on at `b`; begins the drain of `a` in the middle.
async fn play(a: &Instance, b: &Instance, players: [&Player; 2], game: &str, ready: &Barrier) {
    ready.wait().await;
    for nth in 0..APPENDS {
        let action = json!({"type": "append", "payload": nth});
        b.act(players[nth % 2], game, &action).await;
        if nth == APPENDS / 3 {
            a.drain();
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn under_load_every_client_goes_to_another_gateway_without_a_gap(pool: PgPool) {
    let nats = NatsServer::start().await;
    let spread = SPREAD_MS.to_string();
    let settings = [
        ("GATEWAY_RECONNECT_SPREAD_MS", spread.as_str()),
        ("GATEWAY_RECONCILE_MS", "100"),
        ("RATE_COMMANDS_BURST", "1000"),
    ];
    let a = Instance::start(&pool, &nats, &settings).await;
    let b = Instance::start(&pool, &nats, &settings).await;
    let (white, black, game) = b.game(&json!({"ruleset": "turn-log"})).await;
    let path = format!("/v1/games/{game}/events");
    let (_, present) = a.get(&path, None).await;
    let cursor = present["cursor"].as_str().unwrap();
    let waiting = format!("{path}?after={cursor}&wait_ms=30000");
    let waiting = a.get(&waiting, None);

    let ready = Barrier::new(CLIENTS + 1);
    let clients = join_all((0..CLIENTS).map(|_| follow(&a, &b, &game, &ready)));
    let (seen, (), (status, _)) = tokio::join!(
        clients,
        play(&a, &b, [&white, &black], &game, &ready),
        waiting
    );
    assert_eq!(status.as_u16(), 200, "a long poll is answered too");
    let all: Vec<i64> = (1..=i64::try_from(APPENDS + 2).unwrap()).collect();
    for (nth, seen) in seen.iter().enumerate() {
        assert_eq!(seen.numbers, all, "client {nth}");
        assert!(seen.after_ms <= SPREAD_MS, "{}", seen.after_ms);
    }
    // They come back over the whole time: 60 draws all in one half would be a wonder.
    let (early, late): (Vec<_>, Vec<_>) =
        seen.iter().partition(|seen| seen.after_ms < SPREAD_MS / 2);
    assert!(!early.is_empty() && !late.is_empty());
    assert_eq!(a.disconnects("drain"), u64::try_from(CLIENTS).unwrap());
    a.stop().await;
    b.stop().await;
}
