//! Watches the stream: waits until it is there and fit, notices when it is *lost*, and says so to
//! the rest of the relay.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, watch};

use super::broker::Broker;
use super::error::BrokerError;
use super::fsync::FsyncCheck;
use super::repo;
use super::settings::{Unfit, check_server, check_stream, keeps_copies_alike, wanted};
use crate::config::StreamConfig;
use crate::error::Fatal;
use crate::identity::entity::{Identity, Sighting};
use crate::identity::repo::{declare_lost, load, note};
use crate::metrics::{FailureKind, Metrics};
use crate::pause::backoff;

/// Between two looks at a stream that is well.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The first pause after a look that failed.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest: a broker that is back is noticed within a second.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What is known of a stream that can be published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which outbox publishes to it.
    pub outbox: uuid::Uuid,
    /// How often it has been *lost*; only shards verified for it may publish.
    pub generation: i64,
    /// Bytes of a message at most.
    pub max_payload: usize,
    /// A fence below this position is renewed, because limits may evict it before long; 0 if the
    /// stream is far from its limits.
    pub renew_below: u64,
    /// Whether there is one replica of it: then the server keeps a batch in files until its end, and
    /// looks at each message by itself, also if others are on their way.
    pub single_replica: bool,
    /// How long it keeps an event, in ms.
    pub max_age_ms: u64,
}

/// Whether the stream can be published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not now, and why.
    Waiting(String),
    /// It can.
    Ready(Facts),
}

/// Looks at the stream and tells.
#[derive(Debug)]
pub struct Watcher {
    /// The broker.
    pub broker: Broker,
    /// The database.
    pub pool: PgPool,
    /// What a stream is like that the relay makes.
    pub config: StreamConfig,
    /// How long the database keeps what was published.
    pub retention: Duration,
    /// Whether the broker flushes before it acknowledges.
    pub fsync: FsyncCheck,
    /// The metrics.
    pub metrics: Metrics,
    /// Where it tells.
    pub status: watch::Sender<Status>,
    /// The version of a server that was warned of.
    pub warned_of: Option<String>,
    /// It looks at once when this is notified.
    pub look_now: Arc<Notify>,
    /// Where a reason to end is left.
    pub fatal: Fatal,
}

