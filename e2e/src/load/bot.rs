//! A bot: it takes any of its legal moves, at random but repeatably, until the game is over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use uuid::Uuid;

use super::hand::Hand;
use super::latency::LatencyBook;
use crate::client::protocol::{Side, ViewClass};
use crate::client::{Follower, Happening, Manners, Passage, Recording, Session, Transport, new_id};

/// A command that is refused for a passing reason is sent again after this.
const RETRY_PAUSE: Duration = Duration::from_millis(150);
/// A command that is refused so often in a row will not succeed.
const REFUSALS_MAX: u32 = 400;

/// A bot, and where it plays.
#[derive(Debug)]
pub struct Bot {
    /// All gateways, as addresses.
    pub gateways: Vec<String>,
    /// Which of them it begins at.
    pub home: usize,
    /// Who it is.
    pub session: Session,
    /// Which game it plays.
    pub game: Uuid,
    /// Which seat it has there.
    pub side: Side,
    /// How it talks to the gateway.
    pub transport: Transport,
    /// The same seed takes the same moves from the same lists.
    pub seed: u64,
    /// It moves at most once in this time.
    pub pause: Duration,
    /// Once this says true, it resigns instead of moving.
    pub winding_up: watch::Receiver<bool>,
    /// Where latencies are noted.
    pub latencies: LatencyBook,
    /// Counts the moves of all bots, for whoever waits for progress.
    pub progress: watch::Sender<u64>,
}

/// What a bot went through.
#[derive(Debug)]
pub struct Played {
    /// Every frame that it was sent.
    pub recording: Recording,
    /// How it came from gateway to gateway.
    pub passages: Vec<Passage>,
    /// How many of its commands were answered as duplicates of themselves.
    pub duplicates: u32,
    /// How often one of its commands was refused for a passing reason.
    pub passing_refusals: u32,
}

/// What a spectator went through.
#[derive(Debug)]
pub struct Watched {
    /// What it does when it is asked to go.
    pub manners: Manners,
    /// Every frame that it was sent.
    pub recording: Recording,
    /// How it came from gateway to gateway.
    pub passages: Vec<Passage>,
}

impl Bot {
    /// Plays until the game is over.
    ///
    /// # Errors
    /// An invariant was broken, a legal move was refused, or no gateway was there.
    pub async fn play(self) -> Result<Played> {
        let class = ViewClass::Seat(self.side);
        let session = Some(self.session.clone());
        let follower = Follower::new(
            &self.gateways,
            self.home,
            session,
            self.game,
            class,
            self.transport,
        );
        let playing = Playing {
            hand: Hand::new(StdRng::seed_from_u64(self.seed), self.pause),
            follower,
            refusals: 0,
            duplicates: 0,
            passing_refusals: 0,
            bot: self,
        };
        let game = playing.bot.game;
        let side = playing.bot.side;
        playing
            .run()
            .await
            .with_context(|| format!("{side:?} of game {game}"))
    }
}

/// A spectator: follows a game over WebSocket until it is over.
///
/// # Errors
/// An invariant was broken, or no gateway was there.
pub async fn watch(
    gateways: &[String],
    home: usize,
    game: Uuid,
    manners: Manners,
) -> Result<Watched> {
    let transport = Transport::WebSocket;
    let mut follower = Follower::new(gateways, home, None, game, ViewClass::Public, transport)
        .with_manners(manners);
    while !follower.recording.is_over() {
        follower
            .next()
            .await
            .with_context(|| format!("a spectator of game {game}"))?;
    }
    Ok(Watched {
        manners,
        recording: follower.recording,
        passages: follower.passages,
    })
}

struct Playing {
    bot: Bot,
    hand: Hand,
    follower: Follower,
    refusals: u32,
    duplicates: u32,
    passing_refusals: u32,
}

impl Playing {
    async fn run(mut self) -> Result<Played> {
        while !self.follower.recording.is_over() || self.hand.pending().is_some() {
            let pending = self.hand.pending();
            let unsent = pending.filter(|pending| !pending.sent);
            let due = unsent.map(|pending| pending.due);
            // A long poll is not given up for a command: that would cost a connection each time.
            let listens = due.is_none() || self.bot.transport == Transport::WebSocket;
            let happening = tokio::select! {
                happening = self.follower.next(), if listens => happening?,
                () = at(due) => {
                    self.send_pending().await?;
                    continue;
                }
            };
            match happening {
                Happening::Connected => {
                    if due.is_none() {
                        self.send_pending().await?;
                    }
                }
                Happening::Frame => self.on_frame(),
                Happening::Done { n, duplicate, .. } => self.on_done(n, duplicate)?,
                Happening::Refused { reason, detail } => self.on_refused(&reason, &detail)?,
            }
        }
        Ok(Played {
            recording: self.follower.recording,
            passages: self.follower.passages,
            duplicates: self.duplicates,
            passing_refusals: self.passing_refusals,
        })
    }

    fn on_frame(&mut self) {
        let Some(recorded) = self.follower.recording.frames.last() else {
            return;
        };
        let frame = &recorded.frame;
        let by_opponent = frame
            .event()
            .is_some_and(|event| event.by == Some(self.bot.side.other()));
        if by_opponent {
            self.bot
                .latencies
                .arrived(self.bot.game, frame.view().ply, recorded.at);
        }
        self.look();
    }

    fn look(&mut self) {
        let resigns = *self.bot.winding_up.borrow();
        if let Some(last) = self.follower.recording.last() {
            self.hand.look(last, new_id(), resigns);
        }
    }

    async fn send_pending(&mut self) -> Result<()> {
        let Some(pending) = self.hand.pending() else {
            return Ok(());
        };
        pending.sent = true;
        self.bot.latencies.sent(self.bot.game, pending.ply + 1);
        self.follower
            .command(pending.id, Some(pending.at), &pending.action)
            .await
    }

    fn on_done(&mut self, n: u64, duplicate: bool) -> Result<()> {
        self.hand.answered(n)?;
        self.refusals = 0;
        self.duplicates += u32::from(duplicate);
        self.bot.progress.send_modify(|moves| *moves += 1);
        self.look();
        Ok(())
    }

    fn on_refused(&mut self, reason: &str, detail: &str) -> Result<()> {
        match (reason, self.hand.pending()) {
            ("persistence_failure" | "unavailable" | "rate_limited", Some(pending))
                if self.refusals < REFUSALS_MAX =>
            {
                self.refusals += 1;
                self.passing_refusals += 1;
                pending.sent = false;
                pending.due = Instant::now() + RETRY_PAUSE;
                Ok(())
            }
            _ => bail!("a legal move was refused: {reason}: {detail}"),
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
