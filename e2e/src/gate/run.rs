//! A run: many pairs at a time through one stack.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::census::{self, PairCursors, Traces, Verdict};
use super::clockwork::Clockwork;
use super::facts::Fact;
use super::pair::{Ending, Pair, digest};
use super::play::Cast;
use super::transcript::{Difference, Transcript, compare};
use super::viewer::Gateways;

/// Which games are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Games {
    /// Fog chess.
    FogChess,
    /// A ruleset with private events, which only the build with mutants knows.
    PrivateNotes,
}

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Two gateways.
    pub gateways: Gateways,
    /// The games' database, whose clock decides when one is over.
    pub database_url: String,
    /// How many pairs.
    pub pairs: usize,
    /// The seed of all of them.
    pub seed: u64,
    /// How many are played at a time.
    pub at_once: usize,
    /// Which games.
    pub games: Games,
    /// Only the pair of this number.
    pub only: Option<usize>,
    /// End at the first difference.
    pub until_first: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Pairs played.
    pub pairs: usize,
    /// A digest of what was played: the same for the same seed and number of pairs.
    pub digest: String,
    /// Things that were sent, over all games.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// How many pairs differed in each fact.
    pub facts: BTreeMap<Fact, usize>,
    /// How many pairs ended in which way.
    pub endings: BTreeMap<Ending, usize>,
    /// Where viewers could tell two games apart; the first difference of each pair.
    pub differences: Vec<Difference>,
    /// What the cursors show.
    pub cursors: Verdict,
    /// What the ids of traces show, if it is anything.
    pub traces: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether nobody could tell anything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
            && self.traces.is_none()
            && matches!(self.cursors, Verdict::Sealed(_) | Verdict::TooFew(_))
    }

    /// The leak in a sentence or more, if there is one.
    #[must_use]
    pub fn leak(&self) -> Option<String> {
        if let Some(first) = self.differences.first() {
            return Some(first.to_string());
        }
        match &self.cursors {
            Verdict::Leak {
                pair,
                cursors: [a, b],
                in_clear,
            } => Some(format!(
                "pair {pair} of seed {}: characters {in_clear:?} of the cursors are in clear, and differ\n  A: {a}\n  B: {b}",
                self.seed
            )),
            Verdict::InClear(places) => {
                Some(format!("characters {places:?} of the cursors are in clear"))
            }
            Verdict::TooFew(_) | Verdict::Sealed(_) => self.traces.clone(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {} pairs ({}), {} messages and answers, {} bytes, {:.1} s",
            self.seed,
            self.pairs,
            self.digest,
            self.entries,
            self.bytes,
            self.took.as_secs_f32()
        )?;
        for (fact, count) in &self.facts {
            writeln!(f, "  {count:>5} pairs differ in {}", fact.words())?;
        }
        for (ending, count) in &self.endings {
            writeln!(f, "  {count:>5} pairs {}", ending.words())?;
        }
        match &self.cursors {
            Verdict::Sealed(count) => writeln!(f, "  {count:>5} cursors, sealed as a whole")?,
            Verdict::TooFew(count) => {
                writeln!(f, "  {count:>5} cursors, too few to say what they show")?;
            }
            _ => {}
        }
        write!(
            f,
            "  {:>5} pairs could be told apart",
            self.differences.len()
        )
    }
}

/// Plays the pairs.
///
/// # Errors
/// The stack did not do what it must: a command was refused, a frame never came.
pub async fn run(plan: &Plan) -> Result<Report> {
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(plan.only.unwrap_or(0)));
    let end = plan.only.map_or(plan.pairs, |only| only + 1);
    let clockwork = Clockwork::connect(&plan.database_url).await?;
    let mut workers = JoinSet::new();
    for _ in 0..plan.at_once.min(plan.pairs) {
        workers.spawn(work(
            plan.clone(),
            clockwork.clone(),
            Arc::clone(&next),
            end,
        ));
    }
    let (mut played, mut failed) = (Vec::new(), None);
    while let Some(worker) = workers.join_next().await {
        let done = worker.context("a worker")??;
        played.extend(done.played);
        failed = failed.or(done.failed);
    }
    played.sort_by_key(|played: &Played| played.pair.nth);
    let report = report(plan.seed, played, started.elapsed());
    match failed {
        // A leak can also keep a game from going on: the pair that shows the leak says more.
        Some(error) if report.differences.is_empty() => Err(error),
        _ => Ok(report),
    }
}

