//! `cargo xtask gate`: does the fog leak?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use e2e::environment;
use e2e::faults::any_seed;
use e2e::gate::mutants::{self, Mutant};
use e2e::gate::{AT_ONCE, Games, Plan, Report, bed, run as run_gate, timing};
use e2e::supervisor::{Interrupts, ServiceBinaries};

use crate::build;
use crate::console::say;

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Play pairs of games through the whole stack that differ only in what a viewer may not see, and \
compare everything that the viewer is sent, byte by byte, after what is random and what is time \
has been made equal. Viewers are the player, a spectator, the opponent's other account and \
somebody who is not signed in.

With --mutant, the same against a build with a deliberate leak, which must be found. Exit code 1 if \
a viewer could tell two games apart, or if a leak was not found.";

/// Refusals that are timed.
const TIMED: usize = 2000;
/// Differences that are printed.
const SHOWN: usize = 5;
/// Pairs against a mutant, unless said otherwise: each opening with either colour.
const MUTANT_PAIRS: usize = 48;
/// Pairs of a ruleset with private events: enough cursors to see what they show.
const PRIVATE_PAIRS: usize = 24;

/// Arguments of `cargo xtask gate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pairs of games; 500, or 48 against a mutant
    #[arg(long, value_name = "NUMBER")]
    pairs: Option<usize>,

    /// Chooses all games; printed, to repeat a run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Play the pair of this number alone
    #[arg(long, value_name = "NUMBER")]
    only: Option<usize>,

    /// A deliberate leak to be found, `all` of them, or `list`
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(any_seed);
    let mut interrupts = Interrupts::listen()?;
    let work = async {
        match args.mutant.as_deref() {
            None => ordinary(args, seed).await,
            Some(name) => against(args, name, seed).await,
        }
    };
    let passed = tokio::select! {
        passed = Box::pin(work) => passed?,
        () = interrupts.next() => bail!("interrupted"),
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The build that is deployed: nobody may see anything.
async fn ordinary(args: &Args, seed: u64) -> Result<bool> {
    let binaries = services()?;
    say(format!("seed {seed}"));
    let stack = bed::stack(binaries, None).await?;
    let plan = Plan {
        gateways: bed::gateways(&stack),
        database_url: stack.postgres_addresses.owner_url.clone(),
        pairs: args.pairs.unwrap_or(500),
        seed,
        at_once: AT_ONCE,
        games: Games::FogChess,
        only: args.only,
        until_first: false,
    };
    let report = run_gate(&plan).await;
    let timed = match &report {
        Ok(_) => Some(timing::measure(&plan.gateways, seed, TIMED).await),
        Err(_) => None,
    };
    stack.end().await;
    let report = report?;
    say(&report);
    for difference in report.differences.iter().take(SHOWN) {
        say(difference);
    }
    if let (true, Some(leak)) = (report.differences.is_empty(), report.leak()) {
        say(leak);
    }
    if let Some(timed) = timed {
        say(format!("  {}", timed?));
    }
    say(if report.is_clean() { "ok" } else { "FAILED" });
    Ok(report.is_clean())
}

/// The build with mutants: each leak must be found, and where there is none, nothing.
async fn against(args: &Args, name: &str, seed: u64) -> Result<bool> {
    let program = build::mutants()?;
    let relay = services()?.outbox_relay;
    let known = mutants::list(&program)?;
    if name == "list" {
        for mutant in &known {
            say(&mutant.name);
        }
        return Ok(true);
    }
    let mut chosen: Vec<Mutant> = known
        .iter()
        .filter(|mutant| name == "all" || mutant.name == name)
        .cloned()
        .collect();
    if chosen.is_empty() {
        bail!("there is no mutant {name}; `--mutant list` names them");
    }
    // Without a leak, games with private events must look the same too.
    let control = chosen.iter().find(|mutant| mutant.name == mutants::NONE);
    let control = control.map(|none| Mutant {
        games: Games::PrivateNotes,
        ..none.clone()
    });
    chosen.extend(control);
    say(format!("seed {seed}"));
    let mut all = true;
    let start = |mutant: Option<&Mutant>| {
        let (mutant, program, relay) = (mutant.cloned(), program.clone(), relay.clone());
        async move {
            match mutant {
                Some(mutant) => mutants::armed(&program, relay, &mutant).await.map(Some),
                None => Ok(None),
            }
        }
    };
    let mut started = start(chosen.first()).await?;
    for (nth, mutant) in chosen.iter().enumerate() {
        let Some(stack) = started else {
            bail!("a stack for each mutant");
        };
        let pairs = args.pairs.unwrap_or(match mutant.games {
            Games::FogChess => MUTANT_PAIRS,
            Games::PrivateNotes => PRIVATE_PAIRS,
        });
        // To start takes as long as to find a leak, and less of the processor.
        let run = mutants::run_armed(stack, mutant, pairs, seed);
        let (report, next) = tokio::join!(Box::pin(run), Box::pin(start(chosen.get(nth + 1))));
        started = next?;
        let report = match (report, &mut started) {
            (Ok(report), _) => report,
            (Err(error), started) => {
                if let Some(stack) = started.take() {
                    stack.end().await;
                }
                return Err(error);
            }
        };
        all &= tell(mutant, &report);
    }
    Ok(all)
}

/// Says whether the gate did what it must.
fn tell(mutant: &Mutant, report: &Report) -> bool {
    let took = report.took.as_secs_f32();
    match (report.leak(), mutant.name == mutants::NONE) {
        (Some(leak), false) => {
            say(format!(
                "ok      {} is caught ({took:.1} s)\n{leak}",
                mutant.name
            ));
            true
        }
        (None, true) => {
            say(format!(
                "ok      nothing leaks with no mutant armed, {:?} ({took:.1} s)",
                mutant.games
            ));
            true
        }
        (Some(leak), true) => {
            say(format!("FAILED  no mutant is armed, and yet\n{leak}"));
            false
        }
        (None, false) => {
            say(format!("FAILED  {} is not caught: {report}", mutant.name));
            false
        }
    }
}

/// The services: those that the caller vouches for, or built now.
fn services() -> Result<ServiceBinaries> {
    match environment::read(environment::names::BINARIES) {
        Some(dir) => ServiceBinaries::in_dir(&PathBuf::from(dir)),
        None => build::services().context("the services"),
    }
}
