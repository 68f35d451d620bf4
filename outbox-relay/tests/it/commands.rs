//! Operators' commands, as processes of their own.

use futures_util::StreamExt;
use serde_json::Value;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Relay, Stream, command, until};

async fn json(outbox: &Outbox, nats: &NatsServer, arguments: &[&str]) -> (i32, Value) {
    let (code, text) = command(outbox, &nats.url(), arguments).await;
    (code, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// A relay that has one dead letter, of which event 3 of the key `bad` waits.
async fn with_a_dead_letter(outbox: &Outbox, nats: &NatsServer) -> Relay {
    outbox.append("bad", 1..=1).await;
    sqlx::query(
        "insert into outbox_events (shard, key, subject, type, payload)
         values (fogline_shard('bad'), 'bad', 'events.test', 'test.happened.v1', '{\"n\": 2}')",
    )
    .execute(&outbox.pool)
    .await
    .unwrap();
    outbox.append("bad", 3..=3).await;
    let relay = Relay::start(outbox, &nats.url(), &[]).await;
    until("there is a dead letter", || async {
        outbox.number("select count(*) from outbox_dead").await == 1
    })
    .await;
    relay
}

async fn dead_event(outbox: &Outbox) -> String {
    sqlx::query_scalar("select event_id::text from outbox_dead")
        .fetch_one(&outbox.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn status_says_what_waits_and_who_publishes(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let (code, status) = json(&outbox, &nats, &["status", "--json"]).await;
    assert_eq!((code, &status["shards_unowned"]), (3, &Value::from(64)));
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_spread(&[64]).await;
    let (code, status) = json(&outbox, &nats, &["status", "--json"]).await;
    assert_eq!((code, &status["shards_unowned"]), (0, &Value::from(0)));
    assert_eq!(status["relays"][0]["shards"], 64);
    let (code, page) = command(&outbox, &nats.url(), &["status", "--shards"]).await;
    assert_eq!(code, 0);
    assert!(
        page.lines().count() > 64 && page.lines().all(|line| line.len() <= 80),
        "{page}"
    );
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_dead_letter_that_was_mended_goes_out_under_its_old_id_and_place(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = with_a_dead_letter(&outbox, &nats).await;
    let (code, letters) = json(&outbox, &nats, &["dead", "list", "--json"]).await;
    assert_eq!((code, &letters[0]["waiting"]), (3, &Value::from(1)));
    let event = dead_event(&outbox).await;
    outbox
        .execute("update outbox_dead set subject = 'events.test.bad'")
        .await;
    let (code, _) = command(&outbox, &nats.url(), &["dead", "retry", &event]).await;
    assert_eq!(code, 0);
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    assert_eq!(stream.numbers().await["bad"], [1, 2, 3]);
    assert_eq!(stream.events().await[1].id, event);
    let (code, letters) = json(&outbox, &nats, &["dead", "list", "--json"]).await;
    assert_eq!((code, letters), (0, Value::Array(Vec::new())));
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn skipping_or_dropping_a_dead_letter_lets_its_key_go_on(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = with_a_dead_letter(&outbox, &nats).await;
    let event = dead_event(&outbox).await;
    let (code, shown) = json(&outbox, &nats, &["dead", "show", &event, "--json"]).await;
    assert_eq!((code, &shown["blocks_key"]), (0, &Value::from(true)));
    assert_eq!(
        command(&outbox, &nats.url(), &["dead", "skip", &event])
            .await
            .0,
        0
    );
    outbox.until_drained().await;
    assert_eq!(Stream::of(&nats).await.numbers().await["bad"], [1, 3]);
    assert_eq!(
        command(&outbox, &nats.url(), &["dead", "drop", &event])
            .await
            .0,
        0
    );
    assert_eq!(outbox.number("select count(*) from outbox_dead").await, 0);
    assert_eq!(
        outbox
            .number("select sum(count)::bigint from outbox_tally")
            .await,
        2
    );
    assert_eq!(
        command(&outbox, &nats.url(), &["dead", "drop", &event])
            .await
            .0,
        1
    );
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_replay_goes_to_a_subject_of_its_own_and_not_into_the_stream(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(5, 4).await;
    outbox.until_drained().await;
    let before = Stream::of(&nats).await.last_seq().await;
    let client = nats.client().await;
    let heard = client.subscribe("replay.events.test.k3").await.unwrap();
    client.flush().await.unwrap();
    let (code, replayed) = json(&outbox, &nats, &["replay", "--key", "k3", "--json"]).await;
    assert_eq!((code, &replayed["replayed"]), (0, &Value::from(4)));
    let messages: Vec<_> = heard.take(4).collect().await;
    for (message, n) in messages.iter().zip(1..) {
        let headers = message.headers.as_ref().unwrap();
        assert_eq!(headers.get("fogline-replay").unwrap().as_str(), "true");
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(body["n"], n);
    }
    assert_eq!(Stream::of(&nats).await.last_seq().await, before);
    let since = ["replay", "--since", "2020-01-01T00:00:00Z", "--json"];
    assert_eq!(json(&outbox, &nats, &since).await.1["replayed"], 20);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn verify_by_hand_works_beside_a_running_relay_and_without_one(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(10, 10).await;
    outbox.until_drained().await;
    let (code, report) = json(&outbox, &nats, &["verify", "--json"]).await;
    assert_eq!(
        (code, &report["events"]["republished"]),
        (0, &Value::from(0))
    );
    Stream::of(&nats).await.assert_complete(10, 10).await;
    relay.drain().await;
    Stream::of(&nats)
        .await
        .context
        .delete_stream("EVENTS")
        .await
        .unwrap();
    let (code, report) = json(&outbox, &nats, &["verify", "--json"]).await;
    assert_eq!(
        (code, &report["events"]["republished"]),
        (0, &Value::from(100))
    );
    Stream::of(&nats).await.assert_complete(10, 10).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_bad_variable_is_a_sentence_and_exit_code_64(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let (code, _) = command(&outbox, "nats://no such host", &["verify"]).await;
    assert_eq!(code, 64);
    drop(nats);
}
