//! Very many games of two sockets each.
//!
//! The events come over NATS, as a relay would publish them, and from nowhere else: what is measured
//! is what a gateway spends on bringing the moves of other instances to its own clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::client::protocol::move_action;
use e2e::load::Latencies;
use e2e::supervisor::connect_nats;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::ground::{Ground, sockets};
use crate::bench::bare::{Bare, Kind};
use crate::bench::machine::cpu_of_tree;
use crate::bench::report::{Bound, Budget, Report};
use crate::bench::swarm::tally::now;
use crate::bench::swarm::wire::Dial;
use crate::bench::swarm::{Manner, Swarm, Visitor, subscribe};
use crate::bench::{Load, rig};

/// Games.
const GAMES: u64 = 5_000;
/// Events a second, of all games together.
const PER_SECOND: u64 = 5_000;
/// How long they come.
const SECONDS: u64 = 12;
/// Events go out in pieces: timers are not finer.
const TICK: Duration = Duration::from_millis(2);
/// Everything has come so long after the last event, or something is lost.
const DEADLINE: Duration = Duration::from_secs(30);
/// The moves that every game consists of, again and again: the gateway shows what it is told, and
/// it is told of a fair share of empty and of occupied squares.
const MOVES: [&str; 4] = ["b1c3", "b8c6", "c3b1", "c6b8"];

/// What sending to all cost.
struct Sent {
    cpu_micros: f64,
    delays: Latencies,
    bytes: u64,
}

pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let games = usize::try_from(sockets(2 * load.of(GAMES))? / 2)?;
    let per_second = load.of(PER_SECOND);
    report.section(format!(
        "{games} games of two sockets, {per_second} events/s"
    ));
    let gateway = gateway(ground, games, per_second).await?;
    let dir = ground.stack.run_dir().path();
    let bare = bare(dir, games, per_second, gateway.bytes).await?;
    report.figure("bytes of an event", gateway.bytes as f64, "bytes");
    report.figure("gateway", gateway.cpu_micros, "µs/delivery");
    report.figure("bare WebSocket", bare.cpu_micros, "µs/delivery");
    for percent in [50, 99] {
        let delay = gateway.delays.percentile(percent).as_secs_f64() * 1e3;
        report.figure(format!("NATS to client, p{percent}"), delay, "ms");
    }
    report.budget(Budget {
        name: "games of two: CPU per delivery ÷ bare WebSocket".to_owned(),
        value: gateway.cpu_micros / bare.cpu_micros,
        unit: "",
        must: Bound::AtMost(2.0),
        aim: Bound::AtMost(1.3),
    });
    Ok(())
}

async fn gateway(ground: &Ground, games: usize, per_second: u64) -> Result<Sent> {
    let script = Script::record(ground).await?;
    let games = ground.games(0, "fog-chess", games).await?;
    let mut swarm = Swarm::default();
    let visitors = (0..games.len() * 2).map(|nth| Visitor {
        dial: ground.dial(0, nth, Some(nth % 2)),
        hello: subscribe(games[nth / 2], None),
        manner: Manner::Frames,
    });
    swarm.join(visitors).await?;
    swarm.subscribed(games.len() as u64 * 2).await?;
    let pid = ground.pid(0)?;
    let before = cpu_of_tree(pid);
    let events = script.publish(ground, &games, per_second).await?;
    swarm.events(events * 2, DEADLINE).await?;
    let used = cpu_of_tree(pid).saturating_sub(before);
    Ok(Sent {
        cpu_micros: used.as_secs_f64() * 1e6 / (events * 2) as f64,
        delays: swarm.tally.take_delays(),
        bytes: swarm
            .tally
            .event_bytes
            .load(std::sync::atomic::Ordering::Relaxed),
    })
}

async fn bare(dir: &Path, games: usize, per_second: u64, bytes: u64) -> Result<Sent> {
    let rate = u32::try_from(per_second)?;
    let bare = Bare::start(dir, Kind::Ws, usize::try_from(bytes)?, rate).await?;
    let mut swarm = Swarm::default();
    let visitors = (0..games * 2).map(|nth| Visitor {
        dial: Dial {
            to: bare.address,
            nth,
            path: Some(Arc::from(format!("/room/{}", nth / 2))),
            bearer: None,
        },
        hello: subscribe(Uuid::nil(), None),
        manner: Manner::Frames,
    });
    swarm.join(visitors).await?;
    swarm.subscribed(games as u64 * 2).await?;
    let before = (cpu_of_tree(bare.pid()), swarm.tally.events());
    let wanted = before.1 + per_second * SECONDS * 2;
    swarm.events(wanted, DEADLINE * 2).await?;
    let used = cpu_of_tree(bare.pid()).saturating_sub(before.0);
    let events = swarm.tally.events() - before.1;
    Ok(Sent {
        cpu_micros: used.as_secs_f64() * 1e6 / events as f64,
        delays: Latencies::new(vec![]),
        bytes,
    })
}

/// An event's message, as the database makes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Message {
    game_id: Uuid,
    seq: u64,
    event_id: Uuid,
    kind: String,
    by: Option<String>,
    at_ms: u64,
    n: [u64; 3],
    white_ms: Option<i64>,
    black_ms: Option<i64>,
    running: Option<String>,
    data: Box<RawValue>,
}

/// The messages of a game's moves, as they once were.
struct Script(Vec<Message>);

impl Script {
    /// Plays the moves in a game of their own, and takes the messages from the outbox, which no
    /// relay empties here.
    async fn record(ground: &Ground) -> Result<Self> {
        let game = ground.games(0, "fog-chess", 1).await?[0];
        let api = ground.api(0);
        for (ply, uci) in MOVES.iter().enumerate() {
            ground.act(&api, game, ply, &move_action(uci)).await?;
        }
        let pool = rig::database(&ground.stack).await?;
        let payloads: Vec<String> = sqlx::query_scalar(
            "select payload::text from outbox_events where key = 'game.' || $1 and type = $2 order by id",
        )
        .bind(game.to_string())
        .bind("fogline.game.moved.v1")
        .fetch_all(&pool)
        .await
        .context("the outbox")?;
        pool.close().await;
        let messages = payloads.iter().map(|payload| serde_json::from_str(payload));
        Ok(Self(messages.collect::<Result<_, _>>()?))
    }

    /// Publishes the moves to all games in turn, round after round; gives how many.
    async fn publish(&self, ground: &Ground, games: &[Uuid], per_second: u64) -> Result<u64> {
        let client = connect_nats(&ground.stack.nats_addresses.relay_url).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (total, mut sent) = (per_second * SECONDS, 0);
        let begun = tokio::time::Instant::now();
        while sent < total {
            tick.tick().await;
            let due = begun.elapsed().as_millis() * u128::from(per_second) / 1000;
            while sent < total && u128::from(sent) < due {
                let nth = usize::try_from(sent)?;
                let (round, game) = (nth / games.len(), games[nth % games.len()]);
                let payload = serde_json::to_vec(&self.message(round, game))?;
                client
                    .publish(format!("events.game.{game}"), payload.into())
                    .await?;
                sent += 1;
            }
            client.flush().await?;
        }
        Ok(sent)
    }

    /// The message of a game's move in a round.
    fn message(&self, round: usize, game: Uuid) -> Message {
        let first = &self.0[0];
        let ahead = round as u64;
        Message {
            game_id: game,
            seq: first.seq + ahead,
            n: first.n.map(|n| n + ahead),
            at_ms: u64::try_from(now().as_millis()).unwrap_or(0),
            ..self.0[round % self.0.len()].clone()
        }
    }
}
