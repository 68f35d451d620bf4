//! Published rows stay findable for a while and then go with their time partition, dropped whole;
//! the next partitions are made ahead.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::error::database_sentence;

/// Between two looks. Partitions are six hours long and made eighteen ahead.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// Makes and drops partitions until `stop`. An error only delays: what has no partition goes to the
/// default one.
pub async fn run(pool: PgPool, keep: Duration, stop: CancellationToken) {
    loop {
        match roll(&pool, keep).await {
            Ok((0, 0)) => {}
            Ok((made, dropped)) => {
                tracing::info!(
                    partitions.made = made,
                    partitions.dropped = dropped,
                    "rolled the partitions of published rows"
                );
            }
            Err(error) => {
                tracing::warn!("partitions were not rolled: {}", database_sentence(&error));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Makes the partitions that will be needed, and drops those whose every row is older than `keep`;
/// gives how many of each.
pub async fn roll(pool: &PgPool, keep: Duration) -> sqlx::Result<(i32, i32)> {
    let seconds = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let rolled = sqlx::query!(
        r#"select made as "made!", dropped as "dropped!"
           from outbox_roll_partitions($1::bigint * interval '1 second')"#,
        seconds
    )
    .fetch_one(pool)
    .await?;
    Ok((rolled.made, rolled.dropped))
}
