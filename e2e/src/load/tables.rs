//! The tables of a tournament: at each, one game after the other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::sync::watch;
use uuid::Uuid;

use super::bot::{Bot, watch as spectate};
use super::latency::LatencyBook;
use super::tournament::{GameRecord, TournamentPlan};
use crate::client::protocol::{Side, ViewClass};
use crate::client::{Api, Follower, Manners, NewGame, Recording, Refusal, Session, Transport};

/// A gateway that was killed is started again within a second, but where gateways are killed again
/// and again on a busy machine, an attempt must find two of them alive for as long as it takes.
const SEATING_MAX: Duration = Duration::from_mins(2);
/// Pause between two attempts to seat the players of a game.
const SEATING_PAUSE: Duration = Duration::from_millis(100);

/// What all tables of a tournament share.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) plan: TournamentPlan,
    pub(super) winding_up: watch::Sender<bool>,
    pub(super) latencies: LatencyBook,
    next: AtomicUsize,
    records: Mutex<Vec<GameRecord>>,
    playing: Mutex<BTreeSet<Uuid>>,
}

impl Tables {
    pub(super) fn new(plan: TournamentPlan) -> Self {
        Self {
            plan,
            winding_up: watch::Sender::new(false),
            latencies: LatencyBook::default(),
            next: AtomicUsize::new(0),
            records: Mutex::default(),
            playing: Mutex::default(),
        }
    }

    /// Plays at one table until no game is left to begin; counts the moves in `progress`, which
    /// the tables alone hold: it closes with the last of them.
    pub(super) async fn play(&self, progress: &watch::Sender<u64>) -> Result<()> {
        while !*self.winding_up.borrow() {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            if nth >= self.plan.games {
                return Ok(());
            }
            let (home, seated) = self.seat(nth).await?;
            let game = seated.game;
            self.mark(|playing| playing.insert(game));
            let played = Box::pin(self.play_game(nth, home, seated, progress)).await;
            self.mark(|playing| playing.remove(&game));
            let record = played?;
            self.records
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(record);
        }
        Ok(())
    }

    /// The games that were played to their end, whose records then are the caller's.
    pub(super) fn take_records(&self) -> Vec<GameRecord> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *records)
    }

    /// How many games were played to their end.
    pub(super) fn ended(&self) -> usize {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.len()
    }

    /// The games that have begun and not ended.
    pub(super) fn playing(&self) -> Vec<Uuid> {
        let playing = self.playing.lock().unwrap_or_else(PoisonError::into_inner);
        playing.iter().copied().collect()
    }

    async fn play_game(
        &self,
        nth: usize,
        home: usize,
        seated: Seated,
        progress: &watch::Sender<u64>,
    ) -> Result<GameRecord> {
        let plan = &self.plan;
        let Seated { white, black, game } = seated;
        let away = (home + 1) % plan.gateways.len();
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
            pause: plan.pause,
            winding_up: self.winding_up.subscribe(),
            latencies: self.latencies.clone(),
            progress: progress.clone(),
        };
        let spectators = (0..plan.spectators).map(|nth| {
            spectate(
                &plan.gateways,
                away + nth,
                game,
                manners(nth / plan.gateways.len()),
            )
        });
        let (white, black, spectators) = tokio::try_join!(
            bot(white, home, Side::White, white_by).play(),
            bot(black, away, Side::Black, black_by).play(),
            try_join_all(spectators),
        )?;
        let late = replay(&plan.gateways, home, game).await?;
        Ok(GameRecord {
            game,
            white,
            black,
            spectators,
            late,
        })
    }

    /// Seats two new players, from wherever two gateways are there; gives White's.
    async fn seat(&self, nth: usize) -> Result<(usize, Seated)> {
        let gateways = &self.plan.gateways;
        let begun = Instant::now();
        let mut home = nth % gateways.len();
        let mut players = [None, None];
        loop {
            let apis = [home, home + 1].map(|at| Api::new(&gateways[at % gateways.len()]));
            match seat_two(&apis, &mut players, nth).await {
                Ok(seated) => return Ok((home, seated)),
                // A gateway was killed just now: elsewhere, or in a moment, the game begins anew.
                Err(refusal) if may_pass(&refusal) && begun.elapsed() < SEATING_MAX => {
                    home = (home + 1) % gateways.len();
                    tokio::time::sleep(SEATING_PAUSE).await;
                }
                Err(refusal) => {
                    return Err(refusal).with_context(|| format!("the players of game {nth}"));
                }
            }
        }
    }

    fn mark(&self, change: impl FnOnce(&mut BTreeSet<Uuid>) -> bool) {
        change(&mut self.playing.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Of the spectators at a gateway every other one stays until it is closed.
const fn manners(nth: usize) -> Manners {
    match nth % 2 {
        0 => Manners::Goes,
        _ => Manners::Stays,
    }
}

struct Seated {
    white: Session,
    black: Session,
    game: Uuid,
}

/// Two new players at a new game, each at a gateway of their own; `players` are those whom an
/// earlier attempt has registered.
async fn seat_two(
    [here, there]: &[Api; 2],
    players: &mut [Option<Session>; 2],
    nth: usize,
) -> Result<Seated, Refusal> {
    let [white, black] = players;
    let white = registered(here, white, || format!("white {nth}")).await?;
    let black = registered(there, black, || format!("black {nth}")).await?;
    let game = here.create_game(&white, &NewGame::default()).await?.id;
    there.join(&black, game).await?;
    Ok(Seated { white, black, game })
}

async fn registered(
    api: &Api,
    player: &mut Option<Session>,
    name: impl Fn() -> String,
) -> Result<Session, Refusal> {
    if let Some(session) = player {
        return Ok(session.clone());
    }
    let session = api.register(&name()).await?;
    Ok(player.insert(session).clone())
}

fn may_pass(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::NoAnswer(_) => true,
        Refusal::Strange(_) => false,
        Refusal::Problem { reason, .. } => {
            matches!(reason.as_str(), "unavailable" | "persistence_failure")
        }
    }
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
