//! Relays join, drain and crash under load; the shards spread evenly, and else do not move.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::bed::{Bed, Brokers};
use super::spread::Spread;
use super::{Outcome, Plan};
use crate::load::Latencies;

/// From a join, drain or crash to an even spread.
const EVEN_WITHIN: Duration = Duration::from_secs(2);
/// How long is looked whether leases move while nobody joins or leaves: ten renewals of each.
const STABLE_FOR: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Drain,
    Crash,
    Join,
}

impl Change {
    const ALL: [Self; 3] = [Self::Drain, Self::Crash, Self::Join];

    fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain of a relay",
            Self::Crash => "crash of a relay",
            Self::Join => "join of a relay",
        }
    }
}

pub(super) async fn run(plan: &Plan) -> Result<Outcome> {
    let mut bed = Bed::start(plan, Brokers::ONE, &[]).await?;
    bed.produce_at(u64::MAX, plan.pace);
    hold_still(&mut bed).await?;
    let mut taken: Vec<(Change, Duration)> = Vec::new();
    for round in 0..plan.strikes as usize {
        let nth = round % plan.relays;
        for change in [Change::Drain, Change::Join, Change::Crash, Change::Join] {
            let took = put(&bed, change, nth, plan.relays).await?;
            bed.struck(change.name());
            taken.push((change, took));
            hold_still(&mut bed).await?;
        }
    }
    bed.stop_producing();
    for change in Change::ALL {
        report(&mut bed, change, &taken);
    }
    bed.judge().await
}

fn report(bed: &mut Bed, change: Change, taken: &[(Change, Duration)]) {
    let of = taken.iter().filter(|(of, _)| *of == change);
    let times = Latencies::new(of.map(|(_, took)| *took).collect());
    let (name, longest) = (change.name(), times.percentile(100));
    bed.measured.push(format!(
        "{name}: shards spread evenly after {} ms, at most {} ms",
        times.percentile(50).as_millis(),
        longest.as_millis()
    ));
    if longest > EVEN_WITHIN {
        bed.too_slow.push(format!(
            "{name}: shards spread evenly only after {} ms",
            longest.as_millis()
        ));
    }
}

/// Puts the change; gives how long it takes until the spread is even again.
async fn put(bed: &Bed, change: Change, nth: usize, relays: usize) -> Result<Duration> {
    let (begun, relay) = (Instant::now(), &bed.relays.relays[nth]);
    let left = match change {
        Change::Drain => {
            relay.end().await;
            relays - 1
        }
        Change::Crash => {
            relay.kill_and_hold().await;
            relays - 1
        }
        Change::Join => {
            relay.start_again().await?;
            relays
        }
    };
    bed.until_even(left).await?;
    Ok(begun.elapsed())
}

/// Nobody joins or leaves: no lease may move, but where its owner was kept from renewing it.
async fn hold_still(bed: &mut Bed) -> Result<()> {
    let (begun, mut before) = (Instant::now(), Spread::now(&bed.pool).await?);
    while begun.elapsed() < STABLE_FOR {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Spread::now(&bed.pool).await?;
        let (lapsed, given_up): (Vec<_>, Vec<_>) = now
            .moved_since(&before)
            .into_iter()
            .partition(|shard| now.can_have_lapsed_since(&before, *shard));
        if !given_up.is_empty() {
            bed.breaches.push(format!(
                "the shards {given_up:?} changed hands although nobody joined or left"
            ));
            break;
        }
        if !lapsed.is_empty() {
            bed.too_slow.push(format!(
                "the leases of {lapsed:?} lapsed although their owner was alive"
            ));
            break;
        }
        before = now;
    }
    Ok(())
}
