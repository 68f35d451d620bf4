//! One game and very many watchers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::load::Latencies;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::ground::{Ground, append, sockets};
use crate::bench::Load;
use crate::bench::bare::{Bare, Kind};
use crate::bench::machine::cpu_of_tree;
use crate::bench::report::{Bound, Budget, Report};
use crate::bench::swarm::wire::Dial;
use crate::bench::swarm::{Manner, Swarm, Visitor, subscribe};

/// Who watch.
const WATCHERS: u64 = 10_000;
/// Events a second.
const PER_SECOND: u32 = 10;
/// Events of one measurement.
const EVENTS: u64 = 150;
/// Everything has come so long after the last event, or something is lost.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of what is appended.
const PAYLOAD_BYTES: usize = 40;
/// The head of a WebSocket frame of that length.
const HEAD_BYTES: u64 = 4;

/// What sending to all cost.
pub(super) struct Sent {
    per_core_second: f64,
    delays: Latencies,
    bytes: u64,
}

pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let watchers = usize::try_from(sockets(load.of(WATCHERS))?)?;
    report.section(format!(
        "one game, {watchers} watchers, {PER_SECOND} events/s"
    ));
    let plain = gateway(ground, watchers, 0).await?;
    let deaf = gateway(ground, watchers, 1).await?;
    let dir = ground.stack.run_dir().path();
    let bytes = plain.bytes + HEAD_BYTES;
    let bare = bare(dir, watchers, bytes).await?;
    report.figure("bytes of an event", bytes as f64, "bytes");
    let figure = |report: &mut Report, name: &str, sent: &Sent| {
        report.figure(name, sent.per_core_second, "deliveries/core-s");
        for percent in [50, 99] {
            let delay = sent.delays.percentile(percent).as_secs_f64() * 1e3;
            if sent.delays.count() > 0 {
                report.figure(format!("{name}, commit to client p{percent}"), delay, "ms");
            }
        }
    };
    figure(report, "gateway", &plain);
    figure(report, "gateway, one of them never reads", &deaf);
    figure(report, "bare TCP writer", &bare);
    report.budget(Budget {
        name: "one game: deliveries per core-second ÷ bare TCP".to_owned(),
        value: plain.per_core_second / bare.per_core_second,
        unit: "",
        must: Bound::AtLeast(0.5),
        aim: Bound::AtLeast(0.8),
    });
    report.budget(Budget {
        name: "the same with a reader that never reads ÷ without".to_owned(),
        value: deaf.per_core_second / plain.per_core_second,
        unit: "",
        must: Bound::AtLeast(0.9),
        aim: Bound::AtLeast(0.97),
    });
    Ok(())
}

async fn gateway(ground: &Ground, watchers: usize, deaf: usize) -> Result<Sent> {
    let game = ground.games(0, "turn-log", 1).await?[0];
    let mut swarm = Swarm::default();
    let visitor = |nth: usize| Visitor {
        dial: ground.dial(0, nth, None),
        hello: subscribe(game, None),
        manner: if nth < deaf {
            Manner::Deaf
        } else {
            Manner::Frames
        },
    };
    swarm.join((0..watchers).map(visitor)).await?;
    let readers = (watchers - deaf) as u64;
    swarm.subscribed(readers).await?;
    let pid = ground.pid(0)?;
    let before = cpu_of_tree(pid);
    publish(ground, game).await?;
    swarm.events(EVENTS * readers, DEADLINE).await?;
    let used = cpu_of_tree(pid).saturating_sub(before).as_secs_f64();
    Ok(Sent {
        per_core_second: (EVENTS * readers) as f64 / used,
        delays: swarm.tally.take_delays(),
        bytes: swarm
            .tally
            .event_bytes
            .load(std::sync::atomic::Ordering::Relaxed),
    })
}

/// Appends the events, at their rate, through the gateway that sends them.
async fn publish(ground: &Ground, game: Uuid) -> Result<()> {
    let api = ground.api(0);
    let action = append(&"x".repeat(PAYLOAD_BYTES));
    let mut tick = interval(Duration::from_secs(1) / PER_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for ply in 0..usize::try_from(EVENTS)? {
        tick.tick().await;
        ground.act(&api, game, ply, &action).await?;
    }
    Ok(())
}

/// The reference, for as many deliveries.
async fn bare(dir: &Path, watchers: usize, bytes: u64) -> Result<Sent> {
    let bare = Bare::start(dir, Kind::Tcp, usize::try_from(bytes)?, PER_SECOND).await?;
    let mut swarm = Swarm::default();
    let visitor = |nth: usize| Visitor {
        dial: Dial {
            to: bare.address,
            nth,
            path: None,
            bearer: None,
        },
        hello: [].into(),
        manner: Manner::Bytes(bytes),
    };
    swarm.join((0..watchers).map(visitor)).await?;
    let before = (cpu_of_tree(bare.pid()), swarm.tally.events());
    let begun = Instant::now();
    let wanted = before.1 + EVENTS * watchers as u64;
    swarm.events(wanted, DEADLINE * 2).await?;
    tracing::debug!("the bare writer took {:?}", begun.elapsed());
    let used = cpu_of_tree(bare.pid())
        .saturating_sub(before.0)
        .as_secs_f64();
    Ok(Sent {
        per_core_second: (swarm.tally.events() - before.1) as f64 / used,
        delays: Latencies::new(vec![]),
        bytes,
    })
}
