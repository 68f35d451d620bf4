//! What the server and the stream must be like for the protocol to hold. Pure.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, Info, RetentionPolicy, StorageType};
use shared::subjects::{STREAM, STREAM_SUBJECTS};
use uuid::Uuid;

use crate::config::StreamConfig;

/// Atomic batches came with this version.
const SERVER_VERSION_MIN: (u64, u64) = (2, 12);

/// From this version on, what a relay sends to a stream with several replicas does not make their
/// copies differ (ADR 125).
const REPLICAS_VERSION_MIN: (u64, u64) = (2, 15);

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
    /// The server acknowledges what a power cut then takes away.
    #[error(
        "nats-server {server} acknowledges what it has not flushed, and flushes every {every:?}: a power \
         cut takes away events that were published; put the line `sync_interval: always` into the \
         block jetstream of its nats.conf and restart it, or set OUTBOX_ALLOW_LAZY_FSYNC=true to go \
         on as it is"
    )]
    LazyFsync {
        /// The server's name and monitoring address.
        server: String,
        /// Between two flushes.
        every: Duration,
    },
    /// A setting of the stream.
    #[error(
        "the stream {STREAM} has {setting} {found}, and must have {wanted}; change it with `{fix}` or let the relay make the stream"
    )]
    Setting {
        /// Its name in the server's configuration.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
        /// The command that changes it.
        fix: String,
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
    if is_at_least(version, SERVER_VERSION_MIN) {
        return Ok(());
    }
    Err(Unfit::OldServer(version.to_owned()))
}

/// Whether the copies of a stream with several replicas are safe from what this relay sends, while a
/// node is brought up under load (ADR 125).
#[must_use]
pub fn keeps_copies_alike(version: &str) -> bool {
    is_at_least(version, REPLICAS_VERSION_MIN)
}

fn is_at_least(version: &str, least: (u64, u64)) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= least,
        _ => false,
    }
}

/// Whether the stream's settings let the protocol hold, and whether it is this outbox's.
///
/// # Errors
/// The first that is wrong.
pub fn check_stream(info: &Info, outbox: Uuid, retention: Duration) -> Result<(), Unfit> {
    let config = &info.config;
    if let Some(found) = config.metadata.get(OUTBOX_METADATA)
        && let Ok(found) = found.parse::<Uuid>()
        && found != outbox
    {
        return Err(Unfit::Foreign { found, own: outbox });
    }
    for (setting, found, wanted, fix) in [
        (
            "allow_atomic",
            config.allow_atomic_publish,
            true,
            "--allow-batch",
        ),
        (
            "allow_rollup_hdrs",
            config.allow_rollup,
            true,
            "--allow-rollup",
        ),
        (
            "allow_msg_ttl",
            config.allow_message_ttl,
            true,
            "--allow-msg-ttl",
        ),
        ("deny_purge", config.deny_purge, false, "--no-deny-purge"),
        // Without acknowledgements the relay learns nothing.
        ("no_ack", config.no_ack, false, "--ack"),
    ] {
        must(setting, found, wanted, &edit(fix))?;
    }
    if config.subjects != [STREAM_SUBJECTS] {
        let fix = format!("--subjects '{STREAM_SUBJECTS}'");
        let found = config.subjects.join(", ");
        return Err(setting("subjects", &found, STREAM_SUBJECTS, &edit(&fix)));
    }
    check_keeping(config, retention)
}

/// Whether the stream keeps what it is given, as long as the database can say what it lacks.
fn check_keeping(config: &Config, retention: Duration) -> Result<(), Unfit> {
    // What cannot be changed any more is made anew: the relay fills the stream again.
    let anew = format!("nats stream rm {STREAM}");
    must("sealed", config.sealed, false, &anew)?;
    if config.storage != StorageType::File {
        return Err(setting("storage", "memory", "file", &anew));
    }
    if config.retention != RetentionPolicy::Limits {
        let found = format!("{:?}", config.retention).to_lowercase();
        return Err(setting("retention", &found, "limits", &anew));
    }
    if config.max_messages_per_subject > 0 {
        let found = config.max_messages_per_subject.to_string();
        let fix = edit("--max-msgs-per-subject=-1");
        return Err(setting("max_msgs_per_subject", &found, "-1", &fix));
    }
    if config.max_age.is_zero() || config.max_age > retention {
        let hours = retention.as_secs() / 3600;
        let found = match config.max_age.as_secs() {
            0 => "unlimited".to_owned(),
            seconds => format!("{}h", seconds.div_ceil(3600)),
        };
        let wanted = format!("at most {hours}h, OUTBOX_RETENTION_HOURS");
        let fix = edit(&format!("--max-age={hours}h"));
        return Err(setting("max_age", &found, &wanted, &fix));
    }
    Ok(())
}

fn edit(option: &str) -> String {
    format!("nats stream edit {STREAM} {option}")
}

fn must(name: &'static str, found: bool, wanted: bool, fix: &str) -> Result<(), Unfit> {
    if found == wanted {
        return Ok(());
    }
    Err(setting(name, &found.to_string(), &wanted.to_string(), fix))
}

fn setting(setting: &'static str, found: &str, wanted: &str, fix: &str) -> Unfit {
    Unfit::Setting {
        setting,
        found: found.to_owned(),
        wanted: wanted.to_owned(),
        fix: fix.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_and_new_ones_are_not() {
        assert!(check_server("2.12.0").is_ok());
        assert!(!keeps_copies_alike("2.14.10") && keeps_copies_alike("2.15.0"));
        assert!(check_server("2.15.1").is_ok());
        assert!(check_server("2.12.0-RC.1").is_ok());
        assert!(check_server("3.0.0").is_ok());
        assert!(check_server("2.9.10").is_err());
        assert!(check_server("2.11.9").is_err());
        assert!(check_server("").is_err());
    }
}