enum Trouble {
    Broker(BrokerError),
    Database(sqlx::Error),
    Unfit(Unfit),
}

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Unfit> for Trouble {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl Watcher {
    /// Watches until the drain begins.
    pub async fn run(mut self, life: Lifecycle) {
        let draining = life.draining();
        let mut failures = 0_u32;
        loop {
            self.broker.link.mark_unchanged();
            let pause = match self.look().await {
                Ok(facts) => {
                    failures = 0;
                    self.tell(Status::Ready(facts));
                    LOOK_EVERY
                }
                Err(Trouble::Unfit(unfit)) => {
                    self.tell(Status::Waiting(unfit.to_string()));
                    self.fatal.end(&life, unfit);
                    return;
                }
                Err(trouble) => {
                    let pause = backoff(failures, RETRY_MIN, RETRY_MAX, rand::random());
                    failures = failures.saturating_add(1);
                    self.tell(Status::Waiting(self.explain(&trouble)));
                    pause
                }
            };
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.look_now.notified() => {}
                _ = self.broker.link.changed() => self.on_link_change(),
            }
        }
    }

    /// A broken connection is told at once; a new one leads to a new look.
    fn on_link_change(&mut self) {
        if !self.broker.link.borrow_and_update().up {
            self.metrics.failed(FailureKind::BrokerAway);
            self.tell(Status::Waiting("the broker is not connected".to_owned()));
        }
    }

    async fn look(&mut self) -> Result<Facts, Trouble> {
        // What the database knows is read first: whatever it has recorded, the stream must have
        // reached by the time it is asked.
        let known = load(&self.pool).await?;
        self.check_server().await?;
        let info = self.find_or_make(&known).await?;
        check_stream(&info, known.outbox, self.retention)?;
        let seen = sighting(&info)?;
        let generation = self.compare(&known, &seen).await?;
        let server = self.broker.client.server_info();
        let single_replica = info.config.num_replicas == 1;
        if !single_replica && !keeps_copies_alike(&server.version) {
            self.warn_of(server.version);
        }
        Ok(Facts {
            outbox: known.outbox,
            generation,
            max_payload: max_payload(server.max_payload, &info),
            renew_below: renew_below(&info),
            single_replica,
            max_age_ms: u64::try_from(info.config.max_age.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Once for each version.
    fn warn_of(&mut self, version: String) {
        if self.warned_of.as_ref() != Some(&version) {
            tracing::warn!(
                "nats-server {version}: copies of a stream with several replicas can come to differ \
                 when a node is brought up under load; use 2.15 or later"
            );
            self.warned_of = Some(version);
        }
    }

    async fn check_server(&mut self) -> Result<(), Trouble> {
        let link = *self.broker.link.borrow();
        if !link.up {
            return Err(BrokerError::Away("not connected".to_owned()).into());
        }
        check_server(&self.broker.client.server_info().version)?;
        Ok(self.fsync.look(link.changes).await?)
    }

    async fn find_or_make(&self, known: &Identity) -> Result<Info, Trouble> {
        match repo::info(&self.broker).await {
            Err(BrokerError::NoStream) => {}
            found => return Ok(found?),
        }
        if known.stream_created.is_some() {
            tracing::error!(
                "the stream is gone; making it anew, and nothing is published before it is verified"
            );
        } else {
            tracing::info!("making the stream");
        }
        repo::create(&self.broker, wanted(&self.config, known.outbox)).await?;
        Ok(repo::info(&self.broker).await?)
    }

    /// Compares what is seen with what was known; gives the stream's generation.
    async fn compare(&self, known: &Identity, seen: &Sighting) -> Result<i64, Trouble> {
        if !known.is_lost(seen) {
            note(&self.pool, known, seen).await?;
            return Ok(known.generation);
        }
        if declare_lost(&self.pool, known.generation, seen).await? {
            self.metrics.failed(FailureKind::StreamLost);
            tracing::error!(
                stream.created = seen.created,
                stream.created.known = known.stream_created,
                stream.last_seq = seen.last_seq,
                stream.last_seq.known = known.stream_last_seq,
                "the stream is lost: it is not the one that was published to, or went back; \
                 nothing is published before it is verified"
            );
        }
        Ok(load(&self.pool).await?.generation)
    }

    fn explain(&self, trouble: &Trouble) -> String {
        match trouble {
            Trouble::Broker(error) => error.to_string(),
            Trouble::Database(error) => {
                self.metrics.failed(FailureKind::DatabaseAway);
                crate::error::database_sentence(error)
            }
            Trouble::Unfit(unfit) => unfit.to_string(),
        }
    }

    /// Tells, and logs a change once.
    fn tell(&self, status: Status) {
        let changed = self.status.send_if_modified(|now| {
            let changed = *now != status;
            now.clone_from(&status);
            changed
        });
        if !changed {
            return;
        }
        match status {
            Status::Waiting(why) => tracing::warn!("not publishing: {why}"),
            Status::Ready(facts) => tracing::debug!(
                stream.generation = facts.generation,
                "the stream can be published to"
            ),
        }
    }
}

fn sighting(info: &Info) -> Result<Sighting, BrokerError> {
    let created = info
        .created
        .format(&Rfc3339)
        .map_err(|error| BrokerError::Malformed(error.to_string()))?;
    Ok(Sighting {
        created,
        last_seq: i64::try_from(info.state.last_sequence).unwrap_or(i64::MAX),
    })
}

/// Why a loss could not be noted.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The stream could not be looked at.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database could not be written to.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

/// Raises the stream's generation above `generation`, if nobody has yet; gives whether this call
/// did it.
///
/// # Errors
/// The stream or the database does not answer.
pub async fn declare(
    broker: &Broker,
    pool: &PgPool,
    generation: i64,
) -> Result<bool, DeclareError> {
    let seen = sighting(&repo::info(broker).await?)?;
    Ok(declare_lost(pool, generation, &seen).await?)
}

fn max_payload(server: usize, info: &Info) -> usize {
    match usize::try_from(info.config.max_message_size) {
        Ok(limit) if limit > 0 => server.min(limit),
        _ => server,
    }
}

/// Only a stream that is more than half full can evict a fence soon; there, the older half. The
/// limit may count bytes and this counts messages: half leaves room for the newer ones to be larger.
fn renew_below(info: &Info) -> u64 {
    let (config, state) = (&info.config, &info.state);
    let half_full = |used: u64, limit: i64| {
        u64::try_from(limit).is_ok_and(|limit| limit > 0 && used > limit / 2)
    };
    if !half_full(state.bytes, config.max_bytes) && !half_full(state.messages, config.max_messages)
    {
        return 0;
    }
    state.first_sequence + (state.last_sequence - state.first_sequence) / 2
}
