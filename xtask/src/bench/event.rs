//! The events that benchmarks append and publish: all alike, spread over many keys.

use async_nats::HeaderMap;
use bytes::Bytes;
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

/// Games at once. Enough that every shard has work, and that a key's order is a thing to keep.
pub(crate) const KEYS: u64 = 5_000;

/// Bytes of filling in an event's payload, beside its number.
pub(crate) const FILLING_BYTES: usize = 180;

/// Its type.
pub(crate) const TYPE: &str = "bench.happened.v1";

/// The key of the nth event.
fn key(nth: u64) -> String {
    format!("bench.{}", nth % KEYS)
}

/// The subject of the nth event.
fn subject(nth: u64) -> String {
    format!("events.bench.{}", nth % KEYS)
}

/// The payload of the nth event, about 200 bytes of JSON.
fn payload(nth: u64) -> String {
    format!(
        r#"{{"n": {nth}, "filling": "{}"}}"#,
        "x".repeat(FILLING_BYTES)
    )
}

/// The nth event as the message that the relay makes of it.
pub(crate) fn message(nth: u64, id: Uuid) -> (String, HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id.to_string());
    headers.insert("ce-type", TYPE);
    headers.insert("ce-source", format!("urn:uuid:{}", Uuid::nil()));
    headers.insert("ce-subject", key(nth));
    headers.insert("ce-time", "2026-01-01T00:00:00.123456Z");
    headers.insert("content-type", "application/json");
    (subject(nth), headers, Bytes::from(payload(nth)))
}

/// Appends the nth event as a producer does: `outbox_append`, in a transaction of its own. What a
/// statement by itself does is one; a notification inside it makes it a block.
///
/// # Errors
/// The database refuses.
pub(crate) async fn append(
    connection: &mut PgConnection,
    nth: u64,
    notify: bool,
) -> sqlx::Result<()> {
    if !notify {
        return append_alone(connection, nth).await;
    }
    let mut transaction = connection.begin().await?;
    append_alone(&mut transaction, nth).await?;
    sqlx::query("notify outbox_wake")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn append_alone(connection: &mut PgConnection, nth: u64) -> sqlx::Result<()> {
    sqlx::query("select outbox_append($1, $2, $3, $4::jsonb)")
        .bind(key(nth))
        .bind(subject(nth))
        .bind(TYPE)
        .bind(payload(nth))
        .execute(connection)
        .await
        .map(|_| ())
}

/// Appends `count` events in one transaction: the outbox has all of them at one moment.
pub(crate) async fn append_backlog(pool: &PgPool, count: u64) -> sqlx::Result<()> {
    append_from(pool, 0, count).await
}

/// Appends `count` events from the nth on in one transaction.
pub(crate) async fn append_from(pool: &PgPool, nth: u64, count: u64) -> sqlx::Result<()> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    sqlx::query(
        "insert into outbox_events (shard, key, subject, type, payload)
         select fogline_shard('bench.' || n % $3), 'bench.' || n % $3, 'events.bench.' || n % $3, $4,
                json_build_object('n', n, 'filling', repeat('x', $5))
         from generate_series($1::bigint, $1 + $2::bigint - 1) n order by n",
    )
    .bind(number(nth))
    .bind(number(count))
    .bind(number(KEYS))
    .bind(TYPE)
    .bind(i32::try_from(FILLING_BYTES).unwrap_or(i32::MAX))
    .execute(pool)
    .await
    .map(|_| ())
}
