//! A room's task: subscribe first, then read the log, then apply events strictly by number.

use std::sync::Arc;
use std::time::Duration;

use shared::ids::GameId;
use tokio::time::{Instant, sleep_until, timeout};

use super::log::{LogError, timeline};
use super::peek::peek;
use super::timeline::{RING_EVENTS_MAX, Verdict, judge};
use super::trace::{deliver_span, message_trace};
use super::{Live, Phase, Room};
use crate::games::entity::{Logged, Published, Seq};
use crate::games::feed::Committed;
use crate::games::read_lane::Opening;
use crate::gateway::Gateway;
use crate::nats::Delivered;
use crate::problem::Reason;

/// How long a room outlives its last viewer: a page being reloaded, or the pause between two long
/// polls, should find it still there.
const GRACE: Duration = Duration::from_secs(10);
/// Between two attempts to read the log while the database is away.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// A server that is just going may never answer; the room does not wait for it.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(1);

/// Starts a room and its task. The caller holds the lock of the rooms.
pub(in crate::gateway) fn follow(gateway: &Gateway, game: GameId) -> Arc<Room> {
    let room = Arc::new(Room::new(game));
    let follower = Follower {
        room: Arc::clone(&room),
        gateway: gateway.clone(),
        retry_at: None,
        vacant_until: None,
    };
    let task = Box::new(follower).run();
    gateway.life().spawn_task("room", Box::pin(task));
    room
}

pub(super) struct Follower {
    pub(super) room: Arc<Room>,
    pub(super) gateway: Gateway,
    /// When the log or the row is read again after a failure.
    retry_at: Option<Instant>,
    /// When the room ends unless somebody comes.
    vacant_until: Option<Instant>,
}

/// What woke a room.
enum Woken {
    Bell,
    /// A time that it waited for has come.
    Due,
    Draining,
    Stopping,
}

/// What a room has to do beside what it has done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Answer,
    ReadLog,
    ReadRow,
}

impl Follower {
    /// Most rooms wait most of the time: what is done in between is in a box of its own, so that
    /// a waiting room is not as large as all that it can do.
    async fn run(mut self: Box<Self>) {
        if let Err(reason) = Box::pin(self.begin()).await {
            self.end(reason);
            return;
        }
        loop {
            let task = match self.woken().await {
                Woken::Bell => Some(Task::Answer),
                Woken::Due if is_over(self.vacant_until) => {
                    if self.end_if_vacant() {
                        return;
                    }
                    self.vacant_until = None;
                    None
                }
                Woken::Due => Some(Task::ReadLog),
                Woken::Draining => {
                    self.vacant_until = self.vacant_until.map(|_| Instant::now());
                    None
                }
                Woken::Stopping => break,
            };
            if let Some(task) = task {
                Box::pin(self.carry_out(task)).await;
            }
        }
        self.end(Reason::Unavailable);
    }

    async fn begin(&mut self) -> Result<(), Reason> {
        self.subscribe().await;
        self.start().await?;
        self.room.announce();
        self.bell_rang().await;
        Ok(())
    }

    async fn carry_out(&mut self, task: Task) {
        match task {
            Task::Answer => self.bell_rang().await,
            Task::ReadLog => self.read_on().await,
            Task::ReadRow => self.read_row().await,
        }
    }

    fn end(&self, reason: Reason) {
        self.gateway.forget(&self.room, || {
            self.room.lock().phase = Phase::Gone(reason);
        });
        self.room.announce();
    }

    async fn woken(&mut self) -> Woken {
        let draining = self.gateway.life().draining();
        let stopping = self.gateway.life().stopping();
        let due = self.retry_at.into_iter().chain(self.vacant_until).min();
        let may_part = self.vacant_until.is_some() && !is_over(self.vacant_until);
        tokio::select! {
            biased;
            () = stopping.cancelled() => Woken::Stopping,
            () = self.room.bell.notified() => Woken::Bell,
            () = at(due) => Woken::Due,
            () = draining.cancelled(), if may_part => Woken::Draining,
        }
    }

    /// What is published from then on is heard; without NATS, the reconciler stands in for it.
    async fn subscribe(&self) {
        let subscribed = self.gateway.events().subscribe(self.room.game);
        let _ = timeout(SUBSCRIBE_MAX, subscribed).await;
    }

    /// Reads the game and the end of its log.
    async fn start(&self) -> Result<(), Reason> {
        let lane = self.gateway.read_lane();
        let opening = lane.opening(self.room.game, RING_EVENTS_MAX).await;
        let begun = match opening {
            Ok(Some(Opening { game, events })) => timeline(events).map(|timeline| Live {
                timeline,
                game: Arc::new(game.without_position()),
                game_version: 0,
            }),
            Ok(None) => return Err(Reason::NotFound),
            Err(error) => Err(error.into()),
        };
        let live = begun.map_err(|error| {
            self.room.log_failure(&self.gateway, &error);
            Reason::Unavailable
        })?;
        let mut state = self.room.lock();
        if state.heard_of > live.timeline.seq() {
            state.log_wanted += 1;
        }
        state.phase = Phase::Live(live);
        Ok(())
    }

    async fn bell_rang(&mut self) {
        let (wanted, viewers) = {
            let state = self.room.lock();
            (
                state.log_wanted > state.log_read.max(state.log_failed),
                state.viewers,
            )
        };
        if wanted {
            self.read_on().await;
        } else if self.room.row_is_old() {
            self.read_row().await;
        }
        let grace = if self.gateway.life().draining().is_cancelled() {
            Duration::ZERO
        } else {
            GRACE
        };
        self.vacant_until = (viewers == 0).then(|| Instant::now() + grace);
    }

