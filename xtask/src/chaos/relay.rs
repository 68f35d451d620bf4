//! `cargo xtask chaos relay`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use e2e::faults::any_seed;
use e2e::faults::relay::{Outcome, Plan, Progress, Scenario, run as run_scenario};
use e2e::load::Latencies;
use e2e::outbox::Pace;
use e2e::supervisor::{Durability, Interrupts};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::build;
use crate::console::{self, say};

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Append events to an outbox by SQL, have relays publish them while they, or the broker, are killed, \
frozen and restarted, and then read the whole stream: every event that was committed stands in it \
once, each key in the order of its commits, and nothing else does.

Each scenario has a Postgres and nats-servers of its own. What was injected, found and measured is \
printed, and the seed that chose keys and victims.";

/// Events that wait at most while a scenario produces as fast as it can: enough that relays always
/// have work, few enough to be counted often.
const PENDING_MAX: u64 = 50_000;
/// How long few events at a time are published: with a kill every second, enough for each fault to
/// come a dozen times and more.
const TRICKLE_SECONDS: u64 = 90;
/// Between two lines about the progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);
/// How long the broker is frozen.
const FREEZE: Duration = Duration::from_secs(40);
/// Sentences about broken events that are printed.
const EXAMPLES_SHOWN: usize = 10;

/// Arguments of `cargo xtask chaos relay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to do to the relays; can be given several times
    #[arg(
        long = "scenario",
        value_enum,
        value_name = "SCENARIO",
        default_value = "all"
    )]
    scenarios: Vec<Choice>,

    /// Events of a scenario; trickle has at most those of 90 s, rolling and leases produce for as long
    /// as they last, cluster at least so many
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    events: u64,

    /// Keys that the events are spread over
    #[arg(long, value_name = "NUMBER", default_value_t = 5000,
          value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,

    /// Relays
    #[arg(long, value_name = "NUMBER", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(2..=16))]
    relays: u16,

    /// Events a second of trickle, rolling and leases
    #[arg(long, value_name = "NUMBER", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// Chooses keys, sizes and victims; printed, to repeat a run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Run the relay of the dev profile instead of the release profile
    #[arg(long)]
    dev: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// One relay killed every second, one frozen past its lease every five
    Kills,
    /// The same with few events at a time, published one by one, and the broker killed as well
    Trickle,
    /// All relays killed, away for longer than the shortest window of de-duplication
    Dedup,
    /// The broker frozen for 40 s
    FrozenBroker,
    /// The broker killed, and back after 3 s
    KilledBroker,
    /// Relays restarted one after the other, by SIGTERM
    Rolling,
    /// A cluster of three nodes that loses its leader ten times
    Cluster,
    /// Relays join, drain and crash; in between, no lease moves
    Leases,
    /// All of these
    All,
}

