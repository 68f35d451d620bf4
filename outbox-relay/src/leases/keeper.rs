//! Keeps the leases: heartbeat, renewal, and the even spread over all living relays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::lifecycle::Lifecycle;
use shared::shard::Shard;
use sqlx::PgPool;
use tokio::sync::{Notify, mpsc, watch};

use super::holdings::Holdings;
use super::repo::{Held, Lease, beat, leave, release, renew, take};
use super::spread::{Balance, balance, fair_share};
use crate::error::database_sentence;
use crate::metrics::{FailureKind, Metrics};
use crate::stream::broker::Broker;
use crate::stream::watcher::Status;

/// Core-NATS hint that leases are free or a relay has joined. Best effort: it shortens a wait.
pub const LEASES_HINT: &str = "outbox.leases";

/// A lease is renewed this many times before it would lapse.
const RENEWALS_A_LEASE: u32 = 3;
/// Between two looks at who lives: a join is noticed within this time, also without a hint.
const LOOK_EVERY_MAX: Duration = Duration::from_millis(250);
/// A relay that cannot reach the broker for this long leaves its shards to others.
const BROKER_AWAY_MAX: Duration = Duration::from_secs(3);
/// Waiting for a hint to be sent, at the end.
const LAST_HINT_MAX: Duration = Duration::from_millis(200);

/// What the keeper tells the dispatcher.
#[derive(Debug)]
pub enum Order {
    /// These were taken: publish them.
    Taken(Vec<Lease>),
    /// These are another's by now: drop them.
    Gone(Vec<Shard>),
    /// Keep this many at most: finish what is in flight for the others and give them back.
    Keep(usize),
}

/// Keeps the leases.
#[derive(Debug)]
pub struct Keeper {
    /// The database.
    pub pool: PgPool,
    /// For hints.
    pub broker: Broker,
    /// This instance's name.
    pub owner: Arc<str>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// What is held.
    pub holdings: Holdings,
    /// The metrics.
    pub metrics: Metrics,
    /// To the dispatcher.
    pub orders: mpsc::Sender<Order>,
    /// From the dispatcher: shards it has let go of.
    pub given_back: mpsc::Receiver<Vec<Held>>,
    /// Whether the stream can be published to.
    pub status: watch::Receiver<Status>,
    /// A hint that leases have moved.
    pub moved: Arc<Notify>,
    /// What is told about the database: `None` if it answers.
    pub database: watch::Sender<Option<String>>,
}

/// What the keeper remembers from one look to the next.
struct Memory {
    renewed_at: Instant,
    broker_seen_at: Option<Instant>,
    joined: bool,
}

impl Keeper {
    /// Keeps the leases until the drain is over: the dispatcher has given everything back.
    pub async fn run(mut self, life: Lifecycle) {
        let mut memory = Memory {
            renewed_at: Instant::now(),
            broker_seen_at: None,
            joined: false,
        };
        let draining = life.draining();
        let look_every = (self.lease / 6).min(LOOK_EVERY_MAX);
        loop {
            let outcome = self.look(&mut memory, draining.is_cancelled()).await;
            self.tell(outcome, &memory).await;
            tokio::select! {
                back = self.given_back.recv() => match back {
                    Some(back) => self.hand_over(back).await,
                    None => break,
                },
                () = tokio::time::sleep(look_every) => {}
                () = self.moved.notified() => {}
            }
        }
        self.end().await;
    }

    async fn look(&self, memory: &mut Memory, draining: bool) -> sqlx::Result<()> {
        self.renew(memory).await?;
        if draining {
            return Ok(());
        }
        if matches!(&*self.status.borrow(), Status::Ready(_)) {
            memory.broker_seen_at = Some(Instant::now());
        }
        let held = self.holdings.list().len();
        let reachable = memory
            .broker_seen_at
            .is_some_and(|at| at.elapsed() < BROKER_AWAY_MAX.max(self.lease));
        if !reachable {
            if std::mem::take(&mut memory.joined) {
                tracing::warn!("the broker has been away for long; leaving the shards to others");
                leave(&self.pool, &self.owner).await?;
            }
            self.keep(0, held).await;
            return Ok(());
        }
        let alive = beat(&self.pool, &self.owner, self.lease).await?;
        if !std::mem::replace(&mut memory.joined, true) {
            self.hint().await;
        }
        let share = fair_share(&self.owner, &alive);
        match balance(held, share) {
            Balance::Keep => {}
            Balance::Release(_) => self.keep(share, held).await,
            Balance::Take(count) => {
                let leases = take(&self.pool, &self.owner, self.lease, count).await?;
                self.add(leases).await;
            }
        }
        Ok(())
    }

