//! The topics of one socket. Each is a future that waits for its next frames; together they are
//! polled in place, so that a quiet topic costs nothing but its own wait.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures_util::future::poll_fn;
use shared::ids::GameId;
use tokio::time::sleep;
use tokio_util::sync::ReusableBoxFuture;

use crate::gateway::Gateway;
use crate::gateway::frame::Frame;
use crate::gateway::subscription::{BATCH_FRAMES_MAX, Opened, Subscription, Wanted};
use crate::problem::Problem;

/// Topics of one socket.
pub(super) const TOPICS_MAX: usize = 32;
/// Between two attempts to read what a subscriber is owed while the database is away.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What a topic has come to.
pub(super) enum Step {
    /// The subscription under the client's name for it was opened, or refused.
    Opened(String, Result<Box<Opened>, Problem>),
    /// Frames to be sent.
    Frames(Box<Subscription>, Vec<Frame>),
    /// Who is there has changed.
    Presence(Box<Subscription>, Utf8Bytes),
}

struct Topic {
    game: GameId,
    /// The client's name for a subscription that has neither opened nor been refused yet. An open
    /// one of the same game stays beside it until then.
    opening: Option<String>,
    step: ReusableBoxFuture<'static, Step>,
    /// Nothing to poll: the step was taken and the subscription is with the session.
    taken: bool,
}

/// The topics of one socket.
#[derive(Default)]
pub(super) struct Topics {
    topics: Vec<Topic>,
    /// Which topic is asked first, so that a busy one does not keep the others waiting.
    first: usize,
}

impl Topics {
    /// Whether the game is among them.
    pub(super) fn contain(&self, game: GameId) -> bool {
        self.topics.iter().any(|topic| topic.game == game)
    }

    /// Whether there is no room for another one.
    pub(super) fn are_full(&self) -> bool {
        let games: HashSet<GameId> = self.topics.iter().map(|topic| topic.game).collect();
        games.len() >= TOPICS_MAX
    }

    /// Begins to open a subscription. An open one of the same game goes on until this one has
    /// opened; one that has not opened must have been abandoned.
    pub(super) fn open(&mut self, gateway: &Gateway, reference: String, wanted: Wanted) {
        let game = wanted.game;
        let opening = Some(reference.clone());
        let gateway = gateway.clone();
        let step = ReusableBoxFuture::new(async move {
            let opened = Subscription::open(&gateway, wanted).await;
            Step::Opened(reference, opened.map(Box::new))
        });
        self.topics.push(Topic {
            game,
            opening,
            step,
            taken: false,
        });
    }

    /// Gives up a subscription that has not opened; gives the client's name for it.
    pub(super) fn abandon(&mut self, game: GameId) -> Option<String> {
        let opening = |topic: &Topic| topic.game == game && topic.opening.is_some();
        let at = self.topics.iter().position(opening)?;
        self.topics.remove(at).opening
    }

    /// Goes on with a subscription that has opened; an earlier one of the same game ends here.
    pub(super) fn opened(&mut self, game: GameId, subscription: Box<Subscription>) {
        self.topics
            .retain(|topic| topic.game != game || topic.opening.is_some());
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.game == game) {
            topic.opening = None;
        }
        self.resume(game, subscription);
    }

    /// Goes on with a subscription whose frames were taken.
    pub(super) fn resume(&mut self, game: GameId, subscription: Box<Subscription>) {
        let open = |topic: &&mut Topic| topic.game == game && topic.opening.is_none();
        if let Some(topic) = self.topics.iter_mut().find(open) {
            topic.step.set(next(subscription));
            topic.taken = false;
        }
    }

    /// Ends a subscription; says whether there was one.
    pub(super) fn close(&mut self, game: GameId) -> bool {
        let before = self.topics.len();
        self.topics.retain(|topic| topic.game != game);
        self.topics.len() < before
    }

    /// Waits for the next step of any topic.
    pub(super) async fn next(&mut self) -> (GameId, Step) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(GameId, Step)> {
        let count = self.topics.len();
        for i in 0..count {
            let at = (self.first + i) % count;
            let topic = &mut self.topics[at];
            if topic.taken {
                continue;
            }
            if let Poll::Ready(step) = topic.step.poll(cx) {
                topic.taken = true;
                self.first = (at + 1) % count;
                return Poll::Ready((topic.game, step));
            }
        }
        Poll::Pending
    }
}

async fn next(mut subscription: Box<Subscription>) -> Step {
    loop {
        match subscription.ready(BATCH_FRAMES_MAX).await {
            Ok(frames) if frames.is_empty() => {}
            Ok(frames) => return Step::Frames(subscription, frames),
            Err(_) => {
                // The client waits a little longer; what is committed comes when it can be read.
                sleep(RETRY_EVERY).await;
                continue;
            }
        }
        if let Some(text) = subscription.presence() {
            return Step::Presence(subscription, text);
        }
        subscription.changed().await;
    }
}
