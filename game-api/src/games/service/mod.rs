//! What can be done with games: find, make, join, command. The order of answers is DESIGN §9's.

mod command;
mod create;
mod describe;
mod find;
mod record;

use std::sync::Arc;

use shared::ids::PlayerId;
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;

pub use command::{Accepted, CommandRequest};
pub use create::{CreateGame, is_code};

use super::committer::Committer;
use super::copies::Copies;
use super::entity::{Game, Visibility};
use super::feed::Feed;
use super::flags::{self, FlagTimers};
use super::read_lane::ReadLane;
use super::wake::Wake;
use crate::database::Failures;
use crate::metrics::Metrics;
use crate::mutants;
use crate::problem::{Problem, Reason};

/// The games of this deployment. Clones share everything.
#[derive(Clone, Debug)]
pub struct Games(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    committer: Committer,
    read_lane: ReadLane,
    /// Hints: a copy may be behind, and then its commit is refused.
    copies: Copies,
    feed: Feed,
    wake: Wake,
    timers: FlagTimers,
    /// Open challenges of one player.
    challenges_max: i64,
    failures: Failures,
    metrics: Arc<Metrics>,
}

impl Games {
    /// Starts the committer, the flag timers, the sweeper and the hints; a player has at most
    /// `challenges_max` open challenges.
    #[must_use]
    pub fn start(
        pool: PgPool,
        nats: async_nats::Client,
        failures: Failures,
        metrics: Arc<Metrics>,
        challenges_max: u32,
        life: &Lifecycle,
    ) -> Self {
        let (timers, queue) = FlagTimers::new();
        let wake = Wake::start(nats, life);
        let games = Self(Arc::new(Inner {
            committer: Committer::start(pool.clone(), metrics.clone(), wake.clone(), life),
            read_lane: ReadLane::start(pool.clone(), metrics.clone(), life),
            copies: Copies::new(),
            feed: Feed::default(),
            wake,
            timers,
            challenges_max: challenges_max.into(),
            failures,
            metrics,
            pool,
        }));
        flags::start(&games, queue, life);
        games
    }

    /// Where rooms of this instance hear of its own commits.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// Reads of games, all together.
    pub(crate) fn read_lane(&self) -> &ReadLane {
        &self.0.read_lane
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    fn remember(&self, game: Arc<Game>) -> Arc<Game> {
        self.0.copies.put(game.clone());
        game
    }
}

/// Whether a viewer may know of a game. Of one whose free seat is reserved only its two players do,
/// whoever else shows its code: nobody is to be told who challenges whom.
#[must_use]
pub fn may_see(game: &Game, viewer: Option<PlayerId>, code: Option<&str>) -> bool {
    if game.reserved_to().is_some() {
        let is_theirs = viewer.is_some_and(|player| game.seat_for(player).is_some());
        return mutants::challenge_seen(is_theirs);
    }
    game.visibility == Visibility::Public
        || viewer.is_some_and(|player| game.seat_of(player).is_some())
        || code.is_some_and(|code| code.eq_ignore_ascii_case(&game.code))
}

fn not_found() -> Problem {
    Problem::new(Reason::NotFound, "there is no such game")
}
