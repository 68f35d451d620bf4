//! Why the relay ends, and how an error is told.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use shared::lifecycle::{Lifecycle, WorkerFailed};

use crate::stream::error::BrokerError;
use crate::stream::settings::Unfit;

/// Why the relay ended without having been told to.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The server or the stream is not fit to be published to.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A part of the relay failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailed),
    /// The database's address cannot be used.
    #[error("DATABASE_URL cannot be used")]
    Database(#[source] sqlx::Error),
    /// The broker's address cannot be used.
    #[error("NATS_URL cannot be used")]
    Broker(#[source] BrokerError),
    /// There can be no HTTP client.
    #[error("the broker's monitoring cannot be asked")]
    Monitor(#[from] reqwest::Error),
    /// The metrics could not be registered.
    #[error("the metrics could not be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Where a part of the relay leaves the reason for which the process must end.
#[derive(Clone, Debug, Default)]
pub struct Fatal(Arc<Mutex<Option<Unfit>>>);

impl Fatal {
    /// Ends the process with this reason; the first one counts.
    pub fn end(&self, life: &Lifecycle, reason: Unfit) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        life.drain();
    }

    /// The reason, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Unfit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An error with all its causes.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What an operator is told about a database error.
#[must_use]
pub fn database_sentence(error: &sqlx::Error) -> String {
    /// SQLSTATE `undefined_table`, `undefined_column`, `undefined_function`.
    const NOT_MIGRATED: [&str; 3] = ["42P01", "42703", "42883"];
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| NOT_MIGRATED.contains(&code.as_ref())) {
        return format!(
            "the database has no outbox of this version yet, run the migrations ({error})"
        );
    }
    format!("the database does not answer: {}", chain(error))
}
