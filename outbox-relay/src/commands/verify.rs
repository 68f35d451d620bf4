//! `verify`.

use std::io::{self, Write};
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::repo::{Tally, tally};
use super::{CommandError, Found, Output, print_json};
use crate::config::Config;
use crate::identity::repo::{Sighting, declare_lost, load};
use crate::stream::error::BrokerError;
use crate::verify::repo::unverified;
use crate::{connect, run};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Shards, all of which must pass.
const SHARDS: u64 = 64;

pub(super) async fn execute(config: Config, output: Output) -> Result<Found, CommandError> {
    let pool = connect(&config.database, super::CONNECTIONS)?;
    let before = tally(&pool).await?;
    let generation = raise_generation(&pool).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let life = Lifecycle::new();
    // A relay of its own, for the shards that no running one holds.
    let relay = run(config, listener, life.clone());
    let waiting = wait(&pool, output);
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

async fn wait(pool: &PgPool, output: Output) -> Result<(), CommandError> {
    let progress = super::replay::progress(output);
    progress.set_length(SHARDS);
    loop {
        let left = unverified(pool).await?.unsigned_abs();
        progress.set_position(SHARDS.saturating_sub(left));
        progress.set_message(format!("{left} of {SHARDS} shards left"));
        if left == 0 {
            progress.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
