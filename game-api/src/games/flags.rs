//! Fallen flags: an exact timer for games that this instance committed to, and a sweeper for all.
//! Both only ask; the conditional commit decides by the database's clock.

use std::time::Duration;

use futures_util::StreamExt;
use shared::ids::GameId;
use shared::lifecycle::Lifecycle;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::time::{DelayQueue, delay_queue::Key};

use super::repo;
use super::service::Games;
use crate::database::bounded;

/// Timers that may wait to be set; beyond it the sweeper finds the game.
const TIMERS_QUEUED_MAX: usize = 4096;
/// Timers held. A timer is about 200 bytes.
const TIMERS_MAX: usize = 100_000;
/// How often an instance sweeps: a flag that no timer watched falls this late at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Games taken from one shard in one sweep.
const SWEPT_A_SHARD_MAX: i64 = 20;
/// The timer rounds to milliseconds and must not be early: the database would refuse.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// Sets the timer of a game.
#[derive(Clone, Debug)]
pub struct FlagTimers(mpsc::Sender<(GameId, Option<Duration>)>);

impl FlagTimers {
    /// The timers and the worker's end of them.
    #[must_use]
    pub fn new() -> (Self, FlagTimerQueue) {
        let (sender, receiver) = mpsc::channel(TIMERS_QUEUED_MAX);
        (Self(sender), FlagTimerQueue(receiver))
    }

    /// Sets when the flag of `game` is due from now; `None` clears it.
    pub fn set(&self, game: GameId, due_in: Option<Duration>) {
        // Full: the sweeper finds the game a second later.
        let _ = self.0.try_send((game, due_in));
    }
}

/// The worker's end of the timers.
#[derive(Debug)]
pub struct FlagTimerQueue(mpsc::Receiver<(GameId, Option<Duration>)>);

/// Starts the timers' worker and the sweeper.
pub fn start(games: &Games, queue: FlagTimerQueue, life: &Lifecycle) {
    life.spawn_worker("flag timers", timers(games.clone(), queue, life.clone()));
    life.spawn_worker("flag sweeper", sweeper(games.clone(), life.clone()));
}

async fn timers(games: Games, FlagTimerQueue(mut queue): FlagTimerQueue, life: Lifecycle) {
    let draining = life.draining();
    let mut due = DelayQueue::new();
    let mut keys: HashMap<GameId, Key> = HashMap::new();
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            Some((game, due_in)) = queue.recv() => {
                if let Some(key) = keys.remove(&game) {
                    due.remove(&key);
                }
                if let Some(due_in) = due_in && keys.len() < TIMERS_MAX {
                    keys.insert(game, due.insert(game, due_in + TIMER_SLACK));
                }
            }
            Some(expired) = due.next(), if !due.is_empty() => {
                let game = expired.into_inner();
                keys.remove(&game);
                let games = games.clone();
                life.spawn_task("fallen flag", async move { games.flag(game).await });
            }
        }
    }
}

async fn sweeper(games: Games, life: Lifecycle) {
    let draining = life.draining();
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match bounded(repo::due_flags(games.pool(), SWEPT_A_SHARD_MAX)).await {
            Ok(due) => {
                for game in due {
                    games.flag(game).await;
                }
            }
            Err(error) => tracing::warn!(%error, "fallen flags could not be swept, trying again"),
        }
    }
}
