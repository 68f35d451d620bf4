//! Each class of failure, provoked on real servers: what it does to the rows, the metric that counts
//! it and the line that it leaves. docs/runbook.md has them as a table.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Config;
use outbox_relay::metrics::FailureKind;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Process, Proxy, Stream, until};

#[sqlx::test(migrations = "../migrations")]
async fn a_broker_that_is_away_is_counted_and_waited_for(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Process::start(&outbox, &nats.url(), &[]);
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    nats.kill().await;
    relay
        .until_failed("broker_away", "the connection to the broker is lost")
        .await;
    relay
        .until_logged("not publishing: the broker is not connected")
        .await;
    outbox.append("a", 4..=6).await;
    nats.restart().await;
    relay.until_logged("connected to the broker").await;
    outbox.until_drained().await;
    assert_eq!(outbox.number("select count(*) from outbox_dead").await, 0);
    Stream::of(&nats).await.assert_complete(1, 6).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_broker_that_does_not_answer_is_counted_and_its_fence_read_back(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    // It looks at the outbox before it looks at the stream.
    let busy = [("OUTBOX_POLL_MAX_MS", "50")];
    let relay = Process::start(&outbox, &nats.url(), &busy);
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    nats.freeze().await;
    outbox.append("a", 4..=6).await;
    let line = "no answer to a batch (no answer in time); its fences will be read back";
    relay.until_failed("broker_away", line).await;
    assert_eq!((outbox.pending().await, outbox.attempts().await), (3, 0));
    nats.thaw().await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(1, 6).await;
}

/// Messages that begin so many batches on the stream and end none.
async fn begin_batches(nats: &NatsServer, count: usize) {
    let client = nats.client().await;
    for n in 0..count {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", format!("unfinished-{n}").as_str());
        headers.insert("Nats-Batch-Sequence", "1");
        client
            .publish_with_headers("events.other.x", headers, "{}".into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
}

/// 50 batches in flight on one stream are the server's limit; it gives unfinished ones up after 10 s.
#[sqlx::test(migrations = "../migrations")]
async fn a_broker_that_has_no_room_is_counted_and_asked_again(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Process::start(&outbox, &nats.url(), &[]);
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    begin_batches(&nats, 50).await;
    outbox.append("a", 4..=6).await;
    relay
        .until_failed("broker_busy", "the broker refused a batch (Busy)")
        .await;
    assert!(relay.log().contains("10210"), "{}", relay.log());
    assert_eq!((outbox.pending().await, outbox.attempts().await), (3, 0));
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(1, 6).await;
}

async fn an_impossible_event(pool: PgPool, policy: &'static str, blocked: bool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    outbox.append("bad", 1..=1).await;
    outbox
        .execute(
            "insert into outbox_events (shard, key, subject, type, payload)
             values (fogline_shard('bad'), 'bad', 'elsewhere.x', 'test.happened.v1', '{}')",
        )
        .await;
    outbox.append("bad", 2..=2).await;
    outbox.append("good", 1..=3).await;
    let relay = Process::start(&outbox, &nats.url(), &[("OUTBOX_POISON", policy)]);
    let line = "an event cannot be published and is a dead letter: ";
    relay.until_failed("event_impossible", line).await;
    relay
        .until_logged(&format!("outbox.key_blocked={blocked}"))
        .await;
    until("the gauge of dead letters shows it", || async {
        relay.metric("outbox_dead").await > 0.5
    })
    .await;
    outbox.until_published(if blocked { 4 } else { 5 }).await;
    assert_eq!(outbox.pending().await, i64::from(blocked));
    let numbers = Stream::of(&nats).await.numbers().await;
    assert_eq!(numbers["good"], [1, 2, 3]);
    assert_eq!(numbers["bad"].len(), if blocked { 1 } else { 2 });
}

#[sqlx::test(migrations = "../migrations")]
async fn an_impossible_event_is_counted_and_named_and_holds_its_key_back(pool: PgPool) {
    an_impossible_event(pool, "block", true).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn with_skip_an_impossible_event_is_counted_and_named_and_its_key_goes_on(pool: PgPool) {
    an_impossible_event(pool, "skip", false).await;
}

/// The stream's limit is lowered behind the relay's back: it does not learn of it before its next
/// look, so that the broker refuses what the relay took for possible.
#[sqlx::test(migrations = "../migrations")]
async fn an_event_that_crashes_batches_is_counted_until_it_is_alone_and_dead(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Process::start(&outbox, &nats.url(), &[]);
    outbox.append("a", 1..=1).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    let mut info = stream.context.get_stream("EVENTS").await.unwrap();
    let config = info.info().await.unwrap().config.clone();
    let narrow = Config {
        max_message_size: 3000,
        ..config
    };
    stream.context.update_stream(narrow).await.unwrap();
    outbox.append("a", 2..=40).await;
    outbox.append_large("b", 1..=1, 20_000).await;
    outbox.append("a", 41..=60).await;
    relay
        .until_failed("batch_refused", "the broker refused a batch (Batch)")
        .await;
    let line = "an event cannot be published and is a dead letter: ";
    relay.until_failed("event_impossible", line).await;
    outbox.until_drained().await;
    let attempts: (String, i32) = sqlx::query_as("select key, attempt_count from outbox_dead")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(attempts.0, "b");
    stream.assert_complete(1, 60).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_database_that_is_away_is_counted_and_its_leases_lapse(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let proxy = Proxy::start(outbox.port()).await;
    let url = outbox.url_by(proxy.port);
    let relay = Process::start(&outbox, &nats.url(), &[("DATABASE_URL", &url)]);
    outbox.until_spread(&[64]).await;
    proxy.close();
    relay
        .until_failed(
            "database_away",
            "cannot keep leases: the database does not answer",
        )
        .await;
    outbox.until_spread(&[]).await;
    outbox.append("a", 1..=3).await;
    // Another one, which reaches the database, has the shards meanwhile.
    let other = Process::start(&outbox, &nats.url(), &[]);
    outbox.until_drained().await;
    assert_eq!(outbox.attempts().await, 0);
    proxy.open();
    relay.until_logged("the database answers again").await;
    outbox.until_spread(&[32, 32]).await;
    outbox.append("a", 4..=6).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(1, 6).await;
    drop(other);
}

/// Its batch is on its way when it freezes, and arrives after another has taken its shards over.
#[sqlx::test(migrations = "../migrations")]
async fn a_relay_that_was_taken_over_is_refused_and_says_so(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let proxy = Proxy::start(nats.port()).await;
    let settings = [
        ("OUTBOX_LEASE_MS", "500"),
        // Else a fence alone would come before the batch.
        ("OUTBOX_ANNOUNCE", "never"),
        // It still waits for the answer when it wakes.
        ("OUTBOX_PUBLISH_TIMEOUT_MS", "10000"),
    ];
    let zombie = Process::start(&outbox, &proxy.url, &settings);
    outbox.append("a", 1..=1).await;
    outbox.until_drained().await;
    proxy.hold_requests();
    outbox.append("a", 2..=3).await;
    until("the batch is on its way", || {
        std::future::ready(proxy.held() > 700)
    })
    .await;
    zombie.signal("STOP").await;
    let heir = Process::start(&outbox, &nats.url(), &[]);
    outbox.until_drained().await;
    proxy.release_requests();
    zombie.signal("CONT").await;
    zombie
        .until_logged("the broker refused a batch (Stale)")
        .await;
    zombie
        .until_logged("leases have been taken over by another relay")
        .await;
    assert!(zombie.metric("outbox_fenced_total").await > 0.5);
    outbox.until_spread(&[32, 32]).await;
    outbox.append("a", 4..=6).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(1, 6).await;
    drop(heir);
}

#[test]
fn the_runbook_has_a_row_for_each_class() {
    let runbook = include_str!("../../../docs/runbook.md");
    for kind in FailureKind::ALL {
        let row = format!("| `{}` |", kind.label());
        assert!(runbook.contains(&row), "{row}");
    }
}
