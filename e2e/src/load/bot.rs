//! A bot: it takes any of its legal moves, at random but repeatably, until the game is over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch::Sender;
use uuid::Uuid;

use super::latency::LatencyBook;
use crate::client::protocol::{Side, ViewClass, move_action};
use crate::client::{Follower, Happening, Recording, Session, Transport, new_id};

/// Random games end by a captured king well before; what does not is resigned.
const PLIES_MAX: usize = 400;
/// A command that is refused for a passing reason is sent again after this.
const RETRY_PAUSE: Duration = Duration::from_millis(150);
/// A command that is refused so often in a row will not succeed.
const REFUSALS_MAX: u32 = 400;
/// By default a player may send 20 commands a second: a bot keeps just below.
const MOVE_EVERY: Duration = Duration::from_millis(55);

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
    /// Where latencies are noted.
    pub latencies: LatencyBook,
    /// Counts the moves of all bots, for whoever waits for progress.
    pub progress: Sender<u64>,
}

/// What a bot went through.
#[derive(Debug)]
pub struct Played {
    /// Every frame that it was sent.
    pub recording: Recording,
    /// How often it had to connect again.
    pub reconnects: u32,
    /// How many of its commands were answered as duplicates of themselves.
    pub duplicates: u32,
    /// How often one of its commands was refused for a passing reason.
    pub passing_refusals: u32,
}

/// The command that is on its way.
struct Pending {
    id: Uuid,
    at: u64,
    action: Value,
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
            random: StdRng::seed_from_u64(self.seed),
            follower,
            pending: None,
            refusals: 0,
            duplicates: 0,
            passing_refusals: 0,
            next_move_at: Instant::now(),
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

/// A spectator: follows a game until it is over.
///
/// # Errors
/// An invariant was broken, or no gateway was there.
pub async fn watch(
    gateways: &[String],
    home: usize,
    game: Uuid,
    transport: Transport,
) -> Result<Recording> {
    let mut follower = Follower::new(gateways, home, None, game, ViewClass::Public, transport);
    while !follower.recording.is_over() {
        follower
            .next()
            .await
            .with_context(|| format!("a spectator of game {game}"))?;
    }
    Ok(follower.recording)
}

struct Playing {
    bot: Bot,
    random: StdRng,
    follower: Follower,
    pending: Option<Pending>,
    refusals: u32,
    duplicates: u32,
    passing_refusals: u32,
    next_move_at: Instant,
}

impl Playing {
    async fn run(mut self) -> Result<Played> {
        while !self.follower.recording.is_over() || self.pending.is_some() {
            match self.follower.next().await? {
                Happening::Connected => self.send_pending().await?,
                Happening::Frame => self.on_frame().await?,
                Happening::Done { n, duplicate, .. } => self.on_done(n, duplicate)?,
                Happening::Refused { reason, detail } => self.on_refused(&reason, &detail).await?,
            }
        }
        Ok(Played {
            recording: self.follower.recording,
            reconnects: self.follower.reconnects,
            duplicates: self.duplicates,
            passing_refusals: self.passing_refusals,
        })
    }

    async fn on_frame(&mut self) -> Result<()> {
        let Some(recorded) = self.follower.recording.frames.last() else {
            return Ok(());
        };
        let frame = &recorded.frame;
        let view = frame.view();
        let by_opponent = frame
            .event()
            .is_some_and(|event| event.by == Some(self.bot.side.other()));
        if by_opponent {
            self.bot
                .latencies
                .arrived(self.bot.game, view.ply, recorded.at);
        }
        let (n, ply) = (frame.n(), view.ply);
        let may_move = view.result.is_none() && self.pending.is_none();
        let Some(moves) = view
            .moves
            .as_ref()
            .filter(|moves| may_move && !moves.is_empty())
        else {
            return Ok(());
        };
        let action = if ply >= PLIES_MAX {
            json!({ "type": "resign" })
        } else {
            move_action(&moves[self.random.random_range(0..moves.len())])
        };
        self.pending = Some(Pending {
            id: new_id(),
            at: n,
            action,
        });
        tokio::time::sleep_until(self.next_move_at.into()).await;
        self.next_move_at = Instant::now() + MOVE_EVERY;
        self.bot.latencies.sent(self.bot.game, ply + 1);
        self.send_pending().await
    }

    async fn send_pending(&mut self) -> Result<()> {
        match &self.pending {
            Some(pending) => {
                self.follower
                    .command(pending.id, Some(pending.at), &pending.action)
                    .await
            }
            None => Ok(()),
        }
    }

    fn on_done(&mut self, n: u64, duplicate: bool) -> Result<()> {
        let Some(pending) = self.pending.take() else {
            bail!("an answer came that nobody waited for");
        };
        if n != pending.at + 1 {
            bail!("a move at {} is answered with frame {n}", pending.at);
        }
        self.refusals = 0;
        self.duplicates += u32::from(duplicate);
        self.bot.progress.send_modify(|moves| *moves += 1);
        Ok(())
    }

    async fn on_refused(&mut self, reason: &str, detail: &str) -> Result<()> {
        match reason {
            "persistence_failure" | "unavailable" | "rate_limited"
                if self.refusals < REFUSALS_MAX =>
            {
                self.refusals += 1;
                self.passing_refusals += 1;
                tokio::time::sleep(RETRY_PAUSE).await;
                self.send_pending().await
            }
            _ => bail!("a legal move was refused: {reason}: {detail}"),
        }
    }
}
