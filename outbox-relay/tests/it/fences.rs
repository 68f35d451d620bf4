//! Fences in a stream whose limits push out what is old.

use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Process, Stream, until};

/// The smallest stream that the relay makes: some 90 events of 10 KB.
const SMALL: [(&str, &str); 1] = [("EVENTS_MAX_BYTES", "1048576")];
const EVENT_BYTES: i32 = 10_000;

/// 63 shards have no events: their fences would be pushed out, were they not written anew.
#[sqlx::test(migrations = "../migrations")]
async fn an_owner_renews_its_fences_before_the_stream_pushes_them_out(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Process::start(&outbox, &nats.url(), &SMALL);
    outbox.until_spread(&[64]).await;
    let stream = Stream::of(&nats).await;
    until("every shard has its fence", || async {
        stream.last_seq().await >= 64
    })
    .await;
    for round in 1..=14 {
        // A tenth of the stream.
        let last = round * 10;
        outbox
            .append_large("a", (last - 9)..=last, EVENT_BYTES)
            .await;
        outbox.until_drained().await;
        until("no fence stands in the older half", || async {
            let (first, last) = stream.bounds().await;
            if stream.bytes().await < 1_048_576 / 2 {
                return true; // far from its limits
            }
            let fences = stream.fences().await;
            fences.iter().all(|at| *at >= first + (last - first) / 2)
        })
        .await;
    }
    let (first, _) = stream.bounds().await;
    assert!(first > 100, "nothing was pushed out");
    assert!(
        relay
            .metric("outbox_failures_total{kind=\"stream_lost\"}")
            .await
            < 0.5
    );
    assert_eq!(
        outbox
            .number("select stream_generation from outbox_identity")
            .await,
        0
    );
}

/// Faster than the owner looks at the stream: what it then does not know, it verifies.
#[sqlx::test(migrations = "../migrations")]
async fn a_fence_that_was_pushed_out_leads_to_a_verification(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Process::start(&outbox, &nats.url(), &SMALL);
    for key in 0..64 {
        outbox.append_one(&format!("k{key}"), 1).await;
    }
    outbox.until_drained().await;
    outbox.append_large("a", 1..=200, EVENT_BYTES).await;
    outbox.until_drained().await;
    let stream = Stream::of(&nats).await;
    assert!(stream.fences().await.contains(&0), "every fence is there");
    for key in 0..64 {
        outbox.append_one(&format!("k{key}"), 2).await;
    }
    let line = "the stream has lost the shard's fence or went back behind it";
    relay.until_failed("stream_lost", line).await;
    outbox.until_verified().await;
    outbox.until_drained().await;
    let numbers = stream.numbers().await;
    for key in 0..64 {
        assert_eq!(numbers[&format!("k{key}")], [2], "the limits took 1");
    }
    assert_eq!(outbox.tally("republished").await, 0, "expired is not lost");
    assert!(!stream.fences().await.contains(&0));
    relay.until_logged("verification passed").await;
}
