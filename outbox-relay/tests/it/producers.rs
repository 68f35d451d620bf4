//! The producer's contract: what `outbox_append` refuses, in the producer's own transaction, and the
//! examples of docs/outbox.md.

use std::process::Stdio;

use shared::outbox::{NewEvent, append_in_tx};
use shared::telemetry::Carrier;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{NatsServer, Outbox, Relay, Stream};

const PAGE: &str = include_str!("../../../docs/outbox.md");
const THIS_FILE: &str = include_str!("producers.rs");

/// Calls the function with SQL text for each argument; gives what the database says.
async fn append(connection: &mut PgConnection, arguments: &str) -> Result<(), sqlx::Error> {
    let call = format!("select outbox_append({arguments})");
    let call = sqlx::query(sqlx::AssertSqlSafe(call));
    call.execute(connection).await.map(|_| ())
}

#[sqlx::test(migrations = "../migrations")]
async fn what_could_never_be_published_is_refused_with_a_sentence(pool: PgPool) {
    const KEY: &str = "outbox_append: key must be 1 to 200 bytes long";
    const TYPE: &str = "outbox_append: type must be 1 to 200 letters, digits, dots, _ or -";
    const PAYLOAD: &str = "outbox_append: payload must be JSON of at most 262144 bytes";
    const CARRIER: &str = "outbox_append: carrier must be an object with the strings traceparent \
        and tracestate alone, at most 4096 bytes";
    let subject = |said: &str| {
        format!(
            "outbox_append: subject {said} is not of the form events.<kind>.<id>, at most 200 bytes, \
             and not events.fence.*"
        )
    };
    let long = format!("events.a.{}", "x".repeat(200));
    let said_long = subject(&format!("'{}'", &long[..80]));
    let with_subject = |text: &str| format!("'k', {text}, 't.v1', '{{}}'");
    let with_carrier = |text: &str| format!("'k', 'events.a.b', 't.v1', '{{}}', {text}");
    let mut connection = pool.acquire().await.unwrap();
    for (arguments, sentence) in [
        (
            "null, 'events.a.b', 't.v1', '{}'".to_owned(),
            KEY.to_owned(),
        ),
        ("'', 'events.a.b', 't.v1', '{}'".to_owned(), KEY.to_owned()),
        (
            "repeat('ä', 101), 'events.a.b', 't.v1', '{}'".to_owned(),
            KEY.to_owned(),
        ),
        (with_subject("null"), subject("null")),
        (with_subject("'events.a'"), subject("'events.a'")),
        (with_subject("'other.a.b'"), subject("'other.a.b'")),
        (with_subject("'events.a.*'"), subject("'events.a.*'")),
        (with_subject("'events.a..b'"), subject("'events.a..b'")),
        (with_subject("'events.a.b c'"), subject("'events.a.b c'")),
        (
            with_subject("'events.fence.7'"),
            subject("'events.fence.7'"),
        ),
        (
            with_subject("'events.it''s.b'"),
            subject("'events.it''s.b'"),
        ),
        (with_subject(&format!("'{long}'")), said_long),
        ("'k', 'events.a.b', null, '{}'".to_owned(), TYPE.to_owned()),
        ("'k', 'events.a.b', 'a b', '{}'".to_owned(), TYPE.to_owned()),
        (
            "'k', 'events.a.b', repeat('t', 201), '{}'".to_owned(),
            TYPE.to_owned(),
        ),
        (
            "'k', 'events.a.b', 't.v1', null".to_owned(),
            PAYLOAD.to_owned(),
        ),
        (
            "'k', 'events.a.b', 't.v1', to_jsonb(repeat('x', 262143))".to_owned(),
            PAYLOAD.to_owned(),
        ),
        (with_carrier("'[]'"), CARRIER.to_owned()),
        (with_carrier("'{\"baggage\": \"x\"}'"), CARRIER.to_owned()),
        (with_carrier("'{\"traceparent\": 1}'"), CARRIER.to_owned()),
        (
            with_carrier("jsonb_build_object('tracestate', repeat('x', 4096))"),
            CARRIER.to_owned(),
        ),
    ] {
        let refused = append(&mut connection, &arguments).await.unwrap_err();
        let refused = refused.as_database_error().unwrap();
        assert_eq!(refused.message(), sentence, "{arguments}");
        assert_eq!(refused.code().as_deref(), Some("22023"), "{arguments}");
    }
    // The limits themselves are allowed.
    for arguments in [
        "repeat('k', 200), 'events.a.b', repeat('t', 200), to_jsonb(repeat('x', 262142))",
        "'k', 'events.a-b_C.1.2', 't.v1', '[]', '{\"traceparent\": \"x\", \"tracestate\": \"y\"}'",
        "'k', 'events.a.b', 't.v1', 'null', null",
    ] {
        append(&mut connection, arguments).await.unwrap();
    }
    assert_eq!(Outbox::new(&pool).pending().await, 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_refusal_ends_the_producers_transaction_and_nothing_of_it_stays(pool: PgPool) {
    let outbox = Outbox::new(&pool);
    outbox
        .execute("create table invoices (id text, paid bool)")
        .await;
    let mut transaction = pool.begin().await.unwrap();
    let insert = "insert into invoices values ('4711', true)";
    sqlx::query(insert)
        .execute(&mut *transaction)
        .await
        .unwrap();
    append(&mut transaction, "'k', 'events.a', 't.v1', '{}'")
        .await
        .unwrap_err();
    let aborted = sqlx::query(insert)
        .execute(&mut *transaction)
        .await
        .unwrap_err();
    // in_failed_sql_transaction
    assert_eq!(
        aborted.as_database_error().unwrap().code().as_deref(),
        Some("25P02")
    );
    transaction.commit().await.unwrap();
    assert_eq!(outbox.number("select count(*) from invoices").await, 0);

    // Whoever wants to go on says so before, with a savepoint.
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query(insert)
        .execute(&mut *transaction)
        .await
        .unwrap();
    let mut savepoint = transaction.begin().await.unwrap();
    append(&mut savepoint, "'k', 'events.a', 't.v1', '{}'")
        .await
        .unwrap_err();
    savepoint.rollback().await.unwrap();
    append(&mut transaction, "'k', 'events.a.b', 't.v1', '{}'")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(outbox.number("select count(*) from invoices").await, 1);
    assert_eq!(outbox.pending().await, 1);
}

/// The block of code behind a line of the page.
fn example(heading: &str) -> String {
    let after = PAGE.split(heading).nth(1).unwrap();
    let block = after.split("```").nth(1).unwrap();
    block.split_once('\n').unwrap().1.to_owned()
}

/// Runs a program with text for its input; `None`, with a word, if the machine has not what it needs.
async fn run(
    outbox: &Outbox,
    program: &str,
    probe: &[&str],
    args: &[&str],
    text: &str,
) -> Option<()> {
    let probed = Command::new(program).args(probe).output().await;
    if !probed.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: `{program} {}` does not work here",
            probe.join(" ")
        );
        return None;
    }
    let mut child = Command::new(program)
        .args(args)
        .env("DATABASE_URL", plain(&outbox.url()))
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    assert!(child.wait().await.unwrap().success(), "{program}: {text}");
    Some(())
}

