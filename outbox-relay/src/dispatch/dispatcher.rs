//! The loop that decides which shard a worker takes next.

use std::sync::Arc;
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use shared::shard::Shard;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::slots::{LOOK_BYTES, LOOK_ROWS, Slots, Start};
use crate::backlog::floor::ReadFrom;
use crate::batch::entity::BatchLimit;
use crate::batch::repo::{Wanted, by_shard, next_rows};
use crate::batch::room::Room;
use crate::error::{Fatal, database_sentence};
use crate::leases::holdings::Holdings;
use crate::leases::keeper::Order;
use crate::leases::repo::{Held, Lease};
use crate::metrics::{FailureKind, WakeSource};
use crate::pause::backoff;
use crate::shard::fence::StreamSeq;
use crate::shard::job::{Company, JobEnd, Member, ShardState, Tools, Turn};
use crate::shard::machine::{End, Machine};
use crate::stream::publisher::Publisher;
use crate::stream::settings::Unfit;
use crate::stream::watcher::{Facts, Status};
use crate::verify::job::Verification;
use crate::wake::pace::Pace;

/// The first pause after the broker or the database did not do its part.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What comes while a batch of few events is under way is looked for when it has ended, and travels
/// together in the next one: smaller batches would cost more than the wait. After so long it is
/// looked for all the same, so that a batch without an answer holds up nobody else's events.
const LOOK_BESIDE_AFTER: Duration = Duration::from_millis(20);

/// Gives shards to workers.
#[derive(Debug)]
pub struct Dispatcher {
    tools: Tools,
    life: Lifecycle,
    fatal: Fatal,
    holdings: Holdings,
    orders: mpsc::Receiver<Order>,
    given_back: mpsc::Sender<Vec<Held>>,
    status: watch::Receiver<Status>,
    wake: Arc<Notify>,
    pace: Pace,
    slots: Slots,
    publishers: Vec<Publisher>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    stop: CancellationToken,
    /// Shards that a verification has in hand.
    verifying: usize,
    /// Jobs of shards with few rows.
    joint: usize,
    failures: u32,
    paused_until: Instant,
    /// Rows may wait that no look has seen.
    look_wanted: bool,
    last_look: Instant,
    next_look: Instant,
}

/// What a job brings back.
#[derive(Debug)]
struct Done {
    members: Vec<Member>,
    publisher: Publisher,
    what: What,
}

/// What a job was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A turn of some shards, which together are one job or not.
    Turn {
        joint: bool,
        /// Whether events were sent.
        sent: bool,
    },
    Verification,
}

/// What a dispatcher is made from.
#[derive(Debug)]
pub struct Parts {
    /// What jobs work with.
    pub tools: Tools,
    /// To spawn jobs and to know when to drain.
    pub life: Lifecycle,
    /// Where a reason to end is left.
    pub fatal: Fatal,
    /// What is held.
    pub holdings: Holdings,
    /// From the keeper.
    pub orders: mpsc::Receiver<Order>,
    /// To the keeper; dropped when all is given back.
    pub given_back: mpsc::Sender<Vec<Held>>,
    /// Whether the stream can be published to.
    pub status: watch::Receiver<Status>,
    /// Notified when rows may wait.
    pub wake: Arc<Notify>,
    /// When to look without having been woken.
    pub pace: Pace,
    /// One a worker.
    pub publishers: Vec<Publisher>,
}

