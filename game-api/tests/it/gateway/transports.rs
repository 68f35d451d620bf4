//! One cursor over every transport: what WebSocket, stream and long poll hand out is good for each
//! of them, at any gateway, and after all of them were started anew.

use std::sync::Arc;

use game_api::gateway::cursor::Cursors;
use game_api::keys::Keys;
use game_api::rules::ViewClass;
use serde_json::{Value, json};
use shared::ids::GameId;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, numbers};
use super::reading::event;

const TRANSPORTS: [Transport; 3] = [Transport::Socket, Transport::Stream, Transport::Poll];

#[derive(Clone, Copy, Debug)]
enum Transport {
    Socket,
    Stream,
    Poll,
}

impl Transport {
    /// The `count` frames that `player` is sent after `cursor`, and whether they began with a
    /// reset. There must be as many.
    async fn read(
        self,
        at: &Instance,
        player: &Player,
        game: &str,
        cursor: &str,
        count: usize,
    ) -> (Vec<Value>, bool) {
        match self {
            Self::Socket => {
                let mut socket = at.socket(Some(player)).await;
                let subscribed = socket.subscribe(game, Some(cursor)).await;
                let frames = socket.frames(count).await;
                // Nothing follows but what was asked for.
                let ping = socket.ask(json!({"type": "ping"})).await;
                assert_eq!(socket.next().await["ref"], ping);
                (frames, subscribed["resumed"] == false)
            }
            Self::Stream => {
                let path = format!("/v1/games/{game}/stream");
                let mut stream = at.stream_of(Some(player), &path, Some(cursor)).await;
                let (mut text, mut frames) = (String::new(), Vec::new());
                while frames.len() < count {
                    let (kind, id, frame) = event(&mut stream, &mut text).await;
                    assert_eq!(
                        (json!(kind), json!(id)),
                        (frame["type"].clone(), frame["cursor"].clone())
                    );
                    frames.push(frame);
                }
                let reset = frames
                    .first()
                    .is_some_and(|frame| frame["type"] == "snapshot");
                (frames, reset)
            }
            Self::Poll => {
                let path = format!("/v1/games/{game}/events?after={cursor}");
                let (_, page) = at.get(&path, Some(&player.token)).await;
                let frames = page["frames"].as_array().unwrap().clone();
                assert_eq!(frames.len(), count, "{page}");
                (frames, page["reset"] == true)
            }
        }
    }
}

fn cursor(frames: &[Value]) -> String {
    frames.last().unwrap()["cursor"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cursor_of_each_transport_is_good_for_each_elsewhere_and_after_a_restart_of_all(
    pool: PgPool,
) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let b = Instance::start(&pool, &nats, &[]).await;
    let (white, black, game) = a.game(&json!({})).await;
    a.moves(&white, &game, "e2e4").await;
    let mut cursors = Vec::new();
    for from in TRANSPORTS {
        let (frames, reset) = from.read(&a, &white, &game, "0", 3).await;
        assert_eq!(
            (numbers(&frames), reset),
            (vec![1, 2, 3], false),
            "{from:?}"
        );
        cursors.push((from, cursor(&frames)));
    }
    a.moves(&black, &game, "e7e5").await;
    a.moves(&white, &game, "g1f3").await;
    let good_at = async |at: &Instance| {
        for (from, cursor) in &cursors {
            for to in TRANSPORTS {
                let (frames, reset) = to.read(at, &white, &game, cursor, 2).await;
                let got = (numbers(&frames), reset);
                assert_eq!(got, (vec![4, 5], false), "from {from:?} to {to:?}");
            }
        }
    };
    good_at(&b).await;
    a.stop().await;
    b.stop().await;
    let anew = Instance::start(&pool, &nats, &[]).await;
    good_at(&anew).await;
    anew.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cursor_of_an_old_epoch_or_a_retired_key_resets_every_transport(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, _, game) = a.game(&json!({})).await;
    a.moves(&white, &game, "e2e4").await;
    let id: GameId = game.parse().unwrap();
    let keys = Arc::new(a.app.config.keys.clone());
    let retired = Arc::new(Keys::new([9; 32], &[]));
    for old in [Cursors::of_epoch(keys, 0), Cursors::new(retired)] {
        let cursor = old.seal(id, ViewClass::White, 1);
        for transport in TRANSPORTS {
            let (frames, reset) = transport.read(&a, &white, &game, &cursor, 1).await;
            assert!(reset, "{transport:?}");
            assert_eq!(
                (&frames[0]["type"], &frames[0]["n"]),
                (&json!("snapshot"), &json!(3))
            );
        }
    }
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn no_transport_shows_less_than_the_cursor_has_seen_where_the_gateway_is_behind(
    pool: PgPool,
) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black, game) = a.game(&json!({})).await;
    for transport in TRANSPORTS {
        // A gateway that holds the game, and hears of nothing that happens from now on.
        let behind = Instance::start(&pool, &nats, &[]).await;
        let mut watcher = behind.socket(None).await;
        watcher.subscribe(&game, None).await;
        let n = numbers(&watcher.frames(1).await)[0];
        let seen = a
            .moves(&white, &game, ["e2e4", "g1f3", "f1c4"][shuttle(n)])
            .await;
        a.moves(&black, &game, ["e7e5", "b8c6", "g8f6"][shuttle(n)])
            .await;
        let cursor = seen["cursor"].as_str().unwrap();
        let (frames, reset) = transport.read(&behind, &white, &game, cursor, 1).await;
        let got = (numbers(&frames), reset);
        assert_eq!(got, (vec![n + 2], false), "{transport:?}");
        drop(watcher);
        behind.stop().await;
    }
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_reset_shows_no_less_than_the_cursor_has_seen_where_the_gateway_is_behind(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black, game) = a.game(&json!({})).await;
    let id: GameId = game.parse().unwrap();
    let retired = Cursors::new(Arc::new(Keys::new([9; 32], &[])));
    for transport in TRANSPORTS {
        // A gateway that holds the game, and hears of nothing that happens from now on.
        let behind = Instance::start(&pool, &nats, &[]).await;
        let mut watcher = behind.socket(None).await;
        watcher.subscribe(&game, None).await;
        let n = numbers(&watcher.frames(1).await)[0];
        a.moves(&white, &game, ["e2e4", "g1f3", "f1c4"][shuttle(n)])
            .await;
        a.moves(&black, &game, ["e7e5", "b8c6", "g8f6"][shuttle(n)])
            .await;
        // Whatever stands in it, it was seen.
        let cursor = retired.seal(id, ViewClass::White, n + 2);
        let (frames, reset) = transport.read(&behind, &white, &game, &cursor, 1).await;
        let got = (numbers(&frames), reset);
        assert_eq!(got, (vec![n + 2], true), "{transport:?}");
        drop(watcher);
        behind.stop().await;
    }
    a.stop().await;
}

/// Which pair of moves comes next, from the number of the last frame: 2, 4, 6.
fn shuttle(n: i64) -> usize {
    usize::try_from(n / 2 - 1).unwrap()
}