/// The URL without what sqlx alone understands.
fn plain(url: &str) -> String {
    url.split('?').next().unwrap().to_owned()
}

/// Each example pays an invoice and says so. Where it could be run, the event is in the stream.
async fn pays(pool: PgPool, producer: impl AsyncFnOnce(&Outbox) -> Option<()>) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    outbox
        .execute("create table invoices (id text, paid bool)")
        .await;
    outbox
        .execute("insert into invoices values ('4711', false)")
        .await;
    if producer(&outbox).await.is_none() {
        return;
    }
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.until_published(1).await;
    assert_eq!(
        outbox
            .number("select count(*) from invoices where paid")
            .await,
        1
    );
    let events = Stream::of(&nats).await.events().await;
    let header = |name: &str| events[0].headers.get(name).unwrap().as_str();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (header("ce-type"), header("ce-subject")),
        ("shop.invoice.paid.v1", "invoice.4711")
    );
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_example_for_psql_works(pool: PgPool) {
    pays(pool, async |outbox| {
        let url = plain(&outbox.url());
        let args = ["-v", "ON_ERROR_STOP=1", "-q", "-o", "/dev/null", &url];
        run(
            outbox,
            "psql",
            &["--version"],
            &args,
            &example("From psql:"),
        )
        .await
    })
    .await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_example_for_python_works(pool: PgPool) {
    pays(pool, async |outbox| {
        let probe = ["-c", "import psycopg"];
        run(outbox, "python3", &probe, &["-"], &example("From Python,")).await
    })
    .await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_example_for_rust_works(pool: PgPool) {
    // It is the one of the page.
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    assert!(squeezed(THIS_FILE).contains(&squeezed(&example("From Rust,"))));
    pays(pool, async |outbox| {
        pay(&outbox.pool).await.unwrap();
        Some(())
    })
    .await;
}

async fn pay(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("update invoices set paid = true where id = '4711'")
        .execute(&mut *transaction)
        .await?;
    let event = NewEvent {
        key: "invoice.4711".into(),
        subject: "events.invoice.4711".into(),
        event_type: "shop.invoice.paid.v1".into(),
        payload: serde_json::json!({ "invoice": "4711", "seq": 3 }),
        carrier: Carrier::default(),
    };
    append_in_tx(&mut transaction, &event).await?;
    transaction.commit().await?;
    Ok(())
}
