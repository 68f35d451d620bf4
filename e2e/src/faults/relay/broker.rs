//! The broker frozen, and killed.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::bed::{Bed, Brokers};
use super::{Outcome, Plan};

/// How long a killed broker stays down.
const DOWN: Duration = Duration::from_secs(3);

/// Frozen in the middle of the load: connections stand, and nobody answers.
pub(super) async fn frozen(plan: &Plan) -> Result<Outcome> {
    let mut bed = Bed::start(plan, Brokers::ONE, &[]).await?;
    bed.produce();
    for strike in 1..=u64::from(plan.strikes) {
        bed.until_published(share(plan, strike)).await?;
        bed.relays.nats[0].freeze().await;
        bed.struck("freeze of the broker");
        bed.doing("the broker is frozen");
        tokio::time::sleep(plan.freeze).await;
        bed.relays.nats[0].thaw().await;
        bed.doing("publishing");
        recovered(&mut bed, &format!("after {:?} frozen", plan.freeze)).await?;
    }
    bed.judge().await
}

/// `kill -9` in the middle of the load, and back after some seconds.
pub(super) async fn killed(plan: &Plan) -> Result<Outcome> {
    let mut bed = Bed::start(plan, Brokers::ONE, &[]).await?;
    bed.produce();
    for strike in 1..=u64::from(plan.strikes) {
        bed.until_published(share(plan, strike)).await?;
        bed.relays.nats[0].kill_and_hold().await;
        bed.struck("kill -9 of the broker, back after 3 s");
        tokio::time::sleep(DOWN).await;
        bed.relays.nats[0].start_again().await?;
        recovered(&mut bed, &format!("after {DOWN:?} down")).await?;
    }
    bed.judge().await
}

/// After how many events the strike comes: all of them evenly within the load.
fn share(plan: &Plan, strike: u64) -> u64 {
    plan.events * strike / (u64::from(plan.strikes) + 1)
}

/// Measures how long it takes until something is published again.
async fn recovered(bed: &mut Bed, after: &str) -> Result<()> {
    let (back, before) = (Instant::now(), bed.published());
    bed.until_published(before + 1).await?;
    let took = back.elapsed().as_secs_f32();
    bed.measured
        .push(format!("{after}, events were published {took:.1} s later"));
    Ok(())
}
