//! From a move's commit to the opponent's socket, with the two players at different gateways.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::Client;
use e2e::load::Latencies;
use e2e::supervisor::connect_nats;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::ground::Ground;
use super::table::{Moved, Table};
use crate::bench::Load;
use crate::bench::report::{Bound, Budget, Report};

/// Games; each makes a move when its turn has come.
const GAMES: u64 = 250;
/// Moves a second, of all games together.
const PER_SECOND: u64 = 1_000;
/// How long.
const LASTING: Duration = Duration::from_secs(25);
/// Meanwhile connections open and caches fill.
const WARMING: Duration = Duration::from_secs(5);
/// Between two messages of the bare NATS hop.
const HOP_EVERY: Duration = Duration::from_millis(10);
/// One that has not come by then never does.
const HOP_MAX: Duration = Duration::from_secs(10);
/// Where they go.
const HOP_SUBJECT: &str = "events.hop";

/// How many games move how often, and for how long; the players of each at different gateways.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) games: u64,
    /// Moves, of all games together.
    pub(super) per_second: u64,
    pub(super) lasting: Duration,
    /// What is sent in the first seconds is not counted.
    pub(super) warming: Duration,
}

/// Games that are being played.
pub(super) struct Playing {
    games: JoinSet<Result<Vec<Moved>>>,
    begun: Instant,
}

impl Pace {
    /// Between two moves of a game.
    fn every(self) -> Duration {
        Duration::from_secs_f64(self.games as f64 / self.per_second as f64)
    }

    /// Games that have not begun.
    pub(super) async fn seat(self, ground: &Ground) -> Result<Vec<Table>> {
        let moves = usize::try_from(self.lasting.as_millis() / self.every().as_millis())?;
        Table::seat(ground, [0, 1], usize::try_from(self.games)?, moves).await
    }

    /// Has them played.
    pub(super) fn start(self, tables: Vec<Table>) -> Playing {
        let (begun, every) = (Instant::now(), self.every());
        let mut games = JoinSet::new();
        for (nth, table) in tables.into_iter().enumerate() {
            let first = begun + every.mul_f64(nth as f64 / self.games as f64);
            games.spawn(play(table, first, every, begun + self.warming));
        }
        Playing { games, begun }
    }
}

impl Playing {
    /// What became of the moves that count, once all are played.
    pub(super) async fn end(mut self) -> Result<Vec<Moved>> {
        let mut shown = Vec::new();
        while let Some(table) = self.games.join_next().await {
            shown.extend(table.context("a game's task")??);
        }
        Ok(shown)
    }
}

pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let pace = Pace {
        games: load.of(GAMES),
        per_second: load.of(PER_SECOND),
        lasting: LASTING,
        warming: WARMING,
    };
    report.section(format!(
        "{} moves/s in {} games, the players at different gateways",
        pace.per_second, pace.games
    ));
    let playing = pace.start(pace.seat(ground).await?);
    let begun = playing.begun;
    let nats = &ground.stack.nats_addresses;
    // One user may publish there, the other may listen.
    let (from, to) = (
        connect_nats(&nats.relay_url).await?,
        connect_nats(&nats.auditor_url).await?,
    );
    let hops = hops(&from, &to, begun + LASTING).await?;
    let shown = playing.end().await?;
    let took = begun.elapsed().saturating_sub(WARMING).as_secs_f64();
    report.figure("accepted", shown.len() as f64 / took, "moves/s");
    tell(report, &shown, &hops);
    Ok(())
}

/// Moves when it is time; what came to be due before `counted_from` is not counted.
async fn play(
    mut table: Table,
    first: Instant,
    every: Duration,
    counted_from: Instant,
) -> Result<Vec<Moved>> {
    let mut moves = Vec::new();
    for nth in 0.. {
        let due = first + every * nth;
        tokio::time::sleep_until(due.into()).await;
        match table.play().await? {
            Some(shown) if due >= counted_from => moves.push(shown),
            Some(_) => {}
            None => break,
        }
    }
    Ok(moves)
}

/// What a message takes from a client of NATS to another one, beside all that goes on.
async fn hops(from: &Client, to: &Client, until: Instant) -> Result<Latencies> {
    let mut subscriber = to.subscribe(HOP_SUBJECT).await?;
    let mut hop = async |nth: usize, patience| {
        from.publish(HOP_SUBJECT, nth.to_string().into()).await?;
        from.flush().await?;
        let came = async {
            while let Some(message) = subscriber.next().await {
                if message.payload == nth.to_string() {
                    return Ok(());
                }
            }
            bail!("NATS ended the subscription");
        };
        timeout(patience, came)
            .await
            .context("a message of the bare NATS hop is lost")?
    };
    // The subscription and the first message travel on two connections, in either order.
    let mut nth = 0;
    while hop(nth, HOP_EVERY).await.is_err() {
        anyhow::ensure!(Instant::now() < until, "nothing hops over NATS");
        nth += 1;
    }
    let mut taken = Vec::new();
    while Instant::now() < until {
        nth += 1;
        let sent = Instant::now();
        hop(nth, HOP_MAX).await?;
        taken.push(sent.elapsed());
        tokio::time::sleep(HOP_EVERY).await;
    }
    Ok(Latencies::new(taken))
}

fn tell(report: &mut Report, shown: &[Moved], hops: &Latencies) {
    let millis = |latencies: &Latencies, percent| latencies.percentile(percent).as_secs_f64() * 1e3;
    let of = |part: fn(&Moved) -> Duration| Latencies::new(shown.iter().map(part).collect());
    let commit = of(|shown| shown.since_commit);
    for (name, latencies) in [
        ("command to ack", &of(|shown| shown.to_ack)),
        ("command to opponent", &of(|shown| shown.to_opponent)),
        ("commit to opponent", &commit),
        ("a bare NATS hop beside it", hops),
    ] {
        for percent in [50, 99] {
            report.figure(
                format!("{name}, p{percent}"),
                millis(latencies, percent),
                "ms",
            );
        }
    }
    for (percent, must, aim) in [(50, 5.0, 2.0), (99, 25.0, 8.0)] {
        report.budget(Budget {
            name: format!("commit to the opponent's socket, p{percent}"),
            value: millis(&commit, percent),
            unit: "ms",
            must: Bound::AtMost(must),
            aim: Bound::AtMost(aim),
        });
    }
}
