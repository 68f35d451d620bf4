//! A gateway dies, and all its clients come to another one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::client::Answered;
use e2e::load::Latencies;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Method;
use serde::Deserialize;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ground::{Ground, append, sockets};
use crate::bench::bare::{Bare, Kind};
use crate::bench::report::{Bound, Budget, Report};
use crate::bench::swarm::wire::{Dial, Wire};
use crate::bench::swarm::{Manner, Visitor, subscribe};
use crate::bench::{Load, rig};

/// Sockets of the gateway that dies.
const SOCKETS: u64 = 10_000;
/// Sockets that watch one game.
const OF_A_GAME: usize = 10;
/// Calls, and connections being opened, at once.
const AT_ONCE: usize = 64;
/// Nobody is away for so long.
const DEADLINE: Duration = Duration::from_mins(1);
/// Postgres tells of a session's transactions at most so much later (`PGSTAT_IDLE_INTERVAL`).
const STATISTICS_DELAY: Duration = Duration::from_secs(11);
/// Bytes of an event of the bare server.
const BARE_BYTES: usize = 400;

pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let count = usize::try_from(sockets(load.of(SOCKETS))?)?;
    let games = count / OF_A_GAME;
    report.section(format!(
        "{count} sockets of a killed gateway, {OF_A_GAME} on each of {games} games"
    ));
    let pool = rig::database(&ground.stack).await?;
    let (back, queries) = gateway(ground, &pool, games).await?;
    pool.close().await;
    let bare = bare(ground.stack.run_dir().path(), count).await?;
    let seconds = |latencies: &Latencies, percent| latencies.percentile(percent).as_secs_f64();
    for percent in [50, 99, 100] {
        let name = format!("back and current, p{percent}");
        report.figure(name, seconds(&back, percent), "s");
    }
    report.figure(
        "back at a bare WebSocket server, p99",
        seconds(&bare, 99),
        "s",
    );
    let per_game = queries as f64 / games as f64;
    report.figure("database transactions", queries as f64, "");
    report.figure("database transactions a game watched", per_game, "");
    report.budget(Budget {
        name: "all sockets of a killed gateway back and current, p99".to_owned(),
        value: seconds(&back, 99),
        unit: "s",
        must: Bound::AtMost(2.0),
        aim: Bound::AtMost(0.7),
    });
    report.budget(Budget {
        name: "database transactions a game watched".to_owned(),
        value: per_game,
        unit: "",
        must: Bound::AtMost(4.0),
        aim: Bound::AtMost(2.1),
    });
    Ok(())
}

/// How long each socket was away, and what the database was asked meanwhile. While the first
/// gateway is frozen, every game gets an event through the second: it is what each client lacks.
async fn gateway(ground: &Ground, pool: &PgPool, games: usize) -> Result<(Latencies, i64)> {
    let games = ground.games(0, "turn-log", games).await?;
    let cursors = cursors(ground, &games).await?;
    let nth_game = |nth: usize| (nth / OF_A_GAME, games[nth / OF_A_GAME]);
    let travellers = (0..games.len() * OF_A_GAME).map(|nth| {
        let (at, game) = nth_game(nth);
        let visitor = |gateway, cursor: Option<&str>| Visitor {
            dial: ground.dial(gateway, nth, None),
            hello: subscribe(game, cursor),
            manner: Manner::Frames,
        };
        [visitor(0, None), visitor(1, Some(&cursors[at]))]
    });
    let mut crowd = Crowd::gather(travellers).await?;
    let (first, second) = (&ground.stack.gateways[0], ground.api(1));
    first.freeze().await;
    let action = append("while you were away");
    let appended = stream::iter(&games).map(|game| ground.act(&second, *game, 0, &action));
    let appended = appended.buffer_unordered(AT_ONCE);
    appended.try_collect::<Vec<()>>().await?;
    // What that has to tell of itself is told.
    tokio::time::sleep(STATISTICS_DELAY).await;
    let before = transactions(pool).await?;
    let begun = Instant::now();
    first.kill_and_hold().await;
    let back = crowd.all_back(begun).await?;
    tokio::time::sleep(STATISTICS_DELAY).await;
    let queries = transactions(pool).await? - before;
    first.start_again().await?;
    Ok((back, queries))
}