    async fn renew(&self, memory: &mut Memory) -> sqlx::Result<()> {
        let held = self.holdings.list();
        if held.is_empty() {
            memory.renewed_at = Instant::now();
            return Ok(());
        }
        if memory.renewed_at.elapsed() < self.lease / RENEWALS_A_LEASE {
            return Ok(());
        }
        let asked_at = Instant::now();
        let kept = renew(&self.pool, &self.owner, self.lease, &held).await?;
        memory.renewed_at = asked_at;
        let gone: Vec<Shard> = held
            .iter()
            .map(|held| held.shard)
            .filter(|shard| !kept.contains(shard))
            .collect();
        self.drop_gone(gone).await;
        Ok(())
    }

    async fn drop_gone(&self, gone: Vec<Shard>) {
        if gone.is_empty() {
            return;
        }
        tracing::warn!(
            shards = gone.len(),
            "leases have been taken over by another relay"
        );
        for shard in &gone {
            let _ = self.holdings.remove(*shard);
        }
        self.count();
        let _ = self.orders.send(Order::Gone(gone)).await;
    }

    async fn add(&self, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        tracing::info!(shards = leases.len(), "took shards");
        for lease in &leases {
            self.holdings.add(lease);
        }
        self.count();
        let _ = self.orders.send(Order::Taken(leases)).await;
    }

    async fn keep(&self, share: usize, held: usize) {
        if held > share {
            let _ = self.orders.send(Order::Keep(share)).await;
        }
    }

    /// The dispatcher has let go of these: they are free for others from now on.
    async fn hand_over(&mut self, mut back: Vec<Held>) {
        while let Ok(more) = self.given_back.try_recv() {
            back.extend(more);
        }
        self.count();
        match release(&self.pool, &self.owner, &back).await {
            Ok(_) => {
                tracing::info!(shards = back.len(), "handed shards over");
                self.hint().await;
            }
            Err(error) => tracing::warn!(
                "shards could not be handed over and lapse by themselves: {}",
                database_sentence(&error)
            ),
        }
    }

    /// Logs a change once; drops every shard whose lease has surely lapsed.
    async fn tell(&self, outcome: sqlx::Result<()>, memory: &Memory) {
        let sentence = outcome.err().map(|error| {
            self.metrics.failed(FailureKind::DatabaseAway);
            database_sentence(&error)
        });
        let was = self.database.send_replace(sentence.clone());
        match (&was, &sentence) {
            (None, Some(why)) => tracing::warn!("cannot keep leases: {why}"),
            (Some(_), None) => tracing::info!("the database answers again"),
            _ => {}
        }
        if sentence.is_some() && memory.renewed_at.elapsed() > self.lease {
            let lapsed = self.holdings.list().iter().map(|held| held.shard).collect();
            self.drop_gone(lapsed).await;
        }
    }

    async fn hint(&self) {
        let _ = self
            .broker
            .client
            .publish(LEASES_HINT, Vec::new().into())
            .await;
    }

    fn count(&self) {
        let held = self.holdings.list().len();
        self.metrics
            .shards_owned
            .set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    async fn end(&self) {
        self.count();
        if let Err(error) = leave(&self.pool, &self.owner).await {
            tracing::warn!(
                "the heartbeat could not be removed: {}",
                database_sentence(&error)
            );
        }
        if self.broker.link.borrow().up {
            self.hint().await;
            let _ = tokio::time::timeout(LAST_HINT_MAX, self.broker.client.flush()).await;
        }
    }
}
