//! The commands that one socket has in flight. Those of one game are carried out one after the
//! other, in the order in which they came; a slow one holds up neither frames nor other games.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::poll_fn;
use shared::ids::{GameId, PlayerId};
use shared::telemetry::start_request;

use crate::games::service::{Accepted, CommandRequest, Games};
use crate::problem::Problem;

/// Commands of one socket that are carried out or wait; beyond it the socket is not read from.
const COMMANDS_MAX: usize = 32;

/// A command's end.
pub(super) struct Done {
    /// The client's name for the request.
    pub(super) reference: String,
    /// The game.
    pub(super) game: GameId,
    /// What it came to.
    pub(super) result: Result<Accepted, Problem>,
    /// The trace it was carried out in.
    pub(super) trace_id: String,
}

/// A command as it came.
pub(super) struct Sent {
    /// The client's name for the request.
    pub(super) reference: String,
    /// Who sent it.
    pub(super) player: PlayerId,
    /// The game.
    pub(super) game: GameId,
    /// The command.
    pub(super) request: CommandRequest,
}

struct Running {
    game: GameId,
    done: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// The commands of one socket.
#[derive(Default)]
pub(super) struct Commands {
    running: Vec<Running>,
    waiting: VecDeque<Sent>,
}

impl Commands {
    /// Whether no more may come for now.
    pub(super) fn are_full(&self) -> bool {
        self.running.len() + self.waiting.len() >= COMMANDS_MAX
    }

    /// Whether none is in flight.
    pub(super) fn are_done(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Carries a command out as soon as those of its game before it are done.
    pub(super) fn add(&mut self, games: &Games, sent: Sent) {
        if self.running.iter().any(|running| running.game == sent.game) {
            self.waiting.push_back(sent);
        } else {
            self.start(games, sent);
        }
    }

    /// Waits for the next command that is done.
    pub(super) async fn next(&mut self, games: &Games) -> Done {
        poll_fn(|cx| self.poll_next(games, cx)).await
    }

    /// Carries out what has come, when nobody is left to be answered.
    pub(super) async fn finish(&mut self, games: &Games) {
        while !self.are_done() {
            self.next(games).await;
        }
    }

    fn poll_next(&mut self, games: &Games, cx: &mut Context<'_>) -> Poll<Done> {
        for i in 0..self.running.len() {
            let running = &mut self.running[i];
            if let Poll::Ready(done) = running.done.as_mut().poll(cx) {
                self.running.swap_remove(i);
                let next = self.waiting.iter().position(|sent| sent.game == done.game);
                if let Some(sent) = next.and_then(|at| self.waiting.remove(at)) {
                    self.start(games, sent);
                }
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    }

    fn start(&mut self, games: &Games, sent: Sent) {
        let game = sent.game;
        let done = Box::pin(carry_out(games.clone(), sent));
        self.running.push(Running { game, done });
    }
}

async fn carry_out(games: Games, sent: Sent) -> Done {
    let Sent {
        reference,
        player,
        game,
        request,
    } = sent;
    let traced = start_request(
        None,
        false,
        || tracing::info_span!(target: "otel", "ws command", otel.kind = "server", game.id = %game),
    );
    let result = games.command(player, game, request, &traced.context).await;
    Done {
        reference,
        game,
        result,
        trace_id: traced.context.trace_id(),
    }
}
