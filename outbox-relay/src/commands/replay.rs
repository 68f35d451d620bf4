//! `replay`.

use std::io::{self, Write};
use std::time::Duration;

use shared::shard::Shard;
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::repo::{Place, published};
use super::{CommandError, Found, Output, print_json, progress};
use crate::batch::message::{message_of, source_of};
use crate::config::BrokerConfig;
use crate::identity::repo::load;
use crate::stream::broker::Broker;
use crate::stream::error::BrokerError;

/// What replayed events are published under, before their own subject.
const REPLAY_PREFIX: &str = "replay";
/// The header that marks them.
const REPLAY_HEADER: &str = "fogline-replay";
/// Rows read at once.
const ROWS_AT_ONCE: i64 = 500;
/// Waiting for the broker to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(10);

pub(super) async fn execute(
    pool: &PgPool,
    broker: &BrokerConfig,
    key: Option<String>,
    since: Option<String>,
    output: Output,
) -> Result<Found, CommandError> {
    let since = since
        .map(|text| OffsetDateTime::parse(&text, &Rfc3339))
        .transpose()
        .map_err(|error| CommandError::BadArgument(format!("--since: {error}")))?;
    let broker = connect(broker).await?;
    let source = source_of(load(pool).await?.outbox);
    let shards: Vec<Shard> = match &key {
        Some(key) => vec![Shard::of_key(key)],
        None => Shard::all().collect(),
    };
    let progress = progress::over_shards(output);
    progress.set_length(shards.len() as u64);
    let mut sent = 0_u64;
    for shard in shards {
        let mut place = Place {
            generation: -1,
            seq: 0,
        };
        loop {
            let rows = published(pool, shard, key.as_deref(), since, place, ROWS_AT_ONCE).await?;
            let Some((_, last)) = rows.last() else { break };
            place = *last;
            for (row, _) in &rows {
                let (mut message, _) = message_of(row, &source);
                message.headers.insert(REPLAY_HEADER, "true");
                let subject = format!("{REPLAY_PREFIX}.{}", message.subject);
                broker
                    .client
                    .publish_with_headers(subject, message.headers, message.payload)
                    .await
                    .map_err(|error| BrokerError::Away(error.to_string()))?;
                sent += 1;
            }
            broker
                .client
                .flush()
                .await
                .map_err(|error| BrokerError::Away(error.to_string()))?;
            progress.set_message(format!("{sent} events sent"));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    if output.json {
        print_json(&serde_json::json!({ "replayed": sent }))?;
    } else {
        writeln!(
            io::stdout().lock(),
            "replayed {sent} events under {REPLAY_PREFIX}.>"
        )?;
    }
    Ok(Found::Well)
}

async fn connect(config: &BrokerConfig) -> Result<Broker, CommandError> {
    let broker = Broker::connect(config, "outbox-relay replay").await?;
    let mut link = broker.link.clone();
    let up = tokio::time::timeout(CONNECT_MAX, link.wait_for(|link| link.up)).await;
    if !matches!(up, Ok(Ok(_))) {
        return Err(BrokerError::Away("it cannot be reached".to_owned()).into());
    }
    Ok(broker)
}
