//! The stream or the database loses data: noticed, and brought into agreement before anything new
//! is published.

use async_nats::jetstream::stream::Config;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Process, Relay, Stream, command, until};

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
    outbox.until_verified().await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    stream.assert_complete(30, 21).await;
    stream.assert_caught_up_first(20).await;
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
    for key in 0..10 {
        outbox.append_one(&format!("k{key}"), 11).await;
    }
    outbox.until_verified().await;
    outbox.until_drained().await;
    stream.assert_complete(10, 11).await;
    stream.assert_caught_up_first(10).await;
    assert_eq!(outbox.tally("republished").await, 100);
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
    for key in 0..10 {
        outbox.append_one(&format!("k{key}"), 11).await;
    }
    outbox.until_verified().await;
    outbox.until_drained().await;
    stream.assert_complete(10, 11).await;
    stream.assert_caught_up_first(10).await;
    assert_eq!(outbox.tally("republished").await, 100);
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
    outbox.until_verified().await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    stream.assert_complete(20, 16).await;
    stream.assert_caught_up_first(15).await;
    assert_eq!(outbox.tally("republished").await, 100);
    assert!((relay.metric("outbox_reconciled_total").await - 100.0).abs() < 0.5);
    relay.drain().await;
}

/// Nothing is sent any more that could be refused, so nothing but what is recorded tells of the loss.
#[sqlx::test(migrations = "../migrations")]
async fn the_last_events_before_a_silence_are_missed_if_the_stream_loses_them(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(5, 2).await;
    outbox.until_drained().await;
    relay.drain().await;
    let copy = nats.copy_data().await;
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_one("k0", 3).await;
    outbox.until_drained().await;
    nats.restore_data(&copy).await;
    outbox.until_verified().await;
    let numbers = Stream::of(&nats).await.numbers().await;
    assert!(numbers["k0"].iter().copied().eq(1..=3));
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
    outbox.until_verified().await;
    Stream::of(&nats).await.assert_complete(20, 10).await;
    relay.drain().await;
}

/// A store that was not flushed, after a power cut: the newest bytes are gone.
#[sqlx::test(migrations = "../migrations")]
async fn a_stream_truncated_by_a_power_cut_gets_exactly_what_it_lacks(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Process::start(&outbox, &nats.url(), &[]);
    for n in 1..=10 {
        for key in 0..20 {
            outbox.append_one(&format!("k{key}"), n).await;
        }
    }
    outbox.until_drained().await;
    let before = Stream::of(&nats).await.last_seq().await;
    relay.signal("STOP").await;
    nats.lose_power(20_000).await;
    let stream = Stream::of(&nats).await;
    let standing = i64::try_from(stream.events().await.len()).unwrap();
    assert!(
        stream.last_seq().await < before && standing > 0,
        "{standing}"
    );
    for key in 0..20 {
        outbox.append_one(&format!("k{key}"), 11).await;
    }
    relay.signal("CONT").await;
    let line = "nothing is published before it is verified";
    relay.until_failed("stream_lost", line).await;
    outbox.until_verified().await;
    outbox.until_drained().await;
    stream.assert_complete(20, 11).await;
    stream.assert_caught_up_first(10).await;
    assert_eq!(outbox.tally("republished").await, 200 - standing);
}

/// The cut goes through a batch that the database has not recorded: its fence alone proves nothing.
#[sqlx::test(migrations = "../migrations")]
async fn a_batch_of_which_the_end_was_cut_off_is_not_taken_for_published(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_spread(&[64]).await;
    until("every shard has its fence", || async {
        Stream::of(&nats).await.last_seq().await >= 64
    })
    .await;
    outbox.append_large("a", 1..=40, 100).await;
    outbox.until_drained().await;
    relay.drain().await;
    // As if relay and server had died between the storing and the delete.
    outbox
        .execute(
            "with gone as (delete from outbox_published returning *)
             insert into outbox_events (shard, id, event_id, key, subject, type, payload, created_at)
             select shard, id, event_id, key, subject, type, payload, created_at from gone",
        )
        .await;
    outbox.execute("update outbox_shards set low_id = 0").await;
    outbox
        .execute("update outbox_identity set stream_last_seq = 0")
        .await;
    nats.lose_power(6_000).await;
    let stream = Stream::of(&nats).await;
    let standing = stream.events().await.len();
    assert!((10..40).contains(&standing), "{standing}");
    outbox.append("a", 41..=42).await;
    let relay = Process::start(&outbox, &nats.url(), &[]);
    relay
        .until_failed("stream_lost", "nothing is published before it is verified")
        .await;
    outbox.until_drained().await;
    outbox.until_verified().await;
    stream.assert_complete(1, 42).await;
    assert_eq!(
        outbox.tally("settled").await,
        i64::try_from(standing).unwrap()
    );
}

/// Nothing on the relay's way shows a hole in the midst: `verify` by hand finds it.
#[sqlx::test(migrations = "../migrations")]
async fn messages_deleted_in_the_midst_are_found_by_hand(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let stream = Stream::of(&nats).await;
    let erasable = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_age: std::time::Duration::from_hours(72),
        allow_atomic_publish: true,
        allow_rollup: true,
        allow_message_ttl: true,
        ..Config::default()
    };
    stream.context.create_stream(erasable).await.unwrap();
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(10, 10).await;
    outbox.until_drained().await;
    let events = stream.events().await;
    let handle = stream.context.get_stream("EVENTS").await.unwrap();
    let mut lost: Vec<&str> = Vec::new();
    for event in events.iter().skip(20).step_by(7) {
        assert!(handle.delete_message(event.seq).await.unwrap());
        lost.push(&event.id);
    }
    let (code, report) = command(&outbox, &nats.url(), &["verify", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (code, &report["events"]["republished"]),
        (0, &lost.len().into())
    );
    let numbers = stream.numbers().await;
    assert_eq!(numbers.values().map(Vec::len).sum::<usize>(), 100);
    let after = stream.events().await;
    let mut again: Vec<&str> = after
        .iter()
        .rev()
        .take(lost.len())
        .map(|e| &*e.id)
        .collect();
    again.sort_unstable();
    lost.sort_unstable();
    assert_eq!(again, lost);
    relay.drain().await;
}
