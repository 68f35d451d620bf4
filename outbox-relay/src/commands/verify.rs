//! `verify`.

use std::io::{self, Write};
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::progress::{self, SHARDS};
use super::repo::{Tally, tally};
use super::{CommandError, Found, Output, print_json};
use crate::config::Config;
use crate::error::RelayError;
use crate::identity::entity::Sighting;
use crate::identity::repo::{declare_lost, load};
use crate::metrics::Metrics;
use crate::stream::error::BrokerError;
use crate::verify::repo::unverified;
use crate::{connect, run_with};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn execute(config: Config, output: Output) -> Result<Found, CommandError> {
    let pool = connect(&config.database, super::CONNECTIONS)?;
    let before = tally(&pool).await?;
    let generation = raise_generation(&pool).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let life = Lifecycle::new();
    // A relay of its own, for the shards that no running one holds.
    let metrics = Metrics::new().map_err(RelayError::from)?;
    let relay = run_with(config, listener, life.clone(), metrics.clone());
    let waiting = wait(&pool, &metrics, output);
    tokio::pin!(relay);
    tokio::select! {
        ended = &mut relay => {
            ended?;
            return Err(BrokerError::Away("the verification was interrupted".to_owned()).into());
        }
        waited = waiting => waited?,
    }
    life.drain();
    relay.await?;
    let after = tally(&pool).await?;
    let came_to = Tally {
        republished: after.republished - before.republished,
        settled: after.settled - before.settled,
        moved: after.moved - before.moved,
        unknown: after.unknown - before.unknown,
    };
    if output.json {
        print_json(&serde_json::json!({ "generation": generation, "events": came_to }))?;
    } else {
        let Tally {
            republished,
            settled,
            moved,
            unknown,
        } = came_to;
        writeln!(
            io::stdout().lock(),
            "verified: {republished} events published again, {settled} found published already,\n\
             {moved} recorded at their new place, {unknown} in the stream and not in the database"
        )?;
    }
    Ok(if came_to.unknown == 0 {
        Found::Well
    } else {
        Found::Attention
    })
}

/// From now on no shard publishes before it is verified.
async fn raise_generation(pool: &PgPool) -> Result<i64, CommandError> {
    let known = load(pool).await?;
    if let Some(created) = known.stream_created {
        let seen = Sighting {
            created,
            last_seq: known.stream_last_seq,
        };
        declare_lost(pool, known.generation, &seen).await?;
    }
    Ok(load(pool).await?.generation)
}

async fn wait(pool: &PgPool, metrics: &Metrics, output: Output) -> Result<(), CommandError> {
    let progress = progress::over_shards(output);
    loop {
        let left = unverified(pool).await?.unsigned_abs();
        let seen = load(pool).await?.stream_created.is_some();
        progress.set_position(SHARDS.saturating_sub(left));
        // What other relays read is not seen here.
        let read = metrics.verify_scanned.get();
        progress.set_message(format!("{read} messages of the stream read here"));
        // Nothing is said of a stream that no relay has seen.
        if seen && left == 0 {
            progress.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
