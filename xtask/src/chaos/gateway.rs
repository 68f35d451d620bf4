//! `cargo xtask chaos gateway`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use e2e::faults::any_seed;
use e2e::faults::gateway::{CLIENTS_A_TABLE, Outcome, Plan, Progress, Rhythm, run as run_scenario};
use e2e::load::Latencies;
use e2e::supervisor::Interrupts;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::build;
use crate::console::{self, say};

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Have players and spectators hold connections to several gateways while these are killed in turn, \
kill -9, and start again. Each table has two players who play random moves and two who watch; a \
table whose game is over begins another. Every client comes back by its cursor, on another gateway.

In the end whoever is to move resigns, and everything that every client was ever sent is compared \
with the log, folded by rules written a second time: complete, dense, in order, never older, and \
showing what that viewer may see; and the log with the stream. What was found and measured is \
printed, and the seed that chose the moves.";

/// Between two lines about the progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);
/// One broken thing breaks many frames: the first are enough to see which.
const FAULTS_SHOWN: usize = 20;

/// Arguments of `cargo xtask chaos gateway`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Players and spectators together, four a table
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(4..=20_000))]
    clients: u32,

    /// Gateways
    #[arg(long, value_name = "NUMBER", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(2..=16))]
    gateways: u16,

    /// Seconds from one kill to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..))]
    kill_every: u16,

    /// Seconds for which gateways are killed
    #[arg(long, value_name = "SECONDS", default_value_t = 120,
          value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,

    /// Milliseconds between two moves of a player, at least
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(50..))]
    pause_ms: u32,

    /// Chooses the moves; printed, to play the same again
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Run the services of the dev profile instead of the release profile
    #[arg(long)]
    dev: bool,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let kills = u32::from(args.seconds / args.kill_every);
    ensure!(kills > 0, "--seconds is shorter than --kill-every");
    let seed = args.seed.unwrap_or_else(any_seed);
    let (progress, follow) = watch::channel(Progress::default());
    let plan = Plan {
        name: "chaos",
        binaries: build::services_of(args.dev)?,
        clients: usize::try_from(args.clients)?,
        gateways: usize::from(args.gateways),
        kills,
        rhythm: Rhythm::Time(Duration::from_secs(args.kill_every.into())),
        pause: Duration::from_millis(args.pause_ms.into()),
        seed,
        progress,
    };
    let tables = plan.clients / CLIENTS_A_TABLE;
    say(format!(
        "── {tables} tables with {} clients, {} gateways, one killed every {} s (--seed {seed})",
        tables * CLIENTS_A_TABLE,
        args.gateways,
        args.kill_every
    ));
    let mut interrupts = Interrupts::listen()?;
    let begun = Instant::now();
    let outcome = tokio::select! {
        outcome = run_scenario(&plan) => outcome?,
        () = show(follow, kills) => bail!("the scenario ended without an outcome"),
        () = interrupts.next() => bail!("interrupted"),
    };
    console::hide_bar();
    tell(&outcome);
    let seconds = begun.elapsed().as_secs();
    if outcome.is_sound() {
        say(format!("ok      ({seconds} s)"));
        return Ok(ExitCode::SUCCESS);
    }
    say(format!("FAILED  (--seed {seed}, {seconds} s)"));
    Ok(ExitCode::FAILURE)
}

/// Shows how far it is until nobody tells any more: a bar on a terminal, else a line now and then.
async fn show(mut follow: watch::Receiver<Progress>, kills: u32) {
    let bar = ProgressBar::new(kills.into());
    if let Ok(style) = ProgressStyle::with_template("{elapsed} {wide_bar} {pos} kills, {msg}") {
        bar.set_style(style);
    }
    let hidden = bar.is_hidden();
    console::show_bar(&bar);
    let mut told = Instant::now();
    while follow.changed().await.is_ok() {
        let Progress {
            kills,
            moves,
            games,
            doing,
        } = follow.borrow_and_update().clone();
        bar.set_position(kills.into());
        bar.set_message(format!("{moves} moves, {games} games ended, {doing}"));
        if hidden && told.elapsed() > LINE_EVERY {
            told = Instant::now();
            tracing::info!("{kills} kills, {moves} moves, {games} games ended, {doing}");
        }
    }
}

/// Prints what it came to.
fn tell(outcome: &Outcome) {
    let mut connections = outcome.connections.clone();
    connections.sort_unstable();
    let connections = |percent: usize| {
        let last = connections.len().saturating_sub(1);
        connections.get(last * percent / 100).copied().unwrap_or(0)
    };
    say(format!(
        "        {} kills -9 of a gateway; WebSockets open right before one: least {}, median {}, most {}",
        outcome.kills,
        connections(0),
        connections(50),
        connections(100)
    ));
    let away = &outcome.away;
    say(format!(
        "        {} reconnects, {} of them at another gateway; without one for {}",
        away.count(),
        away.count() - outcome.returned,
        in_words(away)
    ));
    say(format!(
        "        {} games ended after {} moves, {} of which were sent again and made once",
        outcome.games, outcome.moves, outcome.duplicates
    ));
    say(format!(
        "        command to the opponent's frame, kills in between included: {}",
        in_words(&outcome.latencies)
    ));
    say(format!(
        "        checked: {} events in log and stream, {} frames against the rules; {} differences",
        outcome.verdict.events,
        outcome.verdict.frames,
        outcome.verdict.faults.len()
    ));
    let faults = outcome.broken_off.iter().chain(&outcome.verdict.faults);
    for fault in faults.take(FAULTS_SHOWN) {
        say(format!("BROKEN: {fault}"));
    }
    if outcome.exits > 0 {
        let exits = outcome.exits;
        say(format!(
            "BROKEN: {exits} services ended that nobody had killed"
        ));
    }
    if outcome.snapshots > 0 {
        let snapshots = outcome.snapshots;
        say(format!(
            "BROKEN: {snapshots} snapshots came in place of frames"
        ));
    }
}

fn in_words(latencies: &Latencies) -> String {
    format!(
        "p50 {:.3} s, p99 {:.3} s, longest {:.3} s",
        latencies.percentile(50).as_secs_f64(),
        latencies.percentile(99).as_secs_f64(),
        latencies.percentile(100).as_secs_f64()
    )
}
