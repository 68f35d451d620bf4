//! The committed configuration of nats-server: what each user may and may not do.

use async_nats::jetstream;
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Relay, command, until};

#[sqlx::test(migrations = "../migrations")]
async fn the_committed_permissions_let_the_relay_work_and_nobody_empty_the_stream(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start_as_deployed().await);
    let relay = Relay::start(&outbox, &nats.url_as("relay"), &[]).await;
    outbox.append_many(5, 5).await;
    outbox.until_drained().await;
    let (code, _) = command(&outbox, &nats.url_as("relay"), &["verify", "--json"]).await;
    assert_eq!(code, 0);
    assert_eq!(
        command(&outbox, &nats.url_as("relay"), &["replay", "--key", "k1"])
            .await
            .0,
        0
    );
    for user in ["relay", "gateway", "observer"] {
        let client = nats.client_as(user).await;
        let mut context = jetstream::new(client);
        context.set_timeout(std::time::Duration::from_millis(500));
        let stream = context.get_stream_no_info("EVENTS").await.unwrap();
        assert!(stream.purge().await.is_err(), "{user} purged");
        assert!(
            stream.delete_message(70).await.is_err(),
            "{user} deleted a message"
        );
        assert!(
            context.delete_stream("EVENTS").await.is_err(),
            "{user} deleted the stream"
        );
    }
    let gateway = nats.client_as("gateway").await;
    gateway
        .publish("events.test.k1", "{}".into())
        .await
        .unwrap();
    gateway.publish("outbox.wake", "".into()).await.unwrap();
    gateway.flush().await.unwrap();
    until("the gateway's hint is heard", || async {
        relay.metric("outbox_wakeups_total{source=\"hint\"}").await >= 1.0
    })
    .await;
    let observer = jetstream::new(nats.client_as("observer").await);
    let stream = observer.get_stream("EVENTS").await.unwrap();
    let last = stream
        .get_last_raw_message_by_subject("events.test.k1")
        .await
        .unwrap();
    assert!(
        last.headers.get("ce-id").is_some(),
        "a gateway published an event"
    );
    relay.drain().await;
}
