//! What every handler can reach.

use std::sync::Arc;

use shared::lifecycle::Lifecycle;
use sqlx::PgPool;

use crate::config::Config;
use crate::database::Failures;
use crate::games::service::Games;
use crate::gateway::cursor::Cursors;
use crate::gateway::link::Link;
use crate::gateway::{Gateway, Parts};
use crate::health::Health;
use crate::http::limits::Limits;
use crate::metrics::Metrics;
use crate::nats::Nats;
use crate::players::Players;
use crate::players::credentials::{Credentials, WallClock};
use crate::router;

/// One instance of the service.
#[derive(Debug)]
pub struct App {
    /// How it was configured.
    pub config: Config,
    /// Postgres.
    pub pool: PgPool,
    /// NATS.
    pub nats: Nats,
    /// Access tokens, tickets and session cookies.
    pub credentials: Credentials,
    /// Players.
    pub players: Players,
    /// Games.
    pub games: Games,
    /// Seals and opens cursors.
    pub cursors: Cursors,
    /// Frames for whoever watches.
    pub gateway: Gateway,
    /// Rate limits.
    pub limits: Arc<Limits>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Whether writes succeed.
    pub health: Arc<Health>,
    /// How failed database work is answered.
    pub failures: Failures,
    /// The life of the process.
    pub life: Lifecycle,
}

impl App {
    /// Puts an instance together and starts its workers in `life`.
    ///
    /// # Errors
    /// Metrics that cannot be registered: a mistake in this program.
    pub fn build(
        config: Config,
        pool: PgPool,
        nats: Nats,
        clock: WallClock,
        life: &Lifecycle,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let metrics = Arc::new(Metrics::new(&router::routes())?);
        let health = Arc::new(Health::default());
        let failures = Failures::new(health.clone(), metrics.clone());
        let limits = Arc::new(Limits::new(&config.limits));
        limits.forget_regularly(life);
        let games = Games::start(
            pool.clone(),
            nats.client.clone(),
            failures.clone(),
            metrics.clone(),
            config.limits.challenges,
            life,
        );
        let cursors = Cursors::new(Arc::new(config.keys.clone()));
        let gateway = Gateway::start(Parts {
            pool: pool.clone(),
            games: games.clone(),
            events: nats.events.clone(),
            link: Link::new(nats.connected()),
            cursors: cursors.clone(),
            metrics: metrics.clone(),
            life: life.clone(),
            config: config.gateway.clone(),
            instance: config.instance.clone(),
        });
        Ok(Arc::new(Self {
            credentials: Credentials::new(config.keys.clone(), config.credentials, clock),
            players: Players::new(pool.clone(), failures.clone()),
            games,
            gateway,
            cursors,
            config,
            pool,
            nats,
            limits,
            metrics,
            health,
            failures,
            life: life.clone(),
        }))
    }
}