/// What is needed of a game's present state.
#[derive(Deserialize)]
struct Current {
    cursor: String,
}

/// Where a spectator of each game stands now.
async fn cursors(ground: &Ground, games: &[Uuid]) -> Result<Vec<String>> {
    let api = ground.api(0);
    let api = &api;
    let cursors = stream::iter(games).map(|game| async move {
        let path = format!("/v1/games/{game}");
        let current: Answered<Current> = api.call(Method::GET, &path, None, None).await?;
        anyhow::Ok(current.body.cursor)
    });
    cursors.buffered(AT_ONCE).try_collect().await
}

/// Transactions that the database has committed for the gateways.
async fn transactions(pool: &PgPool) -> Result<i64> {
    sqlx::query_scalar(
        "select xact_commit from pg_stat_database where datname = current_database()",
    )
    .fetch_one(pool)
    .await
    .context("the database's statistics")
}

/// The reference: a bare server dies, another sends one frame to each who comes.
async fn bare(dir: &Path, count: usize) -> Result<Latencies> {
    let first = Bare::start(dir, Kind::Ws, BARE_BYTES, 0).await?;
    let second = Bare::start(dir, Kind::Ws, BARE_BYTES, 0).await?;
    let addresses = [first.address, second.address];
    let travellers = (0..count).map(|nth| {
        addresses.map(|to| Visitor {
            dial: Dial {
                to,
                nth,
                path: Some(Arc::from(format!("/room/{}", nth / OF_A_GAME))),
                bearer: None,
            },
            hello: subscribe(Uuid::nil(), None),
            manner: Manner::Frames,
        })
    });
    let mut crowd = Crowd::gather(travellers).await?;
    let begun = Instant::now();
    drop(first);
    crowd.all_back(begun).await
}

/// Clients that go elsewhere when their server is gone; each gives when it was back and current.
struct Crowd {
    away: JoinSet<Result<(Instant, Wire)>>,
    /// They stay, as clients would: their going would be work for the server.
    back: Vec<Wire>,
}

impl Crowd {
    /// Opens all, and waits until each has had its answer.
    async fn gather(travellers: impl Iterator<Item = [Visitor; 2]>) -> Result<Self> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut opening = JoinSet::new();
        for [here, there] in travellers {
            let places = Arc::clone(&places);
            opening.spawn(async move {
                let _place = places.acquire_owned().await?;
                anyhow::Ok((arrive(&here, br#"{"type":"subscribed""#).await?, there))
            });
        }
        let mut away = JoinSet::new();
        while let Some(opened) = opening.join_next().await {
            let (wire, there) = opened??;
            away.spawn(travel(wire, there));
        }
        Ok(Self { away, back: vec![] })
    }

    async fn all_back(&mut self, begun: Instant) -> Result<Latencies> {
        let all = async {
            let mut away = Vec::new();
            while let Some(arrived) = self.away.join_next().await {
                let (at, wire) = arrived??;
                away.push(at.duration_since(begun));
                self.back.push(wire);
            }
            anyhow::Ok(Latencies::new(away))
        };
        tokio::time::timeout(DEADLINE, all)
            .await
            .context("not all sockets came back")?
    }
}

/// Stays until the server is gone, then goes to the other one and waits for the event it lacks.
async fn travel(mut wire: Wire, there: Visitor) -> Result<(Instant, Wire)> {
    while wire.receive(|_, _| {}).await {}
    drop(wire);
    let wire = arrive(&there, br#"{"type":"event""#).await?;
    Ok((Instant::now(), wire))
}

/// Opens, says hello, and waits for a message that begins so.
async fn arrive(visitor: &Visitor, awaited: &[u8]) -> Result<Wire> {
    let mut wire = Wire::open(&visitor.dial).await?;
    wire.send(&visitor.hello).await?;
    wire.until(awaited).await?;
    Ok(wire)
}
