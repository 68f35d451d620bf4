//! Order and once; what a message says; how soon it is there.

use std::time::Duration;

use outbox_relay::backlog::floor::ReadFrom;
use outbox_relay::backlog::repo::{lowest, mark, running};
use outbox_relay::batch::repo::{Wanted, next_rows};
use outbox_relay::leases::repo::take;
use outbox_relay::shard::fence::Epoch;
use shared::shard::Shard;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Relay, Stream, until};

#[sqlx::test(migrations = "../migrations")]
async fn several_relays_publish_each_event_once_and_each_key_in_order(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relays = [
        Relay::start(&outbox, &nats.url(), &[]).await,
        Relay::start(&outbox, &nats.url(), &[]).await,
        Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "7")]).await,
    ];
    outbox.append_many(50, 40).await;
    for n in 41..=60 {
        for key in 0..50 {
            outbox.append_one(&format!("k{key}"), n).await;
        }
    }
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(50, 60).await;
    assert_eq!(outbox.published().await, 3000);
    let mut published = 0.0;
    for relay in relays {
        published += relay.metric("outbox_published_total").await;
        assert!(relay.metric("outbox_shards_owned").await > 0.0);
        relay.drain().await;
    }
    assert!((published - 3000.0).abs() < 0.5, "{published}");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_recorded_as_published_names_its_place_in_the_stream(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(5, 20).await;
    outbox.until_drained().await;
    for event in Stream::of(&nats).await.events().await {
        let recorded: i64 =
            sqlx::query_scalar("select stream_seq from outbox_published where event_id = $1::uuid")
                .bind(&event.id)
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!(recorded.unsigned_abs(), event.seq);
    }
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_message_is_a_cloud_event_that_carries_its_trace(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    sqlx::query(
        "select outbox_append('a', 'events.test.a', 'test.happened.v1', '{\"n\": 1}',
             jsonb_build_object('traceparent', $1::text, 'tracestate', 'x=1'))",
    )
    .bind(parent)
    .execute(&pool)
    .await
    .unwrap();
    outbox.until_published(1).await;
    let identity: String = sqlx::query_scalar("select id::text from outbox_identity")
        .fetch_one(&pool)
        .await
        .unwrap();
    let events = Stream::of(&nats).await.events().await;
    let header = |name: &str| events[0].headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(header("ce-source"), format!("urn:uuid:{identity}"));
    assert_eq!(header("ce-specversion"), "1.0");
    assert_eq!(header("ce-type"), "test.happened.v1");
    assert_eq!(header("ce-subject"), "a");
    assert_eq!(header("traceparent"), parent);
    assert_eq!(header("tracestate"), "x=1");
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_hint_wakes_the_relay_before_any_poll(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let slow = [
        ("OUTBOX_POLL_MIN_MS", "60000"),
        ("OUTBOX_POLL_MAX_MS", "60000"),
    ];
    let relay = Relay::start(&outbox, &nats.url(), &slow).await;
    outbox.until_spread(&[64]).await;
    until("the relay holds its fences", || async {
        Stream::of(&nats).await.last_seq().await >= 64
    })
    .await;
    let client = nats.client().await;
    for n in 1..=20 {
        outbox.append_one("a", n).await;
        client.publish("outbox.wake", "".into()).await.unwrap();
        outbox.until_published(n).await;
    }
    assert!(relay.metric("outbox_wakeups_total{source=\"hint\"}").await >= 20.0);
    Stream::of(&nats).await.assert_complete(1, 20).await;
    relay.drain().await;
}

/// The batch is held at its settlement: its shard's row is locked. What is appended then was not
/// read by it, and the look that its hint causes passes over the shard, as the other event shows.
#[sqlx::test(migrations = "../migrations")]
async fn a_hint_during_a_batch_is_not_lost(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let slow = [
        ("OUTBOX_POLL_MIN_MS", "60000"),
        ("OUTBOX_POLL_MAX_MS", "60000"),
        ("OUTBOX_LEASE_MS", "60000"),
    ];
    let relay = Relay::start(&outbox, &nats.url(), &slow).await;
    outbox.until_spread(&[64]).await;
    let stream = Stream::of(&nats).await;
    until("the relay holds its fences", || async {
        stream.last_seq().await >= 64
    })
    .await;
    let polls = relay.metric("outbox_wakeups_total{source=\"poll\"}").await;
    let (held, other) = ("held", "other");
    assert_ne!(Shard::of_key(held), Shard::of_key(other));
    let client = nats.client().await;
    let hint = || client.publish("outbox.wake", "".into());

    let mut lock = pool.begin().await.unwrap();
    sqlx::query("select from outbox_shards where shard = $1 for update")
        .bind(Shard::of_key(held).number())
        .execute(&mut *lock)
        .await
        .unwrap();
    outbox.append_one(held, 1).await;
    hint().await.unwrap();
    until("the first batch is stored and not settled", || async {
        stream.numbers().await.contains_key(held)
    })
    .await;
    outbox.append_one(held, 2).await;
    outbox.append_one(other, 1).await;
    hint().await.unwrap();
    outbox.until_published(1).await;
    lock.commit().await.unwrap();

    outbox.until_published(3).await;
    let polls_after = relay.metric("outbox_wakeups_total{source=\"poll\"}").await;
    assert!((polls - polls_after).abs() < 0.5, "found by polling");
    assert_eq!(stream.numbers().await[held], [1, 2]);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_notification_wakes_the_relay_before_any_poll(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let slow = [
        ("OUTBOX_POLL_MIN_MS", "60000"),
        ("OUTBOX_POLL_MAX_MS", "60000"),
        ("OUTBOX_LISTEN", "true"),
    ];
    let relay = Relay::start(&outbox, &nats.url(), &slow).await;
    outbox.until_spread(&[64]).await;
    until("the relay holds its fences", || async {
        Stream::of(&nats).await.last_seq().await >= 64
    })
    .await;
    outbox.append_one("a", 1).await;
    outbox.execute("notify outbox_wake").await;
    outbox.until_published(1).await;
    assert!(
        relay
            .metric("outbox_wakeups_total{source=\"listen\"}")
            .await
            >= 1.0
    );
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_key_that_commits_late_is_neither_lost_nor_overtaken(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    let append = |n: i64| {
        sqlx::query("select outbox_append('late', 'events.test.late', 't.v1', jsonb_build_object('n', $1::bigint))")
            .bind(n)
    };
    let mut held = pool.begin().await.unwrap();
    append(1).execute(&mut *held).await.unwrap();
    // Higher ids of the same shard and of others commit and are published meanwhile.
    outbox.append_many(64, 5).await;
    outbox.until_published(320).await;
    until("the horizon has been looked at twice", || async {
        // Ids below the open transaction's are the only ones that may be skipped.
        relay.metric("outbox_wakeups_total{source=\"poll\"}").await >= 5.0
    })
    .await;
    held.commit().await.unwrap();
    append(2).execute(&pool).await.unwrap();
    outbox.until_drained().await;
    assert_eq!(Stream::of(&nats).await.numbers().await["late"], [1, 2]);
    relay.drain().await;
}

/// Nothing else has ended since the transaction drew its number, so that a snapshot's bounds do not
/// know of it.
#[sqlx::test(migrations = "../migrations")]
async fn an_id_whose_transaction_runs_is_below_no_closed_mark(pool: PgPool) {
    let (held, xid) = hold_an_event(&pool, "late").await;
    let mark = mark(&pool).await.unwrap();
    assert_eq!(mark.given, 1);
    assert!(xid < mark.xid);
    assert!(running(&pool).await.unwrap().contains(&xid));
    held.commit().await.unwrap();
    assert!(!running(&pool).await.unwrap().contains(&xid));
}

/// The floor stands above the row; what shows the row in a snapshot takes the floor away in it.
#[sqlx::test(migrations = "../migrations")]
async fn a_floor_holds_only_while_its_witness_runs(pool: PgPool) {
    let (held, xid) = hold_an_event(&pool, "late").await;
    let shard = Shard::of_key("late");
    let from = ReadFrom {
        low_id: 0,
        floor_id: 5,
        witnesses: [xid].into(),
    };
    let shards = [(shard, from.clone())];
    let wanted = [Wanted {
        shard,
        from,
        limit: 10,
        epoch: Epoch(1),
    }];
    take(&pool, "reader", Duration::from_mins(1), 64)
        .await
        .unwrap();
    let seen = async || {
        let rows = next_rows(&pool, "reader", &wanted, 1 << 20).await.unwrap();
        let ids: Vec<i64> = rows.iter().map(|(_, row)| row.id).collect();
        let lowest = lowest(&pool, &shards).await.unwrap();
        (ids, lowest.get(&shard).copied())
    };
    assert_eq!(seen().await, (vec![], None));
    held.commit().await.unwrap();
    assert_eq!(seen().await, (vec![1], Some(1)));
}

/// An event appended by a transaction that is left open, and that transaction's number.
async fn hold_an_event<'a>(
    pool: &'a PgPool,
    key: &'static str,
) -> (sqlx::Transaction<'a, sqlx::Postgres>, i64) {
    let mut held = pool.begin().await.unwrap();
    sqlx::query("select outbox_append($1, 'events.test.' || $1, 't.v1', '{}')")
        .bind(key)
        .execute(&mut *held)
        .await
        .unwrap();
    let xid = sqlx::query_scalar("select pg_current_xact_id()::text::bigint")
        .fetch_one(&mut *held)
        .await
        .unwrap();
    (held, xid)
}
