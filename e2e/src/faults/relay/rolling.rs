//! Relays restarted one after the other, as a deployment does it.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::PgPool;

use super::bed::{Bed, Brokers};
use super::{Outcome, Plan};
use crate::load::Latencies;
use crate::outbox::{Counters, Pace, Wait};

/// What is produced between two restarts: as a look at how it is without them.
const EVENTS_BETWEEN: u64 = 2000;
/// Between two looks at what waits.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// From commit to the stream, of the events appended while shards change hands.
const GAP_P99_MAX: Duration = Duration::from_millis(250);

/// From SIGTERM to one relay until all shards are spread evenly again, over the others and then
/// with its successor, and nothing waits any more that was appended before that: microseconds since
/// 1970, by the database's clock.
#[derive(Clone, Copy, Debug)]
struct HandOver {
    begun_us: i64,
    ended_us: i64,
}

impl HandOver {
    fn covers(&self, wait: &Wait) -> bool {
        (self.begun_us..=self.ended_us).contains(&wait.created_us)
    }
}

pub(super) async fn run(plan: &Plan) -> Result<Outcome> {
    let mut bed = Bed::start(plan, Brokers::AS_DEPLOYED, &[]).await?;
    bed.produce_at(u64::MAX, plan.pace);
    let between = match plan.pace {
        Pace::Rate { per_second } => EVENTS_BETWEEN.min(u64::from(per_second)),
        Pace::Backlog { .. } => EVENTS_BETWEEN,
    };
    let mut hand_overs = Vec::new();
    for _ in 0..plan.strikes {
        for nth in 0..plan.relays {
            let before = bed.published();
            bed.until_published(before + between).await?;
            let begun_us = now_us(&bed.pool).await?;
            bed.relays.relays[nth].end().await;
            bed.struck("SIGTERM to a relay");
            bed.until_even(plan.relays - 1).await?;
            bed.relays.relays[nth].start_again().await?;
            bed.until_even(plan.relays).await?;
            let even_us = now_us(&bed.pool).await?;
            until_published(&bed.pool, even_us).await?;
            let ended_us = now_us(&bed.pool).await?;
            hand_overs.push(HandOver { begun_us, ended_us });
        }
    }
    bed.stop_producing();
    bed.until_drained().await?;
    let lives = bed.remember_last_lines()?;
    let restarts = u64::from(plan.strikes) * plan.relays as u64;
    if lives != restarts {
        bed.breaches.push(format!(
            "{restarts} relays were asked to end, and {lives} said that they did"
        ));
    }
    let mut outcome = bed.judge().await?;
    let Counters {
        fenced,
        duplicates_prevented,
        ..
    } = outcome.counters;
    if fenced + duplicates_prevented > 0 {
        outcome.breaches.push(format!(
            "{fenced} batches were fenced and {duplicates_prevented} duplicates prevented, where \
             relays handed over in order"
        ));
    }
    measure(&mut outcome, &hand_overs);
    Ok(outcome)
}

/// The gap: from an event's append to its place in the stream, by the clocks of database and broker,
/// which are one machine's. The append is before the commit, so the gap is a little overstated.
fn measure(outcome: &mut Outcome, hand_overs: &[HandOver]) {
    let (during, else_): (Vec<Wait>, Vec<Wait>) = outcome
        .verdict
        .waits
        .iter()
        .partition(|wait| hand_overs.iter().any(|one| one.covers(wait)));
    let of = |waits: &[Wait]| Latencies::new(waits.iter().map(|wait| wait.took).collect());
    let (during, else_) = (of(&during), of(&else_));
    let say = |what: &str, latencies: &Latencies| {
        format!(
            "commit to stream {what}: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms, over {} events",
            latencies.percentile(50).as_secs_f64() * 1e3,
            latencies.percentile(99).as_secs_f64() * 1e3,
            latencies.percentile(100).as_secs_f64() * 1e3,
            latencies.count()
        )
    };
    outcome.measured.push(say("during hand-overs", &during));
    outcome.measured.push(say("otherwise", &else_));
    if during.percentile(99) > GAP_P99_MAX {
        outcome.too_slow.push(format!(
            "the gap's p99 during hand-overs is above {GAP_P99_MAX:?}"
        ));
    }
}

/// Until nothing waits that was appended before a moment: whoever leads a shard publishes it.
async fn until_published(pool: &PgPool, moment_us: i64) -> Result<()> {
    loop {
        let waits: bool = sqlx::query_scalar(
            "select exists (select from outbox_events
                            where extract(epoch from created_at) * 1000000 <= $1)",
        )
        .bind(moment_us)
        .fetch_one(pool)
        .await
        .context("what waits cannot be read")?;
        if !waits {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn now_us(pool: &PgPool) -> Result<i64> {
    sqlx::query_scalar("select (extract(epoch from statement_timestamp()) * 1000000)::bigint")
        .fetch_one(pool)
        .await
        .context("the database's clock cannot be read")
}
