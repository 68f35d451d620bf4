//! Events that cannot be published.

use async_nats::jetstream::stream::Config;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Relay, Stream, until};

/// An event that only a direct insert can append: its subject is not the stream's.
async fn append_impossible(outbox: &Outbox, key: &str) {
    sqlx::query(
        "insert into outbox_events (shard, key, subject, type, payload)
         values (fogline_shard($1), $1, 'elsewhere.x', 'test.happened.v1', '{\"n\": 0}')",
    )
    .bind(key)
    .execute(&outbox.pool)
    .await
    .unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn an_impossible_event_blocks_its_key_and_no_other(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    outbox.append("bad", 1..=2).await;
    append_impossible(&outbox, "bad").await;
    outbox.append("bad", 3..=300).await;
    outbox.append_many(64, 5).await;
    let settings = [("OUTBOX_BATCH_MAX", "50")];
    let relay = Relay::start(&outbox, &nats.url(), &settings).await;
    outbox.until_published(2 + 320).await;
    until("the gauges say so", || async {
        relay.metric("outbox_dead").await > 0.5 && relay.metric("outbox_pending").await > 297.5
    })
    .await;
    let numbers = Stream::of(&nats).await.numbers().await;
    assert_eq!(numbers["bad"], [1, 2]);
    assert_eq!(numbers.len(), 65);
    assert_eq!(outbox.pending().await, 298);
    let failures = "outbox_failures_total{kind=\"event_impossible\"}";
    assert!((relay.metric(failures).await - 1.0).abs() < 0.1);
    let reason: String = sqlx::query_scalar("select reason from outbox_dead where blocks_key")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(reason.contains("elsewhere.x"), "{reason}");
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn with_skip_the_key_goes_on_without_the_impossible_event(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    outbox.append("bad", 1..=2).await;
    append_impossible(&outbox, "bad").await;
    outbox.append("bad", 3..=4).await;
    let relay = Relay::start(&outbox, &nats.url(), &[("OUTBOX_POISON", "skip")]).await;
    outbox.until_drained().await;
    assert_eq!(Stream::of(&nats).await.numbers().await["bad"], [1, 2, 3, 4]);
    assert_eq!(
        outbox
            .number("select count(*) from outbox_dead where not blocks_key")
            .await,
        1
    );
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_event_that_the_broker_refuses_is_found_by_shrinking_batches(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(20, 5).await;
    outbox.until_drained().await;
    // The relay does not learn of the new limit before its next look at the stream.
    let stream = Stream::of(&nats).await;
    let config = stream
        .context
        .get_stream("EVENTS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    stream
        .context
        .update_stream(Config {
            max_message_size: 3000,
            ..config
        })
        .await
        .unwrap();
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query(
        "insert into outbox_events (shard, key, subject, type, payload)
         select 7, 'p' || n, 'events.test.p' || n, 'test.happened.v1',
                json_build_object('n', n, 'x', case when n = 33 then repeat('x', 20000) end)
         from generate_series(1, 60) n",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    outbox.until_drained().await;
    assert_eq!(
        outbox
            .number("select count(*) from outbox_dead where key = 'p33'")
            .await,
        1
    );
    assert_eq!(outbox.number("select count(*) from outbox_dead").await, 1);
    assert_eq!(stream.numbers().await.len(), 20 + 59);
    relay.drain().await;
}
