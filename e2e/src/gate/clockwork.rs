//! Lets a clock run out without waiting for it: in the database, whose clock alone decides, whoever
//! is to move has thought until now. Everything after that is the services' own doing.

use anyhow::{Result, bail};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row as _};

/// More would only wait for each other.
const CONNECTIONS_MAX: u32 = 4;

/// The games' rows, as an operator could reach them.
#[derive(Clone, Debug)]
pub(super) struct Clockwork(PgPool);

impl Clockwork {
    /// Reaches them.
    pub(super) async fn connect(database_url: &str) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX);
        Ok(Self(pool.connect(database_url).await?))
    }

    /// The running clock of a game has run out just now.
    pub(super) async fn run_out(&self, game: &str) -> Result<()> {
        let set = sqlx::query(
            "update games set flag_at = statement_timestamp(),
                turn_started_at = turn_started_at - (flag_at - statement_timestamp())
            where shard = fogline_shard('game.' || $1) and id = $1::uuid and flag_at is not null",
        );
        let set = set.bind(game).execute(&self.0).await?;
        if set.rows_affected() != 1 {
            bail!("no clock runs in game {game}");
        }
        Ok(())
    }

    /// When a game was made, microseconds since 1970: where it stands in lists.
    pub(super) async fn made_us(&self, game: &str) -> Result<i64> {
        let row = sqlx::query(
            "select (extract(epoch from created_at) * 1000000)::bigint as us from games
            where shard = fogline_shard('game.' || $1) and id = $1::uuid",
        );
        Ok(row.bind(game).fetch_one(&self.0).await?.try_get("us")?)
    }
}
