//! Many games, some at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::bot::{Bot, Played, watch as spectate};
use super::latency::LatencyBook;
use crate::client::protocol::{Side, ViewClass};
use crate::client::{Api, Follower, NewGame, Recording, Refusal, Session, Transport};

/// A gateway that was killed is started again within a second; a busy machine takes longer.
const GATEWAY_BACK_MAX: Duration = Duration::from_secs(30);
/// Pause between two attempts to seat the players of a game.
const SEATING_PAUSE: Duration = Duration::from_millis(100);

/// How many games, and how.
#[derive(Clone, Debug)]
pub struct TournamentPlan {
    /// All gateways, as addresses.
    pub gateways: Vec<String>,
    /// How many games are played.
    pub games: usize,
    /// How many at a time.
    pub at_once: usize,
    /// The same seed plays the same games, as far as the moves alone decide.
    pub seed: u64,
    /// How the seats of the n-th game talk to their gateways, in turn.
    pub transports: Vec<[Transport; 2]>,
}

/// A tournament that is being played.
#[derive(Debug)]
pub struct Tournament {
    /// How many moves were acknowledged so far.
    pub progress: watch::Receiver<u64>,
    /// From command to the opponent's frame.
    pub latencies: LatencyBook,
    games: JoinSet<Result<GameRecord>>,
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
    /// A spectator's frames.
    pub spectator: Recording,
    /// The frames of one who comes when all is over and replays the whole log.
    pub late: Recording,
}

impl GameRecord {
    /// All recordings.
    #[must_use]
    pub fn recordings(&self) -> [&Recording; 4] {
        [
            &self.white.recording,
            &self.black.recording,
            &self.spectator,
            &self.late,
        ]
    }
}

impl Tournament {
    /// Starts the games.
    #[must_use]
    pub fn start(plan: &TournamentPlan) -> Self {
        let (progress, watcher) = watch::channel(0);
        let latencies = LatencyBook::default();
        let places = Arc::new(Semaphore::new(plan.at_once));
        let mut games = JoinSet::new();
        for nth in 0..plan.games {
            let (places, plan) = (Arc::clone(&places), plan.clone());
            let (progress, latencies) = (progress.clone(), latencies.clone());
            games.spawn(async move {
                let _place = places
                    .acquire_owned()
                    .await
                    .context("the tournament is over")?;
                Box::pin(play_game(&plan, nth, latencies, progress)).await
            });
        }
        Self {
            progress: watcher,
            latencies,
            games,
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

    /// Waits until all games are over.
    ///
    /// # Errors
    /// The first game that did not go as it must.
    pub async fn finish(mut self) -> Result<Vec<GameRecord>> {
        let mut records = Vec::new();
        while let Some(played) = self.games.join_next().await {
            records.push(played.context("a game's task")??);
        }
        Ok(records)
    }
}

async fn play_game(
    plan: &TournamentPlan,
    nth: usize,
    latencies: LatencyBook,
    progress: watch::Sender<u64>,
) -> Result<GameRecord> {
    let count = plan.gateways.len();
    let [home, away] = [nth % count, (nth + 1) % count];
    let apis = [home, away].map(|at| Api::new(&plan.gateways[at]));
    let begun = Instant::now();
    let (white, black, game) = loop {
        match seat_two(&apis, nth).await {
            // A gateway was killed just now: it is back in a moment, and the game begins anew.
            Err(Refusal::NoAnswer(_)) if begun.elapsed() < GATEWAY_BACK_MAX => {
                tokio::time::sleep(SEATING_PAUSE).await;
            }
            seated => break seated?,
        }
    };
    let [white_by, black_by] = plan.transports[nth % plan.transports.len()];
    let bot = |session, home, side, transport| Bot {
        gateways: plan.gateways.clone(),
        home,
        session,
        game,
        side,
        transport,
        seed: plan
            .seed
            .wrapping_add(nth as u64 * 2 + u64::from(side == Side::Black)),
        latencies: latencies.clone(),
        progress: progress.clone(),
    };
    let (white, black, spectator) = tokio::try_join!(
        bot(white, home, Side::White, white_by).play(),
        bot(black, away, Side::Black, black_by).play(),
        spectate(&plan.gateways, away, game, Transport::WebSocket),
    )?;
    let late = replay(&plan.gateways, home, game).await?;
    Ok(GameRecord {
        game,
        white,
        black,
        spectator,
        late,
    })
}

/// Two new players at a new game, each at a gateway of their own.
async fn seat_two(
    [white, black]: &[Api; 2],
    nth: usize,
) -> Result<(Session, Session, Uuid), Refusal> {
    let creator = white.register(&format!("white {nth}")).await?;
    let joiner = black.register(&format!("black {nth}")).await?;
    let game = white.create_game(&creator, &NewGame::default()).await?.id;
    black.join(&joiner, game).await?;
    Ok((creator, joiner, game))
}

/// Reads the whole log as one who comes late.
async fn replay(gateways: &[String], home: usize, game: Uuid) -> Result<Recording> {
    let mut follower = Follower::new(
        gateways,
        home,
        None,
        game,
        ViewClass::Public,
        Transport::Http,
    );
    while !follower.recording.is_over() {
        follower.next().await?;
    }
    Ok(follower.recording)
}
