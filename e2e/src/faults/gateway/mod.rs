//! Gateways killed in turn under players and spectators, and whether each of these was sent exactly
//! the frames that it was owed.
//!
//! Clients hold connections all the time: a table whose game has ended begins another. Every client
//! comes back by its cursor, on another gateway. In the end whoever is to move resigns, every
//! recording is compared with the log folded by rules of this crate's own, and the log with the
//! stream.

mod kills;

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use self::kills::Struck;
use crate::client::Passage;
use crate::client::Transport::{self, Http, WebSocket};
use crate::environment;
use crate::history::{Verdict, judge};
use crate::load::{Conclusion, GameRecord, Latencies, Tournament, TournamentPlan};
use crate::supervisor::{Child, Durability, Ports, ServiceBinaries, Stack, StackOptions, Staging};

/// Players and spectators of one table.
pub const CLIENTS_A_TABLE: usize = 2 + SPECTATORS;
const SPECTATORS: usize = 2;
const RELAYS: usize = 2;
/// One seat in ten goes by `POST` and long poll, the others hold a WebSocket.
const TRANSPORTS: [[Transport; 2]; 5] = [
    [WebSocket, WebSocket],
    [WebSocket, WebSocket],
    [WebSocket, Http],
    [WebSocket, WebSocket],
    [WebSocket, WebSocket],
];
/// No game ends for so long although whoever is to move resigns: somebody waits in vain.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);

/// When gateways are killed.
#[derive(Clone, Copy, Debug)]
pub enum Rhythm {
    /// One after each such time.
    Time(Duration),
    /// One after so many further moves, as soon as the one before is back.
    Moves(u64),
}

/// How hard the scenario is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Prefix of the run's directory.
    pub name: &'static str,
    /// The services' programs.
    pub binaries: ServiceBinaries,
    /// Players and spectators, rounded down to whole tables.
    pub clients: usize,
    /// How many gateways, at least two.
    pub gateways: usize,
    /// How many of them are killed, in turn.
    pub kills: u32,
    /// When.
    pub rhythm: Rhythm,
    /// A player moves at most once in this time.
    pub pause: Duration,
    /// Chooses the moves, as far as the moves alone decide.
    pub seed: u64,
    /// How far it is.
    pub progress: watch::Sender<Progress>,
}

/// How far the scenario is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Gateways killed by now.
    pub kills: u32,
    /// Moves acknowledged by now.
    pub moves: u64,
    /// Games ended by now.
    pub games: usize,
    /// What is being done.
    pub doing: String,
}

/// What the scenario came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Log, stream and frames of all games that were played to their end.
    pub verdict: Verdict,
    /// Why the other games were not, in sentences: a client got what it must not, or nothing.
    pub broken_off: Vec<String>,
    /// Gateways killed.
    pub kills: u32,
    /// Services that ended without having been killed.
    pub exits: u64,
    /// Games played to their end.
    pub games: usize,
    /// Moves acknowledged.
    pub moves: u64,
    /// Moves acknowledged as made before: the first answer was lost.
    pub duplicates: u32,
    /// Sockets that all gateways together held, right before each kill.
    pub connections: Vec<u64>,
    /// For how long clients were without a gateway.
    pub away: Latencies,
    /// How many of these came back where they had been.
    pub returned: usize,
    /// Snapshots in place of frames. Nobody here is slow enough to be owed one.
    pub snapshots: usize,
    /// From a command, resent or not, to the opponent's frame.
    pub latencies: Latencies,
}

impl Outcome {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.verdict.faults.is_empty()
            && self.broken_off.is_empty()
            && self.exits == 0
            && self.snapshots == 0
    }
}

/// Runs the scenario to its end.
///
/// # Errors
/// It could not be run: a tool is missing, a part does not start, log or stream cannot be read.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    doing(plan, "starting the servers");
    let stack = Stack::start(&environment::target_dir(), options(plan)?).await?;
    let addresses = (0..plan.gateways).map(|nth| stack.gateway_address(nth));
    let mut tournament = Tournament::start(&TournamentPlan {
        at_once: (plan.clients / CLIENTS_A_TABLE).max(1),
        spectators: SPECTATORS,
        pause: plan.pause,
        transports: TRANSPORTS.to_vec(),
        // Until it is wound up.
        ..TournamentPlan::new(addresses.collect(), usize::MAX, plan.seed)
    });
    let struck = kills::strike(plan, &stack, &mut tournament).await;
    doing(plan, "ending the games");
    tournament.wind_up();
    let outcome = judged(plan, &stack, tournament, struck).await?;
    stack.end().await;
    Ok(outcome)
}

/// Waits until all games are over, and compares.
async fn judged(
    plan: &Plan,
    stack: &Stack,
    tournament: Tournament,
    struck: Struck,
) -> Result<Outcome> {
    let (moves, latencies) = (tournament.progress.clone(), tournament.latencies.clone());
    let Conclusion { records, failures } = tournament.conclude(STANDSTILL_MAX).await;
    doing(plan, "comparing log, stream and frames");
    let verdict = judge(stack, &records).await?;
    let passages = || records.iter().flat_map(GameRecord::passages);
    let recordings = records.iter().flat_map(GameRecord::recordings);
    let frames = recordings.flat_map(|recording| &recording.frames);
    let duplicates = records
        .iter()
        .map(|record| record.white.duplicates + record.black.duplicates);
    Ok(Outcome {
        verdict,
        broken_off: failures
            .iter()
            .map(|failure| format!("{failure:#}"))
            .collect(),
        kills: struck.kills,
        exits: stack.children().map(Child::deaths).sum(),
        games: records.len(),
        moves: *moves.borrow(),
        duplicates: duplicates.sum(),
        connections: struck.connections,
        away: Latencies::new(passages().map(Passage::took).collect()),
        returned: passages()
            .filter(|passage| passage.to == passage.departure.from)
            .count(),
        snapshots: frames
            .filter(|recorded| recorded.frame.event().is_none())
            .count(),
        latencies: latencies.latencies(),
    })
}

fn doing(plan: &Plan, what: &str) {
    plan.progress
        .send_modify(|progress| what.clone_into(&mut progress.doing));
}

fn options(plan: &Plan) -> Result<StackOptions> {
    // All clients have one address.
    let unlimited = [
        "RATE_REQUESTS_PER_S",
        "RATE_REQUESTS_BURST",
        "RATE_REGISTRATIONS_PER_S",
        "RATE_REGISTRATIONS_BURST",
    ];
    Ok(StackOptions {
        name: plan.name,
        ports: Ports::free(plan.gateways, RELAYS)?,
        binaries: plan.binaries.clone(),
        // Neither of the two servers crashes here.
        durability: Durability::Kill,
        broker_durability: Durability::PowerCut,
        staging: Staging::Disk,
        database_url: None,
        nats_url: None,
        extra_env: unlimited
            .map(|name| (name.to_owned(), "100000".to_owned()))
            .to_vec(),
    })
}
