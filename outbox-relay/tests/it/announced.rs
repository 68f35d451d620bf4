//! Few events, one by one behind fences that announce them.

use async_nats::jetstream::stream::Config as StreamConfig;
use outbox_relay::shard::fence::StoredFence;
use outbox_relay::stream::repo::read_fence;
use shared::shard::Shard;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Process, Proxy, Relay, Stream, until};
use crate::takeover::broker_of;

const SINGLY: (&str, &str) = ("OUTBOX_ANNOUNCE", "always");
/// Only what goes one by one has this header.
const CONDITION: &str = "Nats-Expected-Last-Subject-Sequence-Subject: ";

async fn fence_of(nats: &NatsServer, key: &str) -> StoredFence {
    let broker = broker_of(nats).await;
    let fence = read_fence(&broker, Shard::of_key(key)).await.unwrap();
    fence.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn few_events_are_announced_and_recorded_where_they_stand(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[SINGLY]).await;
    for n in 1..=5 {
        for key in ["a", "b", "c"] {
            outbox.append_one(key, n).await;
        }
        outbox.until_drained().await;
    }
    let stream = Stream::of(&nats).await;
    stream.assert_complete(3, 5).await;
    assert!((relay.metric("outbox_announced_total").await - 15.0).abs() < 0.1);
    for event in stream.events().await {
        let recorded: i64 = sqlx::query_scalar(
            "select stream_seq from outbox_published where event_id = $1::text::uuid",
        )
        .bind(&event.id)
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(recorded.unsigned_abs(), event.seq);
        assert!(event.headers.get("Nats-Batch-Id").is_none());
    }
    let fence = fence_of(&nats, "a").await;
    assert!(fence.fence.events.is_empty());
    assert!(!fence.fence.announced.is_empty());
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn two_events_of_a_key_and_many_events_go_in_a_batch(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    outbox.append("a", 1..=2).await;
    let relay = Relay::start(&outbox, &nats.url(), &[SINGLY]).await;
    outbox.until_drained().await;
    assert!(relay.metric("outbox_announced_total").await < 0.5);
    outbox.append_many(100, 1).await;
    outbox.until_drained().await;
    // 100 events in 64 shards: what the relay finds of them at first is more than it announces.
    let events = Stream::of(&nats).await.events().await;
    let in_batches = (events.iter())
        .filter(|event| event.headers.get("Nats-Batch-Id").is_some())
        .count();
    let announced = relay.metric("outbox_announced_total").await;
    assert_eq!(events.len(), 102);
    assert!(in_batches > 32, "{in_batches}");
    assert!((announced + in_batches as f64 - 102.0).abs() < 0.1);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn with_never_all_events_go_in_batches(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[("OUTBOX_ANNOUNCE", "never")]).await;
    outbox.append_one("a", 1).await;
    outbox.until_drained().await;
    assert!(relay.metric("outbox_announced_total").await < 0.5);
    assert_eq!(fence_of(&nats, "a").await.fence.events.len(), 1);
    relay.drain().await;
}

/// What was stored is found, behind a fence that shuts out what was not.
#[sqlx::test(migrations = "../migrations")]
async fn events_whose_answers_were_lost_are_found_and_not_sent_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let proxy = Proxy::start(nats.port()).await;
    let relay = Relay::start(&outbox, &proxy.url, &[SINGLY]).await;
    outbox.append_one("a", 1).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    for round in 2..=4 {
        proxy.swallow_answers_after(CONDITION);
        outbox.append_one("a", round).await;
        until("the event is stored and its answer swallowed", || async {
            stream.numbers().await["a"].last() == Some(&round) && proxy.swallowed() > 0
        })
        .await;
        assert_eq!(outbox.pending().await, 1);
        proxy.cut();
        outbox.until_drained().await;
    }
    stream.assert_complete(1, 4).await;
    assert!((relay.metric("outbox_duplicates_prevented_total").await - 3.0).abs() < 0.1);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn events_that_never_arrived_are_looked_for_and_sent_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let proxy = Proxy::start(nats.port()).await;
    let relay = Relay::start(&outbox, &proxy.url, &[SINGLY]).await;
    outbox.append_one("a", 1).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    for round in 2..=4 {
        let lost = proxy.lost();
        proxy.lose_requests_with(CONDITION);
        outbox.append_one("a", round).await;
        until("the event is lost on its way", || {
            std::future::ready(proxy.lost() > lost)
        })
        .await;
        assert!(!fence_of(&nats, "a").await.fence.announced.is_empty());
        proxy.cut();
        outbox.until_drained().await;
    }
    stream.assert_complete(1, 4).await;
    assert!(relay.metric("outbox_duplicates_prevented_total").await < 0.5);
    relay.drain().await;
}

