//! A game whose two players have a socket each and move when told to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::client::new_id;
use e2e::history::board::Position;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;
use uuid::Uuid;

use super::ground::Ground;
use crate::bench::swarm::frames::{TEXT, text};
use crate::bench::swarm::subscribe;
use crate::bench::swarm::tally::since_commit;
use crate::bench::swarm::wire::Wire;

/// What the text of an event's frame begins with.
const EVENT: &[u8] = br#"{"type":"event""#;
/// A move that has not been told by then never is.
const PATIENCE: Duration = Duration::from_secs(20);
/// Games that are seated at once.
const AT_ONCE: usize = 32;
/// A hundred half-moves without a capture or a pawn's move are a draw: the script keeps away.
const QUIET_MAX: u32 = 90;
/// Scripts that are tried before it is given up.
const ATTEMPTS_MAX: u64 = 1000;

/// A game and its players' sockets.
pub(super) struct Table {
    game: Uuid,
    wires: [Wire; 2],
    script: Arc<[String]>,
    ply: usize,
}

/// What became of a move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// From its sending to the mover's answer.
    pub(super) to_ack: Duration,
    /// From its sending to the opponent's frame.
    pub(super) to_opponent: Duration,
    /// From its commit to the opponent's frame.
    pub(super) since_commit: Duration,
}

impl Table {
    /// So many games, White's sockets at one gateway and Black's at another, for at most so many
    /// moves each.
    pub(super) async fn seat(
        ground: &Ground,
        gateways: [usize; 2],
        games: usize,
        moves: usize,
    ) -> Result<Vec<Self>> {
        let script: Arc<[String]> = script(moves)?.into();
        let games = ground.games(gateways[0], "fog-chess", games).await?;
        let tables = stream::iter(games.into_iter().enumerate()).map(|(nth, game)| {
            let script = Arc::clone(&script);
            async move {
                let wire = async |player: usize| {
                    let dial = ground.dial(gateways[player], nth, Some(player));
                    let mut wire = Wire::open(&dial).await?;
                    wire.send(&subscribe(game, None)).await?;
                    wire.until(br#"{"type":"snapshot""#).await?;
                    anyhow::Ok(wire)
                };
                Ok(Self {
                    game,
                    wires: [wire(0).await?, wire(1).await?],
                    script,
                    ply: 0,
                })
            }
        });
        tables.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Makes the next move, and waits until mover and opponent have been told; none when the script
    /// is at its end.
    pub(super) async fn play(&mut self) -> Result<Option<Moved>> {
        let Some(uci) = self.script.get(self.ply).cloned() else {
            return Ok(None);
        };
        let moved = timeout(PATIENCE, self.make(&uci)).await;
        let moved = moved.with_context(|| format!("move {} ({uci}) hangs", self.ply + 1))??;
        self.ply += 1;
        Ok(Some(moved))
    }

    async fn make(&mut self, uci: &str) -> Result<Moved> {
        let [white, black] = &mut self.wires;
        // The mover's own frame of the move before may be still on its way to who is told now.
        let (mover, other, by): (_, _, &[u8]) = if self.ply.is_multiple_of(2) {
            (white, black, br#""by":"white""#)
        } else {
            (black, white, br#""by":"black""#)
        };
        let command = format!(
            r#"{{"type":"command","ref":"m","game":"{}","command_id":"{}","action":{{"type":"move","uci":"{uci}"}}}}"#,
            self.game,
            new_id()
        );
        let sent = Instant::now();
        mover.send(&text(&command)).await?;
        let (mut acked, mut refused, mut told) = (None, None, None);
        while acked.is_none() || told.is_none() {
            let open = tokio::select! {
                open = other.receive(|opcode, text| if opcode == TEXT && is_event_by(by, text) {
                    told = since_commit(text).map(|since| (since, sent.elapsed()));
                }) => open,
                open = mover.receive(|opcode, text| if opcode == TEXT {
                    if text.starts_with(br#"{"type":"ack""#) {
                        acked = Some(sent.elapsed());
                    } else if text.starts_with(br#"{"type":"error""#) {
                        refused = Some(String::from_utf8_lossy(text).into_owned());
                    }
                }) => open,
            };
            ensure!(open, "a player's socket ended");
            if let Some(refused) = refused {
                bail!("move {} ({uci}) was refused: {refused}", self.ply + 1);
            }
        }
        let ((since_commit, to_opponent), to_ack) = told.zip(acked).context("both were told")?;
        Ok(Moved {
            to_ack,
            to_opponent,
            since_commit,
        })
    }
}

/// Whether a message is the frame of an event that somebody caused.
fn is_event_by(by: &[u8], text: &[u8]) -> bool {
    // A frame's members are sorted, so the event stands near its beginning.
    text.starts_with(EVENT) && text.windows(by.len()).any(|window| window == by)
}

/// Moves of a game that does not end by them.
fn script(moves: usize) -> Result<Vec<String>> {
    (0..ATTEMPTS_MAX)
        .find_map(|seed| attempt(moves, seed))
        .context("no game is so long")
}

/// A game of legal moves, at random but repeatably, that captures no king and repeats no position.
fn attempt(moves: usize, seed: u64) -> Option<Vec<String>> {
    let mut random = seed;
    let (mut position, mut script) = (Position::default(), Vec::new());
    let mut boards = HashSet::new();
    let mut quiet = 0;
    while script.len() < moves {
        let legal = position.moves();
        let begin = below(&mut random, legal.len())?;
        let (uci, next) = (0..legal.len()).find_map(|nth| {
            let uci = &legal[(begin + nth) % legal.len()];
            let mut next = position.clone();
            next.play(uci).ok()?;
            let board = next.board();
            let lives = board.contains('K') && board.contains('k') && !next.moves().is_empty();
            (lives && boards.insert(board)).then(|| (uci.clone(), next))
        })?;
        let pieces = |position: &Position| position.board().replace('.', "").len();
        let pawns = |position: &Position| position.board().replace(|c| c != 'P' && c != 'p', ".");
        let loud = pieces(&position) != pieces(&next) || pawns(&position) != pawns(&next);
        quiet = if loud { 0 } else { quiet + 1 };
        if quiet > QUIET_MAX {
            return None;
        }
        script.push(uci);
        position = next;
    }
    Some(script)
}

/// A number below a bound, by a linear congruential generator (Knuth's MMIX); none below 0.
fn below(random: &mut u64, bound: usize) -> Option<usize> {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*random >> 33).ok()?.checked_rem(bound)
}

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn a_script_is_as_long_as_asked_for_and_always_the_same() {
        let long = script(200).expect("a script");
        assert_eq!(long.len(), 200);
        assert_eq!(long, script(200).expect("a script"));
    }
}
