//! `cargo xtask play --smoke`: a whole game, watched, checked and told.

use anyhow::{Context, Result, bail};
use e2e::client::protocol::GameResult;
use e2e::history::{Verdict, judge};
use e2e::load::{GameRecord, Tournament, TournamentPlan};
use e2e::supervisor::Stack;

use crate::console::say;

/// Half-moves printed on one line: five of each side.
const PLIES_PER_LINE: usize = 10;

/// One broken thing breaks many frames: the first are enough to see which.
const FAULTS_SHOWN: usize = 20;

/// Plays a game on the stack and prints what happened.
///
/// # Errors
/// An invariant failed, or the game could not be played.
pub(crate) async fn run(stack: &Stack, seed: u64) -> Result<()> {
    let gateways: Vec<String> = (0..stack.gateways.len())
        .map(|nth| stack.gateway_address(nth))
        .collect();
    say(format!(
        "White plays on {}, Black on {}; a third client watches on {}.",
        gateways[0],
        gateways[1 % gateways.len()],
        gateways[1 % gateways.len()]
    ));
    let tournament = Tournament::start(&TournamentPlan::new(gateways, 1, seed));
    let latencies = tournament.latencies.clone();
    let records = tournament.finish().await?;
    let record = records.first().context("no game was played")?;
    let verdict = judge(stack, &records).await?;
    tell(record, &verdict)?;
    let latencies = latencies.latencies();
    say(format!(
        "Command to the opponent's frame: p50 {:.1} ms, p99 {:.1} ms over {} moves.",
        latencies.percentile(50).as_secs_f64() * 1e3,
        latencies.percentile(99).as_secs_f64() * 1e3,
        latencies.count()
    ));
    if verdict.faults.is_empty() {
        say(format!(
            "Log, stream and frames agree: {} events, {} frames to 4 clients, all by the rules of the fog.",
            verdict.events, verdict.frames
        ));
        return Ok(());
    }
    for fault in verdict.faults.iter().take(FAULTS_SHOWN) {
        say(format!("BROKEN: {fault}"));
    }
    bail!("{} invariants failed", verdict.faults.len())
}

fn tell(record: &GameRecord, verdict: &Verdict) -> Result<()> {
    let moves = verdict.moves.first().context("no moves")?;
    for (nth, line) in moves.chunks(PLIES_PER_LINE).enumerate() {
        let pairs: Vec<String> = line
            .chunks(2)
            .enumerate()
            .map(|(pair, moves)| {
                format!(
                    "{}. {}",
                    nth * PLIES_PER_LINE / 2 + pair + 1,
                    moves.join(" ")
                )
            })
            .collect();
        say(format!("  {}", pairs.join("  ")));
    }
    let spectator = record.spectators.first().context("nobody watched")?;
    let watched = &spectator.recording;
    let last = watched.last().context("the spectator saw nothing")?;
    let fogged = watched
        .frames
        .iter()
        .filter(|recorded| {
            recorded
                .frame
                .view()
                .board
                .bytes()
                .all(|square| square == b'?')
        })
        .count();
    let result = last
        .view()
        .result
        .as_ref()
        .context("the spectator saw no result")?;
    say(format!(
        "{} after {} half-moves.",
        sentence(result),
        moves.len()
    ));
    say(format!(
        "The spectator saw {fogged} boards in fog, and at the end:"
    ));
    for rank in 0..8 {
        let squares = last
            .view()
            .board
            .get(rank * 8..rank * 8 + 8)
            .context("a whole board")?;
        let spaced: Vec<String> = squares.chars().map(String::from).collect();
        say(format!("  {}  {}", 8 - rank, spaced.join(" ")));
    }
    Ok(())
}

fn sentence(result: &GameResult) -> String {
    let reason = result.reason.replace('_', " ");
    match result.winner {
        Some(winner) => format!("{winner:?} won ({reason})"),
        None => format!("A draw ({reason})"),
    }
}
