//! Crashes, zombies, and who may publish at all.

use outbox_relay::batch::repo::{Debt, settle};
use outbox_relay::config::{BrokerConfig, Config};
use outbox_relay::error::RelayError;
use outbox_relay::leases::repo::Writer;
use outbox_relay::shard::fence::{Epoch, EventRef, Fence, StoredFence, StreamSeq};
use outbox_relay::stream::broker::Broker;
use outbox_relay::stream::publisher::{Part, Published, Publisher};
use outbox_relay::stream::repo::read_fence;
use outbox_relay::stream::settings::Unfit;
use shared::shard::Shard;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::{NatsServer, Outbox, Process, Relay, Stream, until};

#[sqlx::test(migrations = "../migrations")]
async fn relays_killed_in_the_middle_leave_nothing_lost_doubled_or_out_of_order(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let settings = [("OUTBOX_BATCH_MAX", "20"), ("OUTBOX_LEASE_MS", "500")];
    outbox.append_many(100, 100).await;
    for round in 1..=6 {
        let relay = Process::start(&outbox, &nats.url(), &settings);
        until("the relay is in the middle", || async {
            outbox.published().await >= round * 500
        })
        .await;
        relay.kill().await;
    }
    let last = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(100, 100).await;
    assert_eq!(outbox.published().await, 10_000);
    last.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_relay_frozen_past_its_lease_is_refused_when_it_wakes(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let settings = [("OUTBOX_BATCH_MAX", "5"), ("OUTBOX_LEASE_MS", "500")];
    let zombie = Process::start(&outbox, &nats.url(), &settings);
    outbox.append_many(100, 100).await;
    until("the zombie is in the middle", || async {
        outbox.published().await > 500
    })
    .await;
    zombie.signal("STOP").await;
    let heir = Relay::start(&outbox, &nats.url(), &[("OUTBOX_LEASE_MS", "500")]).await;
    outbox.until_drained().await;
    zombie.signal("CONT").await;
    until("the zombie is back among the living", || async {
        zombie.metric("outbox_shards_owned").await > 0.0 && outbox.spread().await == [32, 32]
    })
    .await;
    Stream::of(&nats).await.assert_complete(100, 100).await;
    assert_eq!(outbox.published().await, 10_000);
    heir.drain().await;
}

pub(crate) async fn broker_of(nats: &NatsServer) -> Broker {
    let env = std::collections::HashMap::from([("NATS_URL".to_owned(), nats.url())]);
    let broker = Broker::connect(&BrokerConfig::from_env(&env).unwrap(), "test")
        .await
        .unwrap();
    until("the test is connected", || {
        std::future::ready(broker.link.borrow().up)
    })
    .await;
    broker
}

#[sqlx::test(migrations = "../migrations")]
async fn a_zombie_is_refused_at_broker_and_database_though_its_successor_published_nothing(
    pool: PgPool,
) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    until("every shard has its fence", || async {
        Stream::of(&nats).await.last_seq().await >= 64
    })
    .await;
    let shard = Shard::of_key("a");
    let broker = broker_of(&nats).await;
    let old = read_fence(&broker, shard).await.unwrap().unwrap();
    let owner: String = sqlx::query_scalar("select owner from outbox_shards where shard = $1")
        .bind(shard.number())
        .fetch_one(&pool)
        .await
        .unwrap();
    relay.drain().await;
    let heir = Relay::start(&outbox, &nats.url(), &[]).await;
    until("the heir has fenced the shard", || async {
        read_fence(&broker, shard).await.unwrap().unwrap().at > old.at
    })
    .await;

    // What the zombie had in hand when it froze.
    let fence = Fence {
        events: vec![EventRef(1, Uuid::nil())],
        ..old.fence.clone()
    };
    let mut publisher = Publisher::new(&broker).await.unwrap();
    let heirs = read_fence(&broker, shard).await.unwrap();
    let part = Part {
        shard,
        expect: old.at,
        fence: fence.clone(),
        events: Vec::new(),
    };
    let refused = publisher.publish(vec![part]).await;
    assert!(
        matches!(
            refused,
            Published::Refused {
                code: 10071 | 10164,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(read_fence(&broker, shard).await.unwrap(), heirs);

    let writer = Writer {
        owner: &owner,
        shard,
        epoch: old.fence.epoch,
        generation: 0,
    };
    let placed = StoredFence::new(old.at, fence).owed().placed;
    let settled = settle(&pool, &[Debt { writer, placed }]).await.unwrap();
    assert!(settled.held.is_empty());
    heir.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_take_over_settles_what_the_fence_lists_instead_of_sending_it_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    relay.drain().await;
    // As if the relay had died between the broker's answer and its own delete.
    outbox
        .execute(
            "with gone as (delete from outbox_published where (payload->>'n')::int = 3 returning *)
             insert into outbox_events (shard, id, event_id, key, subject, type, payload, created_at)
             select shard, id, event_id, key, subject, type, payload, created_at from gone",
        )
        .await;
    outbox.execute("update outbox_shards set low_id = 0").await;
    let before = Stream::of(&nats).await.events().await.len();
    let heir = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_drained().await;
    assert_eq!(Stream::of(&nats).await.events().await.len(), before);
    Stream::of(&nats).await.assert_complete(1, 3).await;
    assert!((heir.metric("outbox_duplicates_prevented_total").await - 1.0).abs() < 0.1);
    heir.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_of_another_outbox_is_refused_with_a_sentence(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    relay.drain().await;
    outbox
        .execute("update outbox_identity set id = gen_random_uuid(), stream_created = null, stream_last_seq = 0")
        .await;
    outbox.append("a", 4..=4).await;
    let before = Stream::of(&nats).await.last_seq().await;
    let refusal = Relay::start(&outbox, &nats.url(), &[])
        .await
        .refusal()
        .await;
    assert!(
        matches!(refusal, RelayError::Unfit(Unfit::Foreign { .. })),
        "{refusal}"
    );
    assert!(refusal.to_string().contains("delete the stream"));
    assert_eq!(Stream::of(&nats).await.last_seq().await, before);
    assert_eq!(outbox.pending().await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_fence_of_another_outbox_is_refused_where_the_stream_itself_names_none(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    until("every shard has its fence", || async {
        Stream::of(&nats).await.last_seq().await >= 64
    })
    .await;
    relay.drain().await;
    let stream = Stream::of(&nats).await;
    let mut config = stream
        .context
        .get_stream("EVENTS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    config.metadata.clear();
    stream.context.update_stream(config).await.unwrap();
    outbox
        .execute("update outbox_identity set id = gen_random_uuid(), stream_created = null, stream_last_seq = 0")
        .await;
    outbox
        .execute("update outbox_shards set fence_seq = 0, epoch = 0")
        .await;
    let refusal = Relay::start(&outbox, &nats.url(), &[])
        .await
        .refusal()
        .await;
    assert!(
        matches!(refusal, RelayError::Unfit(Unfit::Foreign { .. })),
        "{refusal}"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_stream_with_wrong_settings_is_refused_with_the_line_to_change(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let context = async_nats::jetstream::new(nats.client().await);
    context
        .create_stream(async_nats::jetstream::stream::Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["events.>".to_owned()],
            ..Default::default()
        })
        .await
        .unwrap();
    let refusal = Relay::start(&outbox, &nats.url(), &[])
        .await
        .refusal()
        .await;
    assert!(refusal.to_string().contains("allow_atomic"), "{refusal}");
}

#[test]
fn epochs_and_positions_are_ordered() {
    assert!(Epoch(2) > Epoch(1) && StreamSeq(2) > StreamSeq(1));
    assert!(Config::from_env(&std::collections::HashMap::<String, String>::new()).is_err());
}
