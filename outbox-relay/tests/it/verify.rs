//! The stream or the database loses data: noticed, and brought into agreement before anything new
//! is published.

use async_nats::jetstream::stream::Config;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Relay, Stream, until};

async fn until_verified(outbox: &Outbox) {
    until("every shard is verified for a later generation", || async {
        outbox
            .number(
                "select count(*) from outbox_shards s, outbox_identity i
                 where s.generation = i.stream_generation and i.stream_generation > 0",
            )
            .await
            == 64
    })
    .await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_wiped_stream_is_filled_again_in_order_before_anything_new(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relays = [
        Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "7")]).await,
        Relay::start(&outbox, &nats.url(), &[]).await,
    ];
    outbox.append_many(30, 20).await;
    outbox.until_drained().await;
    nats.restart_empty().await;
    for key in 0..30 {
        outbox.append_one(&format!("k{key}"), 21).await;
    }
    until_verified(&outbox).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(30, 21).await;
    let mut reconciled = 0.0;
    for relay in relays {
        reconciled += relay.metric("outbox_reconciled_total").await;
        relay.drain().await;
    }
    assert!(reconciled >= 599.5, "{reconciled}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_deleted_on_a_live_connection_is_filled_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(10, 10).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    stream.context.delete_stream("EVENTS").await.unwrap();
    outbox.append_one("k0", 11).await;
    until_verified(&outbox).await;
    outbox.until_drained().await;
    let numbers = stream.numbers().await;
    assert!(numbers["k0"].iter().copied().eq(1..=11));
    assert!(numbers["k9"].iter().copied().eq(1..=10));
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_replaced_by_a_foreign_fuller_one_is_filled_behind_what_it_holds(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(10, 10).await;
    outbox.until_drained().await;
    relay.drain().await;
    let stream = Stream::of(&nats).await;
    let config = stream
        .context
        .get_stream("EVENTS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    stream.context.delete_stream("EVENTS").await.unwrap();
    stream
        .context
        .create_stream(Config {
            max_consumers: -1,
            ..config
        })
        .await
        .unwrap();
    for _ in 0..500 {
        stream
            .context
            .publish("events.other.x", "{}".into())
            .await
            .unwrap()
            .await
            .unwrap();
    }
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    until_verified(&outbox).await;
    outbox.append_one("k3", 11).await;
    outbox.until_drained().await;
    assert!(stream.numbers().await["k3"].iter().copied().eq(1..=11));
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_restored_from_an_older_copy_gets_exactly_what_it_lacks(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(20, 10).await;
    outbox.until_drained().await;
    relay.drain().await;
    let copy = nats.copy_data().await;
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    for n in 11..=15 {
        for key in 0..20 {
            outbox.append_one(&format!("k{key}"), n).await;
        }
    }
    outbox.until_drained().await;
    nats.restore_data(&copy).await;
    for key in 0..20 {
        outbox.append_one(&format!("k{key}"), 16).await;
    }
    until_verified(&outbox).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(20, 16).await;
    assert!((relay.metric("outbox_reconciled_total").await - 100.0).abs() < 0.5);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_database_restored_older_sends_nothing_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "3")]).await;
    outbox.append_many(20, 10).await;
    outbox.until_published(50).await;
    relay.drain().await;
    // The backup, taken with rows waiting; then the relay goes on, and then the backup comes back.
    outbox
        .execute(
            "create table backup_events as select * from outbox_events;
             ",
        )
        .await;
    for table in ["published", "shards", "identity"] {
        let sql = format!("create table backup_{table} as select * from outbox_{table}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .unwrap();
    }
    let relay = Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "3")]).await;
    outbox.until_drained().await;
    relay.drain().await;
    for table in ["events", "published", "shards", "identity"] {
        let sql = format!(
            "with gone as (delete from outbox_{table}) insert into outbox_{table} select * from backup_{table} where false"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .unwrap();
        let sql = format!("insert into outbox_{table} select * from backup_{table}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .unwrap();
    }
    assert!(outbox.pending().await > 0);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_drained().await;
    until_verified(&outbox).await;
    Stream::of(&nats).await.assert_complete(20, 10).await;
    relay.drain().await;
}