/// The relay dies between the announcement and the events, or between their storing and its delete.
#[sqlx::test(migrations = "../migrations")]
async fn a_take_over_finds_out_what_became_of_an_announcement(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let settings = [SINGLY, ("OUTBOX_LEASE_MS", "500")];
    let stream = Stream::of(&nats).await;
    for arrives in [false, true] {
        let n = 1 + i64::from(arrives);
        let proxy = Proxy::start(nats.port()).await;
        let before = stream.last_seq().await;
        let dying = Process::start(&outbox, &proxy.url, &settings);
        until("it holds its fences", || async {
            stream.last_seq().await >= before + 64
        })
        .await;
        if arrives {
            proxy.swallow_answers_after(CONDITION);
        } else {
            proxy.lose_requests_with(CONDITION);
        }
        outbox.append_one("a", n).await;
        until("it is stored, or lost", || async {
            proxy.lost() > 0
                || (stream.last_seq().await > 0
                    && (stream.numbers().await.get("a")).is_some_and(|a| a.last() == Some(&n)))
        })
        .await;
        dying.kill().await;
        assert_eq!(outbox.pending().await, 1);

        let heir = Relay::start(&outbox, &nats.url(), &settings).await;
        outbox.until_drained().await;
        stream.assert_complete(1, n).await;
        let prevented = heir.metric("outbox_duplicates_prevented_total").await;
        assert!((prevented - f64::from(u8::from(arrives))).abs() < 0.1);
        heir.drain().await;
    }
}

/// The zombie has written its announcement, and its event is on the way when it freezes.
#[sqlx::test(migrations = "../migrations")]
async fn what_a_zombie_has_announced_is_refused_behind_another_fence(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let settings = [SINGLY, ("OUTBOX_LEASE_MS", "500")];
    let proxy = Proxy::start(nats.port()).await;
    let zombie = Process::start(&outbox, &proxy.url, &settings);
    let stream = Stream::of(&nats).await;
    until("it holds its fences", || async {
        stream.last_seq().await >= 64
    })
    .await;
    proxy.hold_requests_with(CONDITION);
    outbox.append_one("a", 1).await;
    until("its event is on its way", || {
        std::future::ready(proxy.held() > 0)
    })
    .await;
    zombie.signal("STOP").await;
    let heir = Relay::start(&outbox, &nats.url(), &settings).await;
    outbox.until_drained().await;
    let before = stream.last_seq().await;

    proxy.release_requests();
    until("the zombie's event has been answered", || {
        std::future::ready(proxy.answered_with("wrong last sequence"))
    })
    .await;
    stream.assert_complete(1, 1).await;
    assert_eq!(stream.last_seq().await, before);
    zombie.signal("CONT").await;
    until("the zombie is back among the living", || async {
        zombie.metric("outbox_shards_owned").await > 0.0 && outbox.spread().await == [32, 32]
    })
    .await;
    stream.assert_complete(1, 1).await;
    heir.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_event_that_is_refused_by_itself_is_a_dead_letter_and_holds_up_no_other(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[SINGLY]).await;
    outbox.append_one("p1", 1).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    let found = stream.context.get_stream("EVENTS").await.unwrap();
    let config = StreamConfig {
        max_message_size: 3000,
        ..found.cached_info().config.clone()
    };
    stream.context.update_stream(config).await.unwrap();
    sqlx::query(
        "insert into outbox_events (shard, key, subject, type, payload)
         select 7, 'p' || n, 'events.test.p' || n, 'test.happened.v1',
                json_build_object('n', n, 'x', case when n = 3 then repeat('x', 20000) end)
         from generate_series(2, 4) n",
    )
    .execute(&pool)
    .await
    .unwrap();
    outbox.until_drained().await;
    assert_eq!(
        outbox
            .number("select count(*) from outbox_dead where key = 'p3'")
            .await,
        1
    );
    assert_eq!(outbox.number("select count(*) from outbox_dead").await, 1);
    assert_eq!(stream.numbers().await.len(), 3);
    let refused = "outbox_failures_total{kind=\"batch_refused\"}";
    assert!(relay.metric(refused).await > 0.5);
    // Once that is over, few events are announced again.
    let before = relay.metric("outbox_announced_total").await;
    outbox.append_one("p1", 2).await;
    outbox.until_drained().await;
    assert!(relay.metric("outbox_announced_total").await > before + 0.5);
    relay.drain().await;
}