/// What a worker has played, and why a pair could not be played to the end that shows no difference
/// up to there.
#[derive(Default)]
struct Work {
    played: Vec<Played>,
    failed: Option<anyhow::Error>,
}

struct Played {
    pair: Pair,
    entries: usize,
    bytes: usize,
    difference: Option<Difference>,
    cursors: PairCursors,
    traces: Traces,
}

/// One worker plays pair after pair with the same accounts.
async fn work(
    plan: Plan,
    clockwork: Clockwork,
    next: Arc<AtomicUsize>,
    end: usize,
) -> Result<Work> {
    let cast = Cast::register(&plan.gateways, &clockwork).await?;
    let mut work = Work::default();
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= end {
            return Ok(work);
        }
        let (games, seed) = (plan.games, plan.seed);
        let pair = tokio::task::spawn_blocking(move || match games {
            Games::FogChess => super::fog_chess(seed, nth),
            Games::PrivateNotes => super::private_notes(seed, nth),
        });
        let pair = pair.await.context("a pair")?;
        // Side by side, so that both games see the same stack.
        let (one, other) =
            tokio::try_join!(Box::pin(cast.play(&pair, 0)), Box::pin(cast.play(&pair, 1)))?;
        let failed = one.failed.or(other.failed);
        let transcripts = [one.transcript, other.transcript];
        let played = judge(seed, pair, &transcripts, failed.is_none());
        if let (Some(error), None) = (failed, &played.difference) {
            work.failed = Some(error);
            return Ok(work);
        }
        if plan.until_first && played.difference.is_some() {
            next.store(end, Ordering::Relaxed);
        }
        work.played.push(played);
    }
}

fn judge(seed: u64, pair: Pair, transcripts: &[Transcript; 2], to_the_end: bool) -> Played {
    let (difference, of_games) = compare(seed, &pair, transcripts, to_the_end);
    let channels = transcripts
        .iter()
        .flat_map(|transcript| transcript.channels.values());
    let (mut entries, mut traces) = (Vec::new(), Traces::default());
    for entry in channels.flatten() {
        entries.push(entry.text.len());
        traces.take(&entry.text);
    }
    Played {
        cursors: PairCursors {
            pair: pair.nth,
            of_games,
        },
        entries: entries.len(),
        bytes: entries.iter().sum(),
        difference,
        pair,
        traces,
    }
}

fn report(seed: u64, mut played: Vec<Played>, took: Duration) -> Report {
    let mut traces = Traces::default();
    for played in &mut played {
        traces.extend(std::mem::take(&mut played.traces));
    }
    let mut endings = BTreeMap::new();
    for played in &played {
        *endings.entry(played.pair.ending()).or_default() += 1;
    }
    let mut facts = BTreeMap::new();
    for fact in played.iter().flat_map(|played| &played.pair.facts) {
        *facts.entry(*fact).or_default() += 1;
    }
    let cursors: Vec<PairCursors> = played.iter().map(|played| played.cursors.clone()).collect();
    Report {
        seed,
        pairs: played.len(),
        entries: played.iter().map(|played| played.entries).sum(),
        bytes: played.iter().map(|played| played.bytes).sum(),
        facts,
        endings,
        cursors: census::judge(&cursors),
        traces: traces.leak(),
        digest: digest(played.iter().map(|played| &played.pair)),
        differences: played
            .into_iter()
            .filter_map(|played| played.difference)
            .collect(),
        took,
    }
}
