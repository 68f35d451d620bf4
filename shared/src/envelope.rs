//! The event envelope: `CloudEvents` 1.0, NATS protocol binding in binary mode (attributes in
//! headers, data in the payload), plus W3C Trace Context headers.

/// `CloudEvents` version header.
pub const SPEC_VERSION: &str = "ce-specversion";
/// The event's id: consumers de-duplicate on it.
pub const ID: &str = "ce-id";
/// What happened, such as `fogline.game.moved.v1`.
pub const TYPE: &str = "ce-type";
/// Who produced it: an outbox, named `urn:uuid:<outbox identity>`.
pub const SOURCE: &str = "ce-source";
/// The aggregate: the outbox key.
pub const SUBJECT: &str = "ce-subject";
/// When the row was appended, RFC 3339, the database's clock.
pub const TIME: &str = "ce-time";
/// Media type of the payload.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C Trace Context, level 1.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context, vendor part.
pub const TRACESTATE: &str = "tracestate";

/// The value of [`SPEC_VERSION`].
pub const SPEC_VERSION_VALUE: &str = "1.0";
/// The value of [`CONTENT_TYPE`].
pub const JSON: &str = "application/json";