impl Choice {
    fn scenarios(self) -> Vec<Scenario> {
        match self {
            Self::Kills => vec![Scenario::Kills],
            Self::Trickle => vec![Scenario::Trickle],
            Self::Dedup => vec![Scenario::Dedup],
            Self::FrozenBroker => vec![Scenario::FrozenBroker],
            Self::KilledBroker => vec![Scenario::KilledBroker],
            Self::Rolling => vec![Scenario::Rolling],
            Self::Cluster => vec![Scenario::Cluster],
            Self::Leases => vec![Scenario::Leases],
            Self::All => Scenario::ALL.into(),
        }
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let program = build::relay(args.dev)?;
    let seed = args.seed.unwrap_or_else(any_seed);
    let mut interrupts = Interrupts::listen()?;
    let mut wrong = Vec::new();
    let scenarios = args.scenarios.iter().flat_map(|choice| choice.scenarios());
    for scenario in scenarios {
        say(format!("\n── {scenario} (--seed {seed})"));
        let (progress, follow) = watch::channel(Progress::default());
        let plan = plan(scenario, args, program.clone(), seed, progress);
        let begun = Instant::now();
        let outcome = tokio::select! {
            outcome = run_scenario(scenario, &plan) => outcome,
            () = show(follow, plan.events) => bail!("the scenario ended without an outcome"),
            () = interrupts.next() => bail!("interrupted"),
        };
        console::hide_bar();
        match outcome {
            Ok(outcome) if tell(&outcome) => {
                say(format!(
                    "ok      {scenario} ({:.0} s)",
                    begun.elapsed().as_secs_f32()
                ));
            }
            Ok(_) => {
                say(format!("FAILED  {scenario} (--seed {seed})"));
                wrong.push(scenario);
            }
            Err(error) => {
                say(format!("FAILED  {scenario} (--seed {seed}): {error:#}"));
                wrong.push(scenario);
            }
        }
    }
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn plan(
    scenario: Scenario,
    args: &Args,
    program: std::path::PathBuf,
    seed: u64,
    progress: watch::Sender<Progress>,
) -> Plan {
    let pace = match scenario {
        Scenario::Trickle | Scenario::Rolling | Scenario::Leases => Pace::Rate {
            per_second: args.rate,
        },
        _ => Pace::Backlog {
            pending_max: PENDING_MAX,
        },
    };
    Plan {
        name: "chaos",
        program,
        events: match scenario {
            Scenario::Trickle => args.events.min(u64::from(args.rate) * TRICKLE_SECONDS),
            _ => args.events,
        },
        keys: args.keys,
        pace,
        relays: usize::from(args.relays),
        strikes: match scenario {
            Scenario::Cluster => 10,
            Scenario::Dedup => 5,
            Scenario::KilledBroker | Scenario::Leases => 3,
            Scenario::Rolling => 2,
            Scenario::Kills | Scenario::Trickle | Scenario::FrozenBroker => 1,
        },
        freeze: FREEZE,
        durability: Durability::PowerCut,
        seed,
        progress,
    }
}

/// Shows how far it is until nobody tells any more: a bar on a terminal, else a line now and then.
async fn show(mut follow: watch::Receiver<Progress>, events: u64) {
    let bar = ProgressBar::new(events);
    if let Ok(style) =
        ProgressStyle::with_template("{elapsed} {wide_bar} {human_pos} published, {msg}")
    {
        bar.set_style(style);
    }
    let hidden = bar.is_hidden();
    console::show_bar(&bar);
    let mut told = Instant::now();
    while follow.changed().await.is_ok() {
        let progress = follow.borrow_and_update().clone();
        let Progress {
            committed,
            published,
            strikes,
            doing,
        } = progress;
        bar.set_length(events.min(committed).max(published).max(1));
        bar.set_position(published);
        bar.set_message(format!("{committed} committed, {strikes} faults, {doing}"));
        if hidden && told.elapsed() > LINE_EVERY {
            told = Instant::now();
            tracing::info!(
                "{published} published of {committed} committed, {strikes} faults, {doing}"
            );
        }
    }
}

/// Prints what a scenario came to; gives whether all is well.
fn tell(outcome: &Outcome) -> bool {
    let (verdict, counters) = (&outcome.verdict, &outcome.counters);
    say(format!(
        "        {} events committed; the stream holds {} and {} fences: {}",
        verdict.committed, verdict.stored, verdict.fences, verdict.faults
    ));
    for (fault, count) in &outcome.strikes {
        say(format!("        {count} × {fault}"));
    }
    say(format!(
        "        {} relays exited by themselves; {} batches fenced, {} duplicates prevented, {} times \
         the stream was taken for lost",
        outcome.exits, counters.fenced, counters.duplicates_prevented, counters.stream_lost
    ));
    let waits = Latencies::new(verdict.waits.iter().map(|wait| wait.took).collect());
    say(format!(
        "        append to stream: p50 {:.3} s, p99 {:.3} s, longest {:.3} s; longest silence of the \
         stream {:.3} s",
        waits.percentile(50).as_secs_f64(),
        waits.percentile(99).as_secs_f64(),
        waits.percentile(100).as_secs_f64(),
        verdict.longest_silence.as_secs_f64()
    ));
    for sentence in &outcome.measured {
        say(format!("        {sentence}"));
    }
    for example in verdict.examples.iter().take(EXAMPLES_SHOWN) {
        say(format!("BROKEN: {example}"));
    }
    for sentence in outcome.breaches.iter().chain(&outcome.too_slow) {
        say(format!("BROKEN: {sentence}"));
    }
    outcome.is_sound() && outcome.too_slow.is_empty()
}
