//! The private servers: who may do what on them, and that nothing stays behind.

use std::time::Duration;

use async_nats::jetstream;
use e2e::environment;
use e2e::provision::PostgresBinaries;
use e2e::supervisor::{Durability, Ports, Postgres, connect_nats};
use futures_util::StreamExt;
use sqlx::{ConnectOptions, PgConnection};

use crate::harness::{nats, run_dir};

async fn connect(url: &str) -> PgConnection {
    url.parse::<sqlx::postgres::PgConnectOptions>()
        .expect("a URL")
        .connect()
        .await
        .expect("connected")
}

#[tokio::test]
async fn the_reader_of_postgres_reads_and_cannot_write() {
    let run_dir = run_dir();
    let path = run_dir.path().to_path_buf();
    let binaries =
        PostgresBinaries::provision(&environment::target_dir().join("tools")).expect("Postgres");
    let port = Ports::free(0, 0).expect("ports").postgres;
    let postgres = Postgres::start(&binaries, &run_dir, port, Durability::Kill)
        .await
        .expect("started");
    let mut owner = connect(&postgres.addresses.owner_url).await;
    sqlx::query("create table seen (x int)")
        .execute(&mut owner)
        .await
        .expect("created");
    let reader_url = postgres.addresses.reader_url.clone().expect("a reader");
    let mut reader = connect(&reader_url).await;
    sqlx::query("select x from seen")
        .fetch_all(&mut reader)
        .await
        .expect("read");
    sqlx::query("insert into seen values (1)")
        .execute(&mut reader)
        .await
        .expect_err("read only");
    sqlx::query("set default_transaction_read_only = off")
        .execute(&mut reader)
        .await
        .expect("set");
    for write in [
        "insert into seen values (1)",
        "drop table seen",
        "create table other (x int)",
    ] {
        sqlx::query(write)
            .execute(&mut reader)
            .await
            .expect_err(write);
    }
    let pid = postgres.child.pid().expect("running");
    postgres.child.end().await;
    drop(postgres);
    drop(run_dir);
    assert!(!path.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn jetstream_works_for_the_relay_and_nobody_can_empty_the_stream() {
    let (_run_dir, nats) = nats().await;
    let relay = connect_nats(&nats.addresses.relay_url)
        .await
        .expect("relay");
    let gateway = connect_nats(&nats.addresses.gateway_url)
        .await
        .expect("gateway");
    let mut hints = relay.subscribe("outbox.wake").await.expect("subscribed");
    let mut frames = gateway
        .subscribe("events.game.g1")
        .await
        .expect("subscribed");
    relay.flush().await.expect("flushed");
    gateway.flush().await.expect("flushed");

    let context = jetstream::new(relay.clone());
    let stream = context
        .create_stream(jetstream::stream::Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["events.>".to_owned()],
            allow_atomic_publish: true,
            ..Default::default()
        })
        .await
        .expect("created");
    context
        .publish("events.game.g1", "one".into())
        .await
        .expect("sent")
        .await
        .expect("stored");
    assert_eq!(frames.next().await.expect("delivered").payload, "one");

    gateway
        .publish("outbox.wake", "".into())
        .await
        .expect("sent");
    hints.next().await.expect("a hint");

    // A refused request has no answer: the server tells the connection, and nobody replies.
    let mut hasty = jetstream::new(relay.clone());
    hasty.set_timeout(Duration::from_millis(500));
    hasty
        .get_stream("EVENTS")
        .await
        .expect("found")
        .purge()
        .await
        .expect_err("a purge is refused");
    hasty
        .delete_stream("EVENTS")
        .await
        .map(|_| ())
        .expect_err("a deletion is refused");
    gateway
        .publish("events.game.g1", "forged".into())
        .await
        .expect("sent");
    gateway.flush().await.expect("flushed");
    let reader = connect_nats(nats.addresses.reader_url.as_ref().expect("a reader"))
        .await
        .expect("reader");
    reader
        .publish("events.game.g1", "forged".into())
        .await
        .expect("sent");
    reader.flush().await.expect("flushed");
    let messages = stream.get_info().await.expect("info").state.messages;
    assert_eq!(messages, 1, "only the relay may publish events");
}
