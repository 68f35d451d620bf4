//! A cluster of three nodes that loses its leader, again and again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream;
use futures_util::future::join_all;

use super::bed::{Bed, Brokers};
use super::{Outcome, Plan};
use crate::outbox::{STREAM, differing_copies};
use crate::supervisor::{Replicas, connect_nats};

/// Nodes, and copies of the stream.
const NODES: usize = 3;
/// An election, or a node that catches up with what it has missed, takes less.
const PATIENCE: Duration = Duration::from_mins(2);
/// A question to a leader that has just died has no answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(plan: &Plan) -> Result<Outcome> {
    let mut bed = Bed::start(plan, Brokers::cluster(NODES), &[("EVENTS_REPLICAS", "3")]).await?;
    let client = connect_nats(&bed.relays.nats_addresses.auditor_url).await?;
    let mut context = jetstream::new(client.clone());
    context.set_timeout(ANSWER_TIMEOUT);
    // For as long as there are leaders to kill, and then until there are as many as are wanted.
    bed.produce_at(u64::MAX, plan.pace);
    let mut elections = Vec::new();
    for strike in 1..=u64::from(plan.strikes) {
        bed.until_published(plan.events * strike / (u64::from(plan.strikes) + 1))
            .await?;
        // Two of three must have everything before the third goes: more no protocol survives.
        let led = until_all_are_whole(&bed, &context).await?;
        let node = leader(&bed, &led)?;
        let killed_at = Instant::now();
        bed.relays.nats[node].kill_and_hold().await;
        bed.struck("kill -9 of the stream's leader");
        until(&context, |replicas| replicas.leader != led.leader).await?;
        elections.push(killed_at.elapsed());
        let before = bed.published();
        bed.until_published(before + 1).await?;
        bed.relays.nats[node].start_again().await?;
    }
    until_all_are_whole(&bed, &context).await?;
    bed.until_published(plan.events).await?;
    bed.stop_producing();
    bed.until_drained().await?;
    // Nothing is written any more, no fence either.
    bed.until_even(plan.relays).await?;
    let whole = until_all_are_whole(&bed, &context).await;
    bed.doing("reading all copies of the stream");
    let nodes = bed.relays.nats.iter();
    let nodes: Vec<String> = nodes.map(|node| node.name().to_owned()).collect();
    let differing = differing_copies(&client, &nodes).await?;
    bed.breaches.extend(differing);
    if let Err(error) = whole {
        bed.breaches.push(error.to_string());
    }
    if let (Some(least), Some(most)) = (elections.iter().min(), elections.iter().max()) {
        bed.measured.push(format!(
            "another leader answered {:.1} to {:.1} s after the kill",
            least.as_secs_f32(),
            most.as_secs_f32()
        ));
    }
    bed.judge().await
}

/// Waits until every node has in its own copy all that the leader had a moment before, and calls
/// itself healthy.
async fn until_all_are_whole(bed: &Bed, context: &jetstream::Context) -> Result<Replicas> {
    let begun = Instant::now();
    loop {
        let led = until(context, |replicas| replicas.current == NODES).await?;
        let copies = bed.relays.nats_monitors.iter();
        let copies = join_all(copies.map(|node| node.last_seq(STREAM))).await;
        let is_whole = |copy: &Result<u64>| copy.as_ref().is_ok_and(|last| *last >= led.last_seq);
        if copies.iter().all(is_whole) {
            return Ok(led);
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "the nodes do not come up to each other: {led:?}, {copies:?}"
        );
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn leader(bed: &Bed, replicas: &Replicas) -> Result<usize> {
    let mut nodes = bed.relays.nats.iter();
    nodes
        .position(|node| node.name() == replicas.leader)
        .with_context(|| format!("{} leads, and is none of the nodes", replicas.leader))
}

async fn until(
    context: &jetstream::Context,
    condition: impl Fn(&Replicas) -> bool,
) -> Result<Replicas> {
    let begun = Instant::now();
    loop {
        let replicas = Replicas::of(context, STREAM).await;
        match replicas {
            Ok(replicas) if condition(&replicas) => return Ok(replicas),
            seen if begun.elapsed() > PATIENCE => {
                bail!("the cluster does not come to itself: {seen:?}")
            }
            _ => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}