impl Dispatcher {
    /// A dispatcher with nothing to do yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            done: mpsc::channel(parts.publishers.len().max(1)),
            tools: parts.tools,
            life: parts.life,
            fatal: parts.fatal,
            holdings: parts.holdings,
            orders: parts.orders,
            given_back: parts.given_back,
            status: parts.status,
            wake: parts.wake,
            pace: parts.pace,
            slots: Slots::default(),
            publishers: parts.publishers,
            stop: CancellationToken::new(),
            verifying: 0,
            joint: 0,
            failures: 0,
            paused_until: now,
            look_wanted: false,
            last_look: now,
            next_look: now,
        }
    }

    /// Runs until the drain begins, then finishes what is in flight and gives everything back.
    pub async fn run(mut self) {
        let draining = self.life.draining();
        let wake = Arc::clone(&self.wake);
        while !draining.is_cancelled() {
            self.start_jobs();
            self.start_verification();
            let look_at = self.next_look.max(self.paused_until);
            tokio::select! {
                () = draining.cancelled() => break,
                Some(done) = self.done.1.recv() => self.finish(done).await,
                Some(order) = self.orders.recv() => self.obey(order).await,
                () = wake.notified() => self.look_wanted = true,
                () = sleep_until(look_at), if !self.look_wanted => {
                    self.tools.metrics.woken(WakeSource::Poll);
                    self.look_wanted = true;
                }
                () = sleep_until(self.paused_until), if self.is_paused() => {}
                () = sleep_until(self.last_look + LOOK_BESIDE_AFTER), if self.look_waits() => {}
                _ = self.status.changed() => self.on_status(),
            }
            if self.may_look() {
                self.look().await;
            }
        }
        self.drain().await;
    }

    fn is_paused(&self) -> bool {
        self.paused_until > Instant::now()
    }

    /// Whether nothing but time keeps the next look waiting.
    fn look_waits(&self) -> bool {
        self.look_wanted && !self.publishers.is_empty() && !self.is_paused()
    }

    fn may_look(&self) -> bool {
        let in_turn = self.joint == 0 || self.last_look.elapsed() >= LOOK_BESIDE_AFTER;
        self.look_waits() && in_turn
    }

    fn facts(&self) -> Option<Facts> {
        match &*self.status.borrow() {
            Status::Ready(facts) => Some(facts.clone()),
            Status::Waiting(_) => None,
        }
    }

    fn on_status(&mut self) {
        if let Some(facts) = self.facts() {
            self.slots.restart(facts.generation);
            self.slots.renew_fences(StreamSeq(facts.renew_below));
            self.look_wanted = true;
        }
    }

    /// Asks the outbox, in one query, which idle shards have rows, and reads them if they are few.
    async fn look(&mut self) {
        self.look_wanted = false;
        self.last_look = Instant::now();
        self.slots.pass_over_running();
        let wanted = |state: &ShardState| Wanted {
            shard: state.shard,
            from: self.holdings.read_from(state.shard),
            limit: LOOK_ROWS,
            epoch: state.machine.epoch(),
        };
        let wanted: Vec<Wanted> = self.slots.idle().map(wanted).collect();
        self.slots.enqueue_unsettled();
        let found = if self.facts().is_some() && !wanted.is_empty() {
            let since = std::time::Instant::now();
            let (pool, owner) = (&self.tools.pool, &self.tools.owner);
            match next_rows(pool, owner, &wanted, LOOK_BYTES).await {
                Ok(rows) => {
                    let any = !rows.is_empty();
                    for (shard, rows) in by_shard(rows) {
                        self.slots.found(shard, rows, since);
                    }
                    any
                }
                Err(error) => {
                    self.tools.metrics.failed(FailureKind::DatabaseAway);
                    tracing::debug!("{}", database_sentence(&error));
                    self.pause();
                    self.look_wanted = true;
                    false
                }
            }
        } else {
            false
        };
        self.next_look = Instant::now() + self.pace.after_look(found);
    }

    fn start_jobs(&mut self) {
        if self.is_paused() {
            return;
        }
        let Some(facts) = self.facts() else { return };
        while !self.publishers.is_empty() {
            let starts = self.slots.start_next(&self.stop);
            if starts.is_empty() {
                break;
            }
            let members: Vec<Member> = starts
                .into_iter()
                .map(|start| self.member(start, &facts))
                .collect();
            self.spawn_turn(members, facts.clone());
        }
    }

    fn member(&self, start: Start, facts: &Facts) -> Member {
        let state = start
            .state
            .unwrap_or_else(|| self.fresh_state(&start.lease, facts));
        Member {
            from: self.holdings.read_from(state.shard),
            state,
            stop: start.stop,
            end: None,
        }
    }

    fn spawn_turn(&mut self, mut members: Vec<Member>, facts: Facts) {
        let Some(mut publisher) = self.publishers.pop() else {
            return;
        };
        let all = |member: &Member| member.state.company == Company::All;
        let joint = members.iter().all(all);
        self.joint += usize::from(joint);
        let (tools, done) = (self.tools.clone(), self.done.0.clone());
        let room = self.room(&facts);
        self.life.spawn_task("shards' turn", async move {
            let turn = Turn {
                members: &mut members,
                publisher: &mut publisher,
                tools: &tools,
                facts: &facts,
                room,
            };
            let sent = turn.run().await;
            let _ = done
                .send(Done {
                    members,
                    publisher,
                    what: What::Turn { joint, sent },
                })
                .await;
        });
    }

    /// Has the shards verified that may not be published before.
    fn start_verification(&mut self) {
        let Some(facts) = self.facts() else { return };
        if self.is_paused() || self.publishers.is_empty() {
            return;
        }
        let stop = self.stop.child_token();
        let states = self.slots.start_verification(&stop);
        if states.is_empty() {
            return;
        }
        let Some(mut publisher) = self.publishers.pop() else {
            return;
        };
        self.verifying += states.len();
        let mut members: Vec<Member> = states
            .into_iter()
            .map(|state| Member {
                from: ReadFrom::default(),
                state,
                stop: stop.clone(),
                end: None,
            })
            .collect();
        let (tools, done) = (self.tools.clone(), self.done.0.clone());
        let room = self.room(&facts);
        self.life.spawn_task("verification", async move {
            let verification = Verification {
                members: &mut members,
                publisher: &mut publisher,
                tools: &tools,
                facts: &facts,
                room,
                stop: &stop,
            };
            let end = verification.run().await;
            for member in &mut members {
                member.end = Some(end);
            }
            let _ = done
                .send(Done {
                    members,
                    publisher,
                    what: What::Verification,
                })
                .await;
        });
    }

    fn room(&self, facts: &Facts) -> Room {
        Room::of(&self.tools.config, facts.single_replica, self.slots.len())
    }

    fn fresh_state(&self, lease: &Lease, facts: &Facts) -> ShardState {
        ShardState {
            shard: lease.shard,
            machine: Machine::new(lease.claim(facts.outbox, facts.generation)),
            generation: facts.generation,
            limit: BatchLimit::new(self.tools.config.batch_max),
            company: Company::default(),
            wary: false,
            ahead: None,
        }
    }

    async fn finish(&mut self, done: Done) {
        let Done {
            members,
            publisher,
            what,
        } = done;
        self.publishers.push(publisher);
        match what {
            What::Verification => self.verifying -= members.len(),
            What::Turn { joint, sent } => {
                self.joint -= usize::from(joint);
                // What was sent is seldom the last.
                self.look_wanted |= sent;
            }
        }
        let paused = |member: &Member| member.end == Some(JobEnd::Pause);
        if members.iter().any(paused) {
            self.pause();
        } else {
            self.failures = 0;
        }
        for member in members {
            self.take_back(member).await;
        }
        self.look_wanted |= self.slots.take_look_owed();
        self.count_unverified();
    }

    async fn take_back(&mut self, member: Member) {
        let (state, end) = (member.state, member.end.unwrap_or(JobEnd::More));
        if let Some(at) = state.machine.holding()
            && state.machine.verified()
        {
            self.holdings.note_fence(state.shard, state.generation, at);
        }
        if let JobEnd::Ended(End::Foreign(found)) = end {
            let own = self.facts().map_or(found, |facts| facts.outbox);
            self.fatal.end(&self.life, Unfit::Foreign { found, own });
        }
        let generation = self
            .facts()
            .map_or(state.generation, |facts| facts.generation);
        if let Some(free) = self.slots.ended(state, end, generation) {
            self.give(vec![free]).await;
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Taken(leases) => {
                for lease in leases {
                    self.slots.add(lease);
                }
                // Who had none before has looked at nothing for longer and longer.
                self.next_look = self.next_look.min(Instant::now() + self.pace.restart());
            }
            Order::Gone(shards) => self.slots.gone(&shards),
            Order::Keep(keep) => {
                let free = self.slots.give_back(keep);
                self.give(free).await;
            }
        }
        self.count_unverified();
    }

    async fn give(&self, free: Vec<Shard>) {
        let held: Vec<Held> = free
            .into_iter()
            .filter_map(|shard| self.holdings.remove(shard))
            .collect();
        if !held.is_empty() {
            let _ = self.given_back.send(held).await;
        }
    }

    fn pause(&mut self) {
        let pause = backoff(self.failures, PAUSE_MIN, PAUSE_MAX, rand::random());
        self.failures = self.failures.saturating_add(1);
        self.paused_until = Instant::now() + pause;
        self.tools.look_now.notify_one();
    }

    fn count_unverified(&self) {
        let unverified = self.slots.stuck() + self.verifying;
        let unverified = i64::try_from(unverified).unwrap_or(i64::MAX);
        self.tools.metrics.shards_unverified.set(unverified);
    }

    async fn drain(mut self) {
        let free = self.slots.give_back(0);
        self.give(free).await;
        while self.slots.busy() {
            let Some(done) = self.done.1.recv().await else {
                break;
            };
            self.finish(done).await;
        }
    }
}
