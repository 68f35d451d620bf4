//! Relays killed, and frozen past their leases; and the broker with them.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream;
use futures_util::future::join_all;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::bed::{Bed, Brokers};
use super::{Outcome, Plan};
use crate::outbox::{Counters, STREAM};
use crate::supervisor::{Child, NatsAddresses, connect_nats};

/// Between two kills.
const KILL_EVERY: Duration = Duration::from_secs(1);
/// Every so many kills, another relay is frozen.
const KILLS_A_FREEZE: u64 = 5;
/// It stays frozen for so many kills: twice the 1.5 s that a lease lasts.
const KILLS_FROZEN: u64 = 3;
/// Every so many kills, the broker is killed and started again at once.
const KILLS_A_BROKER: u64 = 4;
/// The shortest window of de-duplication that the server takes.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);
/// How long the stream keeps an event: not longer than the database.
const MAX_AGE: Duration = Duration::from_hours(72);
/// How long all relays are away: longer than that window, and than a lease.
const AWAY: Duration = Duration::from_secs(2);

/// A relay that was frozen, and when it is to be thawed.
struct Zombie {
    nth: usize,
    until_kill: u64,
    held_shards: bool,
}

/// One killed every second, one frozen past its lease every five seconds, until all is published.
pub(super) async fn run(plan: &Plan) -> Result<Outcome> {
    let bed = Bed::start(plan, Brokers::ONE, &[]).await?;
    strike(bed, plan, None).await?.judge().await
}

/// The same with few events at a time, published one by one, and with kills of the broker.
pub(super) async fn trickle(plan: &Plan) -> Result<Outcome> {
    let singly = [("OUTBOX_ANNOUNCE", "always")];
    let bed = Bed::start(plan, Brokers::ONE, &singly).await?;
    let bed = strike(bed, plan, Some(KILLS_A_BROKER)).await?;
    let mut outcome = bed.judge().await?;
    let (announced, published) = (outcome.counters.announced, outcome.counters.published);
    outcome.measured.push(format!(
        "of {published} events that were counted, {announced} were published one by one"
    ));
    if announced == 0 {
        outcome
            .breaches
            .push("no event was published one by one".to_owned());
    }
    Ok(outcome)
}

/// Strikes until all is published. The broker is killed every so many kills of relays, if at all.
async fn strike(mut bed: Bed, plan: &Plan, kills_a_broker: Option<u64>) -> Result<Bed> {
    bed.produce();
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut zombie: Option<Zombie> = None;
    let mut tick = tokio::time::interval(KILL_EVERY);
    tick.tick().await;
    let mut kill = 0;
    while !bed.is_drained() {
        tokio::select! {
            _ = tick.tick() => {}
            drained = bed.until_drained() => {
                drained?;
                break;
            }
        }
        kill += 1;
        if zombie
            .as_ref()
            .is_some_and(|zombie| zombie.until_kill <= kill)
        {
            thaw(&mut bed, zombie.take()).await;
        }
        if kill % KILLS_A_FREEZE == 1 {
            zombie = Some(freeze(&mut bed, &mut random, kill).await);
        }
        let living: Vec<usize> = (0..plan.relays)
            .filter(|nth| zombie.as_ref().is_none_or(|zombie| zombie.nth != *nth))
            .collect();
        if let Some(victim) = living.choose(&mut random) {
            bed.remember_counters(*victim).await;
            bed.relays.relays[*victim].kill().await;
            bed.struck("kill -9 of a relay");
        }
        if kills_a_broker.is_some_and(|every| kill % every == 0) {
            bed.relays.nats[0].kill_and_hold().await;
            bed.relays.nats[0].start_again().await?;
            bed.struck("kill -9 of the broker");
        }
    }
    thaw(&mut bed, zombie.take()).await;
    Ok(bed)
}

async fn freeze(bed: &mut Bed, random: &mut StdRng, kill: u64) -> Zombie {
    let all: Vec<usize> = (0..bed.relays.relays.len()).collect();
    let nth = all.choose(random).copied().unwrap_or_default();
    let counters = Counters::scrape(bed.relays.ops(nth))
        .await
        .unwrap_or_default();
    bed.relays.relays[nth].freeze().await;
    bed.struck("freeze of a relay past its lease");
    Zombie {
        nth,
        until_kill: kill + KILLS_FROZEN,
        held_shards: counters.shards_owned > 0,
    }
}

async fn thaw(bed: &mut Bed, zombie: Option<Zombie>) {
    let Some(zombie) = zombie else { return };
    bed.relays.relays[zombie.nth].thaw().await;
    if zombie.held_shards {
        bed.struck("return of a zombie that had shards");
    }
}

/// All relays killed at once, again and again, and away for longer than the broker remembers ids.
pub(super) async fn all_at_once(plan: &Plan) -> Result<Outcome> {
    let mut bed = Bed::prepare(plan, Brokers::ONE, &[]).await?;
    make_stream(&bed.relays.nats_addresses).await?;
    bed.relays.start_relays().await?;
    bed.until_even(plan.relays).await?;
    bed.produce();
    for strike in 1..=u64::from(plan.strikes) {
        bed.until_published(plan.events * strike / (u64::from(plan.strikes) + 1))
            .await?;
        for nth in 0..plan.relays {
            bed.remember_counters(nth).await;
        }
        let relays = &bed.relays.relays;
        join_all(relays.iter().map(Child::kill_and_hold)).await;
        tokio::time::sleep(AWAY).await;
        let started = join_all(relays.iter().map(Child::start_again)).await;
        started.into_iter().collect::<Result<Vec<()>>>()?;
        bed.struck("kill -9 of all relays, away for 2 s");
    }
    bed.judge().await
}

/// The stream as a relay makes it, but for the window.
async fn make_stream(nats: &NatsAddresses) -> Result<()> {
    let client = connect_nats(&nats.auditor_url).await?;
    jetstream::new(client)
        .create_stream(jetstream::stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["events.>".to_owned()],
            duplicate_window: DUPLICATE_WINDOW,
            max_age: MAX_AGE,
            allow_atomic_publish: true,
            allow_rollup: true,
            allow_message_ttl: true,
            allow_direct: true,
            deny_delete: true,
            ..Default::default()
        })
        .await
        .map(|_| ())
        .context("the stream cannot be made")
}
