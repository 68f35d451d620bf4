//! What NATS loses, or NATS itself being away, is repaired from the log.

use serde_json::json;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, Socket, numbers, relay, until};

/// A game on `a` and a spectator of it on `b` who has seen the joining.
async fn watched(pool: &PgPool, nats: &NatsServer, a: &Instance, b: &Instance) -> Watched {
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    relay(pool, nats, |_| true).await;
    let mut watcher = b.socket(None).await;
    watcher.subscribe(&game, None).await;
    assert_eq!(numbers(&watcher.frames(1).await), [2]);
    Watched {
        white,
        black,
        game,
        watcher,
    }
}

struct Watched {
    white: Player,
    black: Player,
    game: String,
    watcher: Socket,
}

#[sqlx::test(migrations = "../migrations")]
async fn a_hole_is_read_from_the_log(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let Watched {
        white,
        black,
        game,
        mut watcher,
    } = watched(&pool, &nats, &a, &b).await;
    a.moves(&white, &game, "e2e4").await;
    a.moves(&black, &game, "e7e5").await;
    relay(&pool, &nats, |number| number == 1).await;
    assert_eq!(numbers(&watcher.frames(2).await), [3, 4]);
    assert_eq!(b.app.metrics.gateway_gaps_total.get(), 1);
    assert_eq!(b.app.metrics.gateway_reconciled_total.get(), 0);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_comes_twice_or_late_is_sent_once(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let Watched {
        white,
        black,
        game,
        mut watcher,
    } = watched(&pool, &nats, &a, &b).await;
    a.moves(&white, &game, "e2e4").await;
    let first: (String, String) =
        sqlx::query_as("select subject, payload::text from outbox_events")
            .fetch_one(&pool)
            .await
            .unwrap();
    relay(&pool, &nats, |_| true).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    client
        .publish(first.0.clone(), first.1.clone().into())
        .await
        .unwrap();
    client.publish(first.0, "no JSON".into()).await.unwrap();
    client.flush().await.unwrap();
    a.moves(&black, &game, "e7e5").await;
    relay(&pool, &nats, |_| true).await;
    assert_eq!(numbers(&watcher.frames(2).await), [3, 4]);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_last_event_of_a_game_lost_on_its_way_is_found_by_comparison(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let b = Instance::start(&pool, &nats, &[("GATEWAY_RECONCILE_MS", "100")]).await;
    let Watched {
        white,
        game,
        mut watcher,
        ..
    } = watched(&pool, &nats, &a, &b).await;
    a.act(&white, &game, &json!({"type": "resign"})).await;
    let frames = watcher.frames(1).await;
    assert_eq!(
        (numbers(&frames), &frames[0]["event"]["kind"]),
        (vec![3], &json!("ended"))
    );
    assert_eq!(b.app.metrics.gateway_reconciled_total.get(), 1);
    assert_eq!(b.app.metrics.gateway_gaps_total.get(), 0);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn without_nats_frames_come_from_the_database_and_with_it_from_there_again(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let Watched {
        white,
        black,
        game,
        mut watcher,
    } = watched(&pool, &nats, &a, &b).await;
    let port = nats.stop();
    b.connected(false).await;
    // The period of comparison is a minute: only the quick one can bring this in time.
    a.moves(&white, &game, "e2e4").await;
    assert_eq!(numbers(&watcher.frames(1).await), [3]);

    // A game that is first watched while NATS is away.
    let other = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut late = b.socket(None).await;
    late.subscribe(&other, None).await;
    assert_eq!(numbers(&late.frames(1).await), [1]);

    let nats = NatsServer::restart(port).await;
    b.connected(true).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    until("the room of the other game has subscribed", async || {
        // Comparison would hide that nobody listens: what is committed is held back from it.
        let probe = json!({"game_id": other, "seq": 1}).to_string();
        client
            .publish(format!("events.game.{other}"), probe.into())
            .await
            .unwrap();
        client.flush().await.unwrap();
        b.app.nats.events.received() > 0
    })
    .await;
    a.join(&black, &other).await;
    a.moves(&black, &game, "e7e5").await;
    relay(&pool, &nats, |_| true).await;
    assert_eq!(numbers(&late.frames(1).await), [2]);
    assert_eq!(numbers(&watcher.frames(1).await), [4]);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_frozen_nats_is_noticed_and_held_for_away(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let Watched {
        white,
        game,
        mut watcher,
        ..
    } = watched(&pool, &nats, &a, &b).await;
    nats.signal("-STOP");
    a.moves(&white, &game, "e2e4").await;
    assert_eq!(numbers(&watcher.frames(1).await), [3]);
    nats.signal("-CONT");
    b.connected(true).await;
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_happened_while_nats_was_away_is_there_after_it_is_back(pool: PgPool) {
    let nats = NatsServer::start().await;
    let (a, b) = (
        Instance::start(&pool, &nats, &[]).await,
        Instance::start(&pool, &nats, &[]).await,
    );
    let Watched {
        white,
        black,
        game,
        mut watcher,
    } = watched(&pool, &nats, &a, &b).await;
    let port = nats.stop();
    b.connected(false).await;
    a.moves(&white, &game, "e2e4").await;
    let nats = NatsServer::restart(port).await;
    b.connected(true).await;
    assert_eq!(numbers(&watcher.frames(1).await), [3]);
    relay(&pool, &nats, |_| true).await;
    a.moves(&black, &game, "e7e5").await;
    relay(&pool, &nats, |_| true).await;
    assert_eq!(numbers(&watcher.frames(1).await), [4]);
    a.stop().await;
    b.stop().await;
}
