//! Who publishes what: spread, hand-over, drain.

use std::time::Duration;

use outbox_relay::backlog::floor::ReadFrom;
use outbox_relay::batch::repo::{Wanted, next_rows};
use outbox_relay::leases::repo::take;
use outbox_relay::shard::fence::Epoch;
use shared::shard::Shard;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Process, Relay, Stream, until};

#[sqlx::test(migrations = "../migrations")]
async fn shards_spread_evenly_when_relays_join_drain_and_crash(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let first = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_spread(&[64]).await;
    let second = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_spread(&[32, 32]).await;
    let third = Process::start(&outbox, &nats.url(), &[]);
    outbox.until_spread(&[21, 21, 22]).await;
    second.drain().await;
    outbox.until_spread(&[32, 32]).await;
    third.kill().await;
    outbox.until_spread(&[64]).await;
    first.drain().await;
    outbox.until_spread(&[]).await;
    assert_eq!(outbox.number("select count(*) from outbox_relays where last_seen > now() - interval '1 second' * 0.5").await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn sigterm_finishes_the_batch_in_flight_and_hands_the_leases_over(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let old = Process::start(&outbox, &nats.url(), &[("OUTBOX_LEASE_MS", "60000")]);
    outbox.until_spread(&[64]).await;
    outbox.append_many(200, 50).await;
    until("the old relay is in the middle", || async {
        outbox.published().await > 500
    })
    .await;
    old.signal("TERM").await;
    assert!(old.wait().await.success());
    assert!(outbox.pending().await > 0, "stopped in the middle");
    // Its leases would have lasted a minute: they were handed over.
    let new = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(200, 50).await;
    assert!(new.metric("outbox_duplicates_prevented_total").await < 0.5);
    assert!(new.metric("outbox_fenced_total").await < 0.5);
    new.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_rolling_restart_loses_doubles_and_fences_nothing(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let mut relays = vec![
        Relay::start(&outbox, &nats.url(), &[]).await,
        Relay::start(&outbox, &nats.url(), &[]).await,
    ];
    outbox.until_spread(&[32, 32]).await;
    for round in 0..4 {
        for n in 1..=5 {
            for key in 0..40 {
                outbox.append_one(&format!("k{key}"), round * 5 + n).await;
            }
        }
        relays.push(Relay::start(&outbox, &nats.url(), &[]).await);
        let old = relays.remove(0);
        assert!(old.metric("outbox_fenced_total").await < 0.5);
        old.drain().await;
    }
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(40, 20).await;
    for relay in relays {
        assert!(relay.metric("outbox_duplicates_prevented_total").await < 0.5);
        assert!(relay.metric("outbox_fenced_total").await < 0.5);
        relay.drain().await;
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn rows_are_given_to_the_holder_of_the_lease_alone(pool: PgPool) {
    Outbox::new(&pool).append("a", 1..=3).await;
    let lapsed = Duration::ZERO;
    take(&pool, "zombie", lapsed, 64).await.unwrap();
    take(&pool, "heir", lapsed, 64).await.unwrap();
    let rows = async |owner, epoch| {
        let wanted = Wanted {
            shard: Shard::of_key("a"),
            from: ReadFrom::default(),
            limit: 10,
            epoch: Epoch(epoch),
        };
        let rows = next_rows(&pool, owner, &[wanted], 1 << 20).await.unwrap();
        rows.len()
    };
    assert_eq!(rows("zombie", 1).await, 0);
    assert_eq!(rows("heir", 1).await, 0);
    assert_eq!(rows("heir", 2).await, 3);
}
