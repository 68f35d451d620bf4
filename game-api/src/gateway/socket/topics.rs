//! The topics of one socket. Each is a future that waits for its next frames; together they are
//! polled in place, so that a quiet topic costs nothing but its own wait.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::poll_fn;
use shared::ids::GameId;
use tokio::time::sleep;
use tokio_util::sync::ReusableBoxFuture;

use crate::gateway::Gateway;
use crate::gateway::frame::Frame;
use crate::gateway::subscription::{Opened, Subscription, Wanted};
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
}

struct Topic {
    game: GameId,
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
        self.topics.len() >= TOPICS_MAX
    }

    /// Begins to open a subscription; an earlier one of the same game ends here.
    pub(super) fn open(&mut self, gateway: &Gateway, reference: String, wanted: Wanted) {
        let game = wanted.game;
        self.close(game);
        let gateway = gateway.clone();
        let step = ReusableBoxFuture::new(async move {
            let opened = Subscription::open(&gateway, wanted).await;
            Step::Opened(reference, opened.map(Box::new))
        });
        self.topics.push(Topic {
            game,
            step,
            taken: false,
        });
    }

    /// Goes on with a subscription whose step was taken.
    pub(super) fn resume(&mut self, game: GameId, subscription: Box<Subscription>) {
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.game == game) {
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
        match subscription.next().await {
            Ok(frames) => return Step::Frames(subscription, frames),
            // The client waits a little longer; what is committed comes when it can be read.
            Err(_) => sleep(RETRY_EVERY).await,
        }
    }
}
