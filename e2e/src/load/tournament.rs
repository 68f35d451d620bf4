//! Many games, some at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::bot::{Played, Watched};
use super::latency::LatencyBook;
use super::tables::Tables;
use crate::client::{Passage, Recording, Transport};

/// By default a player may send 20 commands a second: a bot keeps just below.
const PAUSE: Duration = Duration::from_millis(55);

/// How many games, and how.
#[derive(Clone, Debug)]
pub struct TournamentPlan {
    /// All gateways, as addresses.
    pub gateways: Vec<String>,
    /// How many games are played; fewer if it is wound up before.
    pub games: usize,
    /// How many at a time.
    pub at_once: usize,
    /// How many watch each game.
    pub spectators: usize,
    /// A bot moves at most once in this time.
    pub pause: Duration,
    /// The same seed plays the same games, as far as the moves alone decide.
    pub seed: u64,
    /// How the seats of the n-th game talk to their gateways, in turn.
    pub transports: Vec<[Transport; 2]>,
}

impl TournamentPlan {
    /// So many games, all at once and as fast as players may, over WebSocket, with a spectator each.
    #[must_use]
    pub fn new(gateways: Vec<String>, games: usize, seed: u64) -> Self {
        Self {
            gateways,
            games,
            at_once: games,
            spectators: 1,
            pause: PAUSE,
            seed,
            transports: vec![[Transport::WebSocket; 2]],
        }
    }
}

/// A tournament that is being played.
#[derive(Debug)]
pub struct Tournament {
    /// How many moves were acknowledged so far.
    pub progress: watch::Receiver<u64>,
    /// From command to the opponent's frame.
    pub latencies: LatencyBook,
    tables: Arc<Tables>,
    playing: JoinSet<Result<()>>,
}

/// One game as its clients saw it.
#[derive(Debug)]
pub struct GameRecord {
    /// Which game.
    pub game: Uuid,
    /// White's bot.
    pub white: Played,
    /// Black's bot.
    pub black: Played,
    /// Those who watched.
    pub spectators: Vec<Watched>,
    /// The frames of one who comes when all is over and replays the whole log.
    pub late: Recording,
}

/// What came of a tournament of which some games may have gone wrong.
#[derive(Debug)]
pub struct Conclusion {
    /// The games that were played to their end.
    pub records: Vec<GameRecord>,
    /// What broke the others off.
    pub failures: Vec<anyhow::Error>,
}

impl GameRecord {
    /// All recordings.
    #[must_use]
    pub fn recordings(&self) -> Vec<&Recording> {
        let watched = self.spectators.iter().map(|watched| &watched.recording);
        [&self.white.recording, &self.black.recording]
            .into_iter()
            .chain(watched)
            .chain([&self.late])
            .collect()
    }

    /// How its players and spectators came from gateway to gateway.
    pub fn passages(&self) -> impl Iterator<Item = &Passage> {
        let watched = self.spectators.iter().flat_map(|watched| &watched.passages);
        let played = self.white.passages.iter().chain(&self.black.passages);
        played.chain(watched)
    }
}

impl Tournament {
    /// Starts the games.
    #[must_use]
    pub fn start(plan: &TournamentPlan) -> Self {
        let tables = Arc::new(Tables::new(plan.clone()));
        let (sender, progress) = watch::channel(0);
        let mut playing = JoinSet::new();
        for _ in 0..plan.at_once {
            let (tables, sender) = (Arc::clone(&tables), sender.clone());
            playing.spawn(async move { tables.play(&sender).await });
        }
        Self {
            progress,
            latencies: tables.latencies.clone(),
            tables,
            playing,
        }
    }

    /// Waits until that many moves were acknowledged.
    ///
    /// # Errors
    /// All games ended before.
    pub async fn moves(&mut self, count: u64) -> Result<()> {
        self.progress
            .wait_for(|moves| *moves >= count)
            .await
            .context("all games are over")?;
        Ok(())
    }

    /// How many games were played to their end so far.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.tables.ended()
    }

    /// No further game begins, and whoever is to move resigns.
    pub fn wind_up(&self) {
        self.tables.winding_up.send_replace(true);
    }

    /// Waits until all games are over.
    ///
    /// # Errors
    /// The first game that did not go as it must.
    pub async fn finish(mut self) -> Result<Vec<GameRecord>> {
        while let Some(played) = self.playing.join_next().await {
            played.context("a game's task")??;
        }
        Ok(self.tables.take_records())
    }

    /// Waits until all games are over, or, of a tournament that is wound up, none ends for as long
    /// as `patience`.
    pub async fn conclude(mut self, patience: Duration) -> Conclusion {
        let mut failures = Vec::new();
        loop {
            match tokio::time::timeout(patience, self.playing.join_next()).await {
                Ok(None) => break,
                Ok(Some(Ok(Ok(())))) => {}
                Ok(Some(Ok(Err(failure)))) => failures.push(failure),
                Ok(Some(Err(panic))) => failures.push(panic.into()),
                Err(_) => {
                    let seconds = patience.as_secs();
                    let waits = |game| anyhow!("game {game} waits, nobody moved for {seconds} s");
                    failures.extend(self.tables.playing().into_iter().map(waits));
                    break;
                }
            }
        }
        Conclusion {
            records: self.tables.take_records(),
            failures,
        }
    }
}
