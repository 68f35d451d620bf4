//! Broker and database away, answers lost, the stream's data gone.

use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Proxy, Relay, Stream, until};

#[sqlx::test(migrations = "../migrations")]
async fn a_batch_whose_answer_was_lost_is_read_back_and_not_sent_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let proxy = Proxy::start(nats.port()).await;
    let relay = Relay::start(&outbox, &proxy.url, &[]).await;
    outbox.append("a", 1..=1).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    for round in 0..3 {
        let before = stream.last_seq().await;
        proxy.swallow_answers();
        outbox.append("a", (round * 5 + 2)..=(round * 5 + 6)).await;
        until("the batch is stored and its answer swallowed", || async {
            stream.last_seq().await > before && proxy.swallowed() > 0
        })
        .await;
        proxy.cut();
        outbox.until_drained().await;
    }
    stream.assert_complete(1, 16).await;
    assert!(relay.metric("outbox_duplicates_prevented_total").await >= 3.0);
    assert_eq!(outbox.number("select count(*) from outbox_dead").await, 0);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn nats_killed_and_back_loses_and_doubles_nothing_and_no_row_is_touched_meanwhile(
    pool: PgPool,
) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(20, 10).await;
    outbox.until_drained().await;
    nats.kill().await;
    until("the relay says that it is not ready", || async {
        relay.readiness().await.0 == 503
    })
    .await;
    for n in 11..=15 {
        for key in 0..20 {
            outbox.append_one(&format!("k{key}"), n).await;
        }
    }
    assert_eq!(outbox.pending().await, 100);
    assert_eq!(
        outbox
            .number("select max(attempt_count)::bigint from outbox_events")
            .await,
        0
    );
    // xmax of a row is set by whoever deletes, updates or locks it.
    assert_eq!(
        outbox
            .number("select count(*) from outbox_events where xmax <> 0")
            .await,
        0
    );
    nats.restart().await;
    outbox.until_drained().await;
    relay.until_ready().await;
    Stream::of(&nats).await.assert_complete(20, 15).await;
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn nats_killed_under_load_again_and_again_loses_and_doubles_nothing(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relays = [
        Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "10")]).await,
        Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "10")]).await,
    ];
    outbox.append_many(100, 60).await;
    for round in 1..=4 {
        until("the relays are in the middle", || async {
            outbox.published().await >= round * 1000
        })
        .await;
        nats.restart().await;
    }
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(100, 60).await;
    for relay in relays {
        relay.drain().await;
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_frozen_broker_is_waited_for(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(
        &outbox,
        &nats.url(),
        &[("OUTBOX_PUBLISH_TIMEOUT_MS", "300")],
    )
    .await;
    outbox.append_many(10, 10).await;
    outbox.until_drained().await;
    nats.freeze().await;
    for key in 0..10 {
        outbox.append_one(&format!("k{key}"), 11).await;
    }
    until("the relay has noticed", || async {
        relay
            .metric("outbox_failures_total{kind=\"broker_away\"}")
            .await
            >= 1.0
    })
    .await;
    nats.thaw().await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(10, 11).await;
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn relays_start_before_the_broker_and_wait_for_it(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    nats.kill().await;
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append("a", 1..=3).await;
    until("the relay says what it waits for", || async {
        let (status, why) = relay.readiness().await;
        status == 503 && why.contains("connected")
    })
    .await;
    nats.restart().await;
    outbox.until_drained().await;
    relay.until_ready().await;
    Stream::of(&nats).await.assert_complete(1, 3).await;
    relay.drain().await;
}

#[sqlx::test(migrations = false)]
async fn relays_start_before_the_migrations_and_wait_for_them(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    until("the relay says what it waits for", || async {
        let (status, why) = relay.readiness().await;
        status == 503 && why.contains("run the migrations")
    })
    .await;
    sqlx::migrate!("../migrations").run(&pool).await.unwrap();
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    relay.until_ready().await;
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn connections_cut_by_the_database_are_made_anew(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "10")]).await;
    outbox.append_many(50, 40).await;
    for round in 1..=4 {
        until("the relay is in the middle", || async {
            outbox.published().await >= round * 300
        })
        .await;
        outbox
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and application_name = 'outbox-relay'",
            )
            .await;
    }
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(50, 40).await;
    relay.drain().await;
}
