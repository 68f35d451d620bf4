//! What the server and the stream must be like for the protocol to hold. Pure.

use async_nats::jetstream::stream::{Config, Info};
use shared::subjects::{STREAM, STREAM_SUBJECTS};
use uuid::Uuid;

use crate::config::StreamConfig;

/// Atomic batches came with this version.
const SERVER_VERSION_MIN: (u64, u64) = (2, 12);

/// The member of the stream's metadata that names the outbox it belongs to.
pub const OUTBOX_METADATA: &str = "fogline.outbox";

/// Why the relay refuses to work with a server or a stream. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The server has no atomic batches.
    #[error(
        "nats-server {0} is too old: atomic batches need 2.12 or later; upgrade the server and start again"
    )]
    OldServer(String),
    /// A setting of the stream.
    #[error(
        "the stream {STREAM} has {setting} {found}, and must have {wanted}; change it with {fix:?} or let the relay make the stream"
    )]
    Setting {
        /// Its name in the server's configuration.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: &'static str,
        /// The command that changes it.
        fix: &'static str,
    },
    /// The stream belongs to another outbox.
    #[error(
        "the stream {STREAM} holds the events of the outbox {found}, and this database's outbox is {own}: \
         a restored or new database must not publish into the stream of another. Either point NATS_URL \
         at this outbox's own stream, or restore the database that the stream belongs to, or, to begin \
         anew and give the old events up, delete the stream"
    )]
    Foreign {
        /// The outbox that the stream, or a fence in it, names.
        found: Uuid,
        /// The outbox of `DATABASE_URL`.
        own: Uuid,
    },
}

/// The configuration of a stream that the relay makes.
#[must_use]
pub fn wanted(config: &StreamConfig, outbox: Uuid) -> Config {
    Config {
        name: STREAM.to_owned(),
        description: Some("Events of one Fogline outbox, in order, each once".to_owned()),
        subjects: vec![STREAM_SUBJECTS.to_owned()],
        num_replicas: config.replicas,
        max_age: config.max_age,
        max_bytes: config.max_bytes,
        allow_atomic_publish: true,
        allow_rollup: true,
        allow_message_ttl: true,
        allow_direct: true,
        deny_delete: true,
        deny_purge: false,
        metadata: [(OUTBOX_METADATA.to_owned(), outbox.to_string())].into(),
        ..Config::default()
    }
}

/// Whether the server is new enough.
///
/// # Errors
/// It is not.
pub fn check_server(version: &str) -> Result<(), Unfit> {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= SERVER_VERSION_MIN => Ok(()),
        _ => Err(Unfit::OldServer(version.to_owned())),
    }
}

/// Whether the stream's settings let the protocol hold, and whether it is this outbox's.
///
/// # Errors
/// The first that is wrong.
pub fn check_stream(info: &Info, outbox: Uuid) -> Result<(), Unfit> {
    let config = &info.config;
    if let Some(found) = config.metadata.get(OUTBOX_METADATA)
        && let Ok(found) = found.parse::<Uuid>()
        && found != outbox
    {
        return Err(Unfit::Foreign { found, own: outbox });
    }
    let flag = |setting, found: bool, wanted: bool, fix| {
        if found == wanted {
            return Ok(());
        }
        Err(Unfit::Setting {
            setting,
            found: found.to_string(),
            wanted: if wanted { "true" } else { "false" },
            fix,
        })
    };
    flag(
        "allow_atomic",
        config.allow_atomic_publish,
        true,
        "nats stream edit EVENTS --allow-batch",
    )?;
    flag(
        "allow_rollup_hdrs",
        config.allow_rollup,
        true,
        "nats stream edit EVENTS --allow-rollup",
    )?;
    flag(
        "allow_msg_ttl",
        config.allow_message_ttl,
        true,
        "nats stream edit EVENTS --allow-msg-ttl",
    )?;
    flag(
        "deny_purge",
        config.deny_purge,
        false,
        "nats stream edit EVENTS --no-deny-purge",
    )?;
    flag("sealed", config.sealed, false, "nats stream rm EVENTS")?;
    if config.subjects != [STREAM_SUBJECTS] {
        return Err(Unfit::Setting {
            setting: "subjects",
            found: config.subjects.join(", "),
            wanted: STREAM_SUBJECTS,
            fix: "nats stream edit EVENTS --subjects 'events.>'",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_and_new_ones_are_not() {
        assert!(check_server("2.12.0").is_ok());
        assert!(check_server("2.15.1").is_ok());
        assert!(check_server("2.12.0-RC.1").is_ok());
        assert!(check_server("3.0.0").is_ok());
        assert!(check_server("2.9.10").is_err());
        assert!(check_server("2.11.9").is_err());
        assert!(check_server("").is_err());
    }
}
