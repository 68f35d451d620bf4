//! The hub: which games are watched on this instance, and what everything here shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::ids::{GameId, PlayerId};
use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::boards::{self, Boards};
use super::clock::{DatabaseClock, MEASURE_EVERY};
use super::config::GatewayConfig;
use super::cursor::Cursors;
use super::departures::Departures;
use super::heartbeat::Heartbeat;
use super::link::Link;
use super::places::Places;
use super::presence::{self, CachedStats, Presence, Wanted};
use super::room::{self, Room, Seated};
use super::turns::Turns;
use super::{reconciler, repo};
use crate::games::entity::{Game, Seq};
use crate::games::read_lane::ReadLane;
use crate::games::service::Games;
use crate::metrics::Metrics;
use crate::nats::{Delivered, Events, Listener};
use crate::problem::{Problem, Reason};

/// A query for a viewer that takes longer has failed.
const QUERY_MAX: Duration = Duration::from_secs(5);

/// What the gateway is built from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where games and their log are.
    pub pool: PgPool,
    /// The service that commands go to.
    pub games: Games,
    /// The events of watched games, over NATS.
    pub events: Events,
    /// Whether it is up.
    pub link: Link,
    /// Seals and opens cursors.
    pub cursors: Cursors,
    /// The instance's metrics.
    pub metrics: Arc<Metrics>,
    /// The process's life.
    pub life: Lifecycle,
    /// Settings.
    pub config: GatewayConfig,
    /// This instance's name.
    pub instance: String,
}

/// The gateway of one instance. Clones share everything.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    clock: DatabaseClock,
    heartbeat: Heartbeat,
    places: Places,
    presence: Presence,
    stats: CachedStats,
    boards: Boards,
    turns: Turns,
    departures: Departures,
    rooms: Mutex<HashMap<GameId, Arc<Room>>>,
}

impl Gateway {
    /// Starts the reconciler, the keeping of presence and boards, and the reading of the database's clock.
    #[must_use]
    pub fn start(parts: Parts) -> Self {
        let life = parts.life.clone();
        let open = parts.metrics.gateway_connections.clone();
        let gateway = Self(Arc::new(Inner {
            heartbeat: Heartbeat::start(parts.config.heartbeat, &life),
            places: Places::new(parts.config.sockets_per_player_max, open),
            presence: Presence::new(parts.config.reconnect_spread),
            stats: CachedStats::default(),
            boards: Boards::new(parts.metrics.gateway_subscriptions.clone()),
            turns: Turns::new(&parts.pool),
            departures: Departures::new(parts.config.reconnect_spread, rand::random()),
            parts,
            clock: DatabaseClock::new(Instant::now()),
            rooms: Mutex::default(),
        }));
        gateway.hear_commits();
        let listener = Rooms(Arc::downgrade(&gateway.0));
        gateway.events().start(listener, &life);
        life.spawn_worker("reconciler", reconciler::run(gateway.clone()));
        life.spawn_worker("presence", presence::run(gateway.clone()));
        life.spawn_worker("boards", boards::run(gateway.clone()));
        life.spawn_worker("database clock", measure_clock(gateway.clone()));
        gateway
    }

    /// Lets the games of this instance tell the rooms of what they commit.
    fn hear_commits(&self) {
        let rooms = Rooms(Arc::downgrade(&self.0));
        self.games().feed().listen(move |committed| {
            if let Some((gateway, room)) = rooms.room(committed.logged.game) {
                room.committed(&gateway, committed);
            }
        });
    }

    /// Takes a place in the game's room, which is opened for the first viewer.
    ///
    /// # Errors
    /// `not_found`; `unavailable` if the game cannot be read.
    pub(super) async fn enter(&self, game: GameId) -> Result<Seated, Problem> {
        let seated = {
            let mut rooms = self.rooms();
            let room = rooms
                .entry(game)
                .or_insert_with(|| room::follow(self, game));
            Seated::take(room)
        };
        seated.started().await?;
        Ok(seated)
    }

    /// The watched games and how far each is.
    pub(super) fn watched(&self) -> Vec<(Arc<Room>, GameId, Seq)> {
        let rooms: Vec<_> = self
            .rooms()
            .iter()
            .map(|(id, room)| (*id, Arc::clone(room)))
            .collect();
        let known = rooms.into_iter().filter_map(|(id, room)| {
            let seq = room.seq()?;
            Some((room, id, seq))
        });
        known.collect()
    }

    /// The watched games and who sits there.
    pub(super) fn watched_seats(&self) -> Vec<(Arc<Room>, Wanted)> {
        let rooms: Vec<_> = self.rooms().values().map(Arc::clone).collect();
        let known = rooms.into_iter().filter_map(|room| {
            let wanted = Wanted::from(&*room.known().ok()?.game);
            Some((room, wanted))
        });
        known.collect()
    }

    /// Whether nobody watches anything here.
    pub(super) fn is_vacant(&self) -> bool {
        self.rooms().is_empty()
    }

    /// Ends a room; `end` runs under the lock under which places are taken.
    pub(super) fn forget(&self, room: &Arc<Room>, end: impl FnOnce()) {
        let ended = self.forget_if(room, || {
            end();
            true
        });
        debug_assert!(ended, "the room is ended without a condition");
    }