    /// Reads the log to its end, and the row if the game's status has changed.
    async fn read_on(&mut self) {
        let wanted = self.room.lock().log_wanted;
        let read = self.read_log().await;
        let good = read.is_ok();
        {
            let mut state = self.room.lock();
            let mark = if good {
                &mut state.log_read
            } else {
                &mut state.log_failed
            };
            *mark = wanted;
        }
        self.room.announce();
        if let Err(error) = read {
            self.room.log_failure(&self.gateway, &error);
            self.retry_at = Some(Instant::now() + RETRY_EVERY);
            return;
        }
        self.retry_at = None;
        if self.room.row_is_old() {
            self.read_row().await;
        }
    }

    /// Reads who sits where and how it stands; the events do not say.
    async fn read_row(&mut self) {
        match self.gateway.read_lane().row(self.room.game).await {
            Ok(Some(row)) => self.room.take_row(&row),
            Ok(None) | Err(_) => self.retry_at = Some(Instant::now() + RETRY_EVERY),
        }
    }

    fn end_if_vacant(&self) -> bool {
        self.gateway.forget_if(&self.room, || {
            let mut state = self.room.lock();
            let vacant = state.viewers == 0;
            if vacant {
                state.phase = Phase::Gone(Reason::Unavailable);
            }
            vacant
        })
    }
}

impl Room {
    /// Takes in what this instance has committed, at once and by the one who committed: one who
    /// waits for its viewers less. What has to be read is left to the room's task.
    pub(in crate::gateway) fn committed(&self, gateway: &Gateway, committed: Committed) {
        if !self.wants(committed.logged.moment.seq) {
            return;
        }
        let _span = deliver_span(&committed.trace, self.game);
        self.leave_to_task(self.hear(gateway, committed.logged));
    }

    /// Takes in what came over NATS.
    pub(in crate::gateway) fn message(&self, gateway: &Gateway, message: &Delivered<'_>) {
        let Some(seq) = peek(message.payload, self.game) else {
            tracing::warn!(game = %self.game, "a message is no event of its game");
            return;
        };
        // Most messages are old, on the instance that made them.
        if !self.wants(seq) {
            return;
        }
        let _span = message_trace(message).map(|trace| deliver_span(&trace, self.game));
        let event = serde_json::from_slice::<Published>(message.payload).ok();
        self.leave_to_task(match event.and_then(Published::into_logged) {
            Some(logged) => self.hear(gateway, Arc::new(logged)),
            // Of a newer release, perhaps; the log knows better.
            None => Some(Task::ReadLog),
        });
    }

    /// Whether an event is newer than what is known. While the log is being read for the first
    /// time nothing is known: then it is noted how far there is to read.
    fn wants(&self, seq: Seq) -> bool {
        let mut state = self.lock();
        match &state.phase {
            Phase::Live(live) => judge(live.timeline.seq(), seq) != Verdict::Old,
            Phase::Starting => {
                state.heard_of = state.heard_of.max(seq);
                false
            }
            Phase::Gone(_) => false,
        }
    }

    fn leave_to_task(&self, task: Option<Task>) {
        match task {
            None => {}
            Some(Task::ReadLog) => self.nudge(),
            Some(_) => self.bell.notify_one(),
        }
    }

    /// Applies an event that came by itself.
    fn hear(&self, gateway: &Gateway, logged: Arc<Logged>) -> Option<Task> {
        let game = self.game;
        match self.apply(logged) {
            Ok(Verdict::Applied) => {
                self.announce();
                self.row_is_old().then_some(Task::ReadRow)
            }
            Ok(Verdict::Old) => None,
            Ok(Verdict::Hole) => {
                gateway.metrics().gateway_gaps_total.inc();
                tracing::debug!(%game, "an event is missing, reading the log");
                Some(Task::ReadLog)
            }
            Err(seq) => {
                // The log decides what is true.
                self.log_failure(gateway, &LogError::Broken(seq));
                Some(Task::ReadLog)
            }
        }
    }

    /// Applies an event if it is next.
    ///
    /// # Errors
    /// The event's number, if its `n` do not follow.
    pub(super) fn apply(&self, logged: Arc<Logged>) -> Result<Verdict, Seq> {
        let seq = logged.moment.seq;
        match &mut self.lock().phase {
            Phase::Live(live) => live.timeline.apply(logged).map_err(|_| seq),
            Phase::Starting | Phase::Gone(_) => Ok(Verdict::Old),
        }
    }

    fn row_is_old(&self) -> bool {
        match &self.lock().phase {
            Phase::Live(live) => live.game.status != live.timeline.latest().moment.status,
            Phase::Starting | Phase::Gone(_) => false,
        }
    }
}

fn is_over(instant: Option<Instant>) -> bool {
    instant.is_some_and(|instant| instant <= Instant::now())
}

async fn at(instant: Option<Instant>) {
    match instant {
        // In a box: a room that is watched, and can be read, waits for no time.
        Some(instant) => Box::pin(sleep_until(instant)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::future_bytes;

    /// Bytes of a room's task and of what its viewers share, without events: 1,032 are used.
    const ROOM_BYTES_MAX: usize = 1200;

    #[test]
    fn a_room_is_not_as_large_as_all_that_it_may_do() {
        let wait = future_bytes(Follower::run);
        let (follower, room) = (size_of::<Follower>(), size_of::<Room>());
        assert!(
            follower + wait + room <= ROOM_BYTES_MAX,
            "{follower}, {wait} and {room} bytes"
        );
    }
}
