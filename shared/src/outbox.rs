//! The producer's side of the outbox, for Rust: one call in the producer's own transaction.
//!
//! `docs/outbox.md` has the contract for every language. The relay alone reads and deletes.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::EventId;
use crate::telemetry::Carrier;

/// An event to be published once its transaction commits.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The aggregate: events of one key are published in the order of their commits.
    pub key: String,
    /// Where to publish: `events.<kind>.<id>`, at most 200 bytes.
    pub subject: String,
    /// `CloudEvents` type, such as `fogline.player.registered.v1`.
    pub event_type: String,
    /// The data, at most 256 KiB as text.
    pub payload: Value,
    /// The trace that the event continues.
    pub carrier: Carrier,
}

/// Appends an event in the caller's transaction and gives its id.
///
/// # Errors
/// Whatever the database answers; a malformed subject or key has SQLSTATE 22023 and a sentence.
pub async fn append_in_tx(
    connection: &mut PgConnection,
    event: &NewEvent,
) -> Result<EventId, sqlx::Error> {
    let id = sqlx::query_scalar!(
        r#"select outbox_append($1, $2, $3, $4, $5) as "event_id!""#,
        event.key,
        event.subject,
        event.event_type,
        event.payload,
        sqlx::types::Json(&event.carrier) as _,
    )
    .fetch_one(connection)
    .await?;
    Ok(EventId(id))
}
