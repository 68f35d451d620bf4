//! Long poll and SSE: the same frames, from the same rings and the same log.

use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, numbers};

fn frames(page: &Value) -> &[Value] {
    page["frames"].as_array().unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn the_long_poll_pages_through_the_log_and_waits_for_what_comes(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    a.join(&black, &game).await;
    a.moves(&white, &game, "e2e4").await;
    let path = format!("/v1/games/{game}/events");
    let (_, first) = a.get(&format!("{path}?limit=2"), None).await;
    assert_eq!(
        (numbers(frames(&first)), &first["reset"]),
        (vec![1, 2], &json!(false))
    );
    let after = first["cursor"].as_str().unwrap();
    let (_, second) = a.get(&format!("{path}?limit=2&after={after}"), None).await;
    assert_eq!(numbers(frames(&second)), [3]);
    let after = second["cursor"].as_str().unwrap();
    assert_eq!(second["cursor"], frames(&second)[0]["cursor"]);
    let (_, nothing) = a.get(&format!("{path}?after={after}"), None).await;
    assert_eq!(
        (frames(&nothing).len(), &nothing["cursor"]),
        (0, &second["cursor"])
    );

    let waiting_path = format!("{path}?after={after}&wait_ms=30000");
    let waiting = a.get(&waiting_path, None);
    let moving = async {
        super::harness::until("somebody waits", async || {
            a.app.metrics.gateway_subscriptions.get() == 1
        })
        .await;
        a.moves(&black, &game, "e7e5").await;
    };
    let ((_, page), ()) = tokio::join!(waiting, moving);
    assert_eq!(numbers(frames(&page)), [4]);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_long_poll_gets_every_frame_also_where_the_gateway_is_behind_its_log(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[("RATE_COMMANDS_BURST", "1000")]).await;
    let b = Instance::start(&pool, &nats, &[]).await;
    let (white, black, game) = a.game(&json!({"ruleset": "turn-log"})).await;
    let append = async |from: usize, to: usize| {
        for i in from..to {
            let action = json!({"type": "append", "payload": i});
            a.act([&white, &black][i % 2], &game, &action).await;
        }
    };
    append(0, 98).await;
    let mut watcher = b.socket(None).await;
    watcher.subscribe(&game, None).await;
    assert_eq!(numbers(&watcher.frames(1).await), [100]);
    // Of these the other gateway hears nothing, and it is not told to look.
    append(98, 108).await;
    let path = format!("/v1/games/{game}/events?limit=500");
    let (_, page) = b.get(&path, None).await;
    assert_eq!(page["reset"], false);
    // What has happened since is owed later, and what is given has no hole.
    let got = numbers(frames(&page));
    assert!(got.len() >= 100, "{got:?}");
    assert!(got.iter().copied().eq((1..).take(got.len())), "{got:?}");
    drop(watcher);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_long_polls_limits_are_checked(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let white = a.register().await;
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "wait_ms=30001",
        "wait_ms=-1",
        "other=1",
    ] {
        let (status, problem) = a
            .get(&format!("/v1/games/{game}/events?{query}"), None)
            .await;
        assert_eq!(
            (status.as_u16(), &problem["reason"]),
            (400, &json!("invalid")),
            "{query}"
        );
    }
    for path in ["/v1/games/1/events", "/v1/games/1/stream"] {
        let (status, problem) = a.get(path, None).await;
        assert_eq!(
            (status.as_u16(), &problem["reason"]),
            (400, &json!("invalid")),
            "{path}"
        );
    }
    let unknown = shared::ids::GameId::generate();
    for call in ["events", "stream"] {
        let (status, problem) = a.get(&format!("/v1/games/{unknown}/{call}"), None).await;
        assert_eq!(
            (status.as_u16(), &problem["reason"]),
            (404, &json!("not_found")),
            "{call}"
        );
    }
    a.stop().await;
}

/// The next event of a stream: type, id, data.
pub(super) async fn event(
    stream: &mut axum::body::BodyDataStream,
    text: &mut String,
) -> (String, String, Value) {
    while !text.contains("\n\n") {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), stream.next());
        let chunk = next
            .await
            .expect("no event came")
            .expect("the stream ended")
            .unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let (event, rest) = text.split_once("\n\n").unwrap();
    let field = |name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {event}"))
            .trim()
            .to_owned()
    };
    let parsed = (
        field("event:"),
        field("id:"),
        serde_json::from_str(&field("data:")).unwrap(),
    );
    *text = String::from(rest);
    parsed
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_begins_at_the_first_frame_and_resumes_after_the_last_id(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (a.register().await, a.register().await);
    let game = a.create(&white, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/games/{game}/stream");
    let (mut stream, mut text) = (a.stream(&path, None).await, String::new());
    let (kind, id, created) = event(&mut stream, &mut text).await;
    assert_eq!((kind.as_str(), &created["n"]), ("event", &json!(1)));
    assert_eq!(id, created["cursor"]);
    a.join(&black, &game).await;
    let (_, id, joined) = event(&mut stream, &mut text).await;
    assert_eq!(joined["event"]["kind"], "joined");
    drop(stream);
    a.moves(&white, &game, "e2e4").await;

    let (mut stream, mut text) = (a.stream(&path, Some(&id)).await, String::new());
    let (_, _, moved) = event(&mut stream, &mut text).await;
    assert_eq!(
        (&moved["n"], &moved["event"]["kind"]),
        (&json!(3), &json!("moved"))
    );
    assert_eq!(a.app.metrics.gateway_connections.get(), 1);
    a.drain();
    let rest = stream.next().await.expect("a farewell").unwrap();
    assert!(std::str::from_utf8(&rest).unwrap().starts_with("retry:"));
    assert!(stream.next().await.is_none(), "the stream ends");
    drop(stream);
    a.stop().await;
}