    /// Ends a room if `end`, which runs under the lock under which places are taken, agrees.
    pub(super) fn forget_if(&self, room: &Arc<Room>, end: impl FnOnce() -> bool) -> bool {
        let mut rooms = self.rooms();
        let ended = end();
        if ended
            && rooms
                .get(&room.game())
                .is_some_and(|known| Arc::ptr_eq(known, room))
        {
            rooms.remove(&room.game());
            self.events().unsubscribe(room.game());
        }
        ended
    }

    /// A turn to read the database for viewers.
    ///
    /// # Errors
    /// `unavailable`: too many are before it.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.0.turns.take().await
    }

    /// Reads of games, all together.
    pub(super) fn read_lane(&self) -> &ReadLane {
        self.games().read_lane()
    }

    /// The protocol's `game` object.
    pub(super) async fn describe(
        &self,
        game: &Game,
        viewer: Option<PlayerId>,
    ) -> Result<Value, Problem> {
        let _turn = self.turn().await?;
        timeout(QUERY_MAX, self.games().describe(game, viewer))
            .await
            .unwrap_or_else(|_| Err(Problem::from(Reason::Unavailable)))
    }

    /// The `game` objects of a list, each with who is there now.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn describe_listed(
        &self,
        games: &[Game],
        viewer: Option<PlayerId>,
    ) -> Result<Vec<Value>, Problem> {
        let there = self.presence().of_games(self.pool(), games).await?;
        let mut described = self.games().describe_all(games, viewer).await?;
        for (described, game) in described.iter_mut().zip(games) {
            let counts = there.get(&game.id).copied().unwrap_or_default();
            described["watching"] = json!(counts.watching);
            described["seats"] = json!(counts.seats());
        }
        Ok(described)
    }

    /// The database's clock, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// Takes in that an event committed at `at_ms` of the database's clock was written to a client.
    pub(super) fn observe_delivery(&self, at_ms: i64, written: Instant) {
        let seconds = (self.0.clock.at_ms(written) - at_ms as f64) / 1000.0;
        self.metrics()
            .gateway_event_delivery_seconds
            .observe(seconds.max(0.0));
    }

    /// Takes in that a connection or a message was refused.
    pub(super) fn rejected(&self, reason: Reason) {
        let rejected = &self.metrics().gateway_rejected_total;
        rejected.with_label_values(&[reason.as_str()]).inc();
    }

    /// When each client goes in a drain.
    pub(super) fn departures(&self) -> &Departures {
        &self.0.departures
    }

    pub(super) fn heartbeat(&self) -> &Heartbeat {
        &self.0.heartbeat
    }

    pub(super) fn places(&self) -> &Places {
        &self.0.places
    }

    /// Who is here.
    #[must_use]
    pub fn presence(&self) -> &Presence {
        &self.0.presence
    }

    pub(super) fn stats(&self) -> &CachedStats {
        &self.0.stats
    }

    pub(super) fn boards(&self) -> &Boards {
        &self.0.boards
    }

    pub(super) fn instance(&self) -> &str {
        &self.0.parts.instance
    }

    pub(super) fn clock(&self) -> &DatabaseClock {
        &self.0.clock
    }

    /// Seals and opens cursors.
    #[must_use]
    pub fn cursors(&self) -> &Cursors {
        &self.0.parts.cursors
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.0.parts.pool
    }

    pub(super) fn games(&self) -> &Games {
        &self.0.parts.games
    }

    pub(super) fn events(&self) -> &Events {
        &self.0.parts.events
    }

    pub(super) fn link(&self) -> &Link {
        &self.0.parts.link
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.parts.metrics
    }

    pub(super) fn life(&self) -> &Lifecycle {
        &self.0.parts.life
    }

    pub(super) fn config(&self) -> &GatewayConfig {
        &self.0.parts.config
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<GameId, Arc<Room>>> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rooms, for those whom the gateway keeps and who must not keep it.
struct Rooms(Weak<Inner>);

impl Rooms {
    fn room(&self, game: GameId) -> Option<(Gateway, Arc<Room>)> {
        let gateway = self.0.upgrade().map(Gateway)?;
        let room = gateway.rooms().get(&game).cloned()?;
        Some((gateway, room))
    }
}

impl Listener for Rooms {
    fn hear(&self, game: GameId, message: &Delivered<'_>) -> bool {
        let room = self.room(game);
        if let Some((gateway, room)) = &room {
            room.message(gateway, message);
        }
        room.is_some()
    }

    fn watched(&self) -> Vec<GameId> {
        let gateway = self.0.upgrade().map(Gateway);
        gateway.map_or_else(Vec::new, |gateway| {
            gateway.rooms().keys().copied().collect()
        })
    }
}

/// Asks for the database's time again and again, more often until the first answer.
async fn measure_clock(gateway: Gateway) {
    const FIRST_RETRY: Duration = Duration::from_millis(200);
    let draining = gateway.life().draining();
    loop {
        let sent = Instant::now();
        match timeout(QUERY_MAX, repo::clock_ms(gateway.pool())).await {
            Ok(Ok(ms)) => gateway.clock().measured(ms, sent, Instant::now()),
            Ok(Err(error)) => tracing::debug!(%error, "the database's clock could not be read"),
            Err(_) => tracing::debug!("the database's clock could not be read in time"),
        }
        let pause = if gateway.clock().is_set() {
            MEASURE_EVERY
        } else {
            FIRST_RETRY
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = draining.cancelled() => return,
        }
    }
}
