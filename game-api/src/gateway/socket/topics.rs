//! The topics of one socket. Each is a future that waits for its next frames; together they are
//! polled in place, so that a quiet topic costs nothing but its own wait.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures_util::future::poll_fn;
use tokio::time::sleep;
use tokio_util::sync::ReusableBoxFuture;

use super::inbound::Topic;
use crate::gateway::Gateway;
use crate::gateway::boards::Reader;
use crate::gateway::frame::{Frame, FrameKind};
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
    /// A board shows something new.
    Posted(Box<Reader>, FrameKind, Utf8Bytes),
}

struct Open {
    topic: Topic,
    /// The client's name for a subscription that has neither opened nor been refused yet. An open
    /// one of the same topic stays beside it until then.
    opening: Option<String>,
    step: ReusableBoxFuture<'static, Step>,
    /// Nothing to poll: the step was taken and the subscription is with the session.
    taken: bool,
}

/// The topics of one socket.
#[derive(Default)]
pub(super) struct Topics {
    topics: Vec<Open>,
    /// Which topic is asked first, so that a busy one does not keep the others waiting.
    first: usize,
}

impl Topics {
    /// Whether this one is among them.
    pub(super) fn contain(&self, topic: Topic) -> bool {
        self.topics.iter().any(|open| open.topic == topic)
    }

    /// Whether there is no room for another one.
    pub(super) fn are_full(&self) -> bool {
        let topics: HashSet<Topic> = self.topics.iter().map(|open| open.topic).collect();
        topics.len() >= TOPICS_MAX
    }

    /// Begins to open a subscription. An open one of the same game goes on until this one has
    /// opened; one that has not opened must have been abandoned.
    pub(super) fn open(&mut self, gateway: &Gateway, reference: String, wanted: Wanted) {
        let topic = Topic::Game(wanted.game);
        let opening = Some(reference.clone());
        let gateway = gateway.clone();
        let step = ReusableBoxFuture::new(async move {
            let opened = Subscription::open(&gateway, wanted).await;
            Step::Opened(reference, opened.map(Box::new))
        });
        self.add(Open {
            topic,
            opening,
            step,
            taken: false,
        });
    }

    /// Gives up a subscription that has not opened; gives the client's name for it.
    pub(super) fn abandon(&mut self, topic: Topic) -> Option<String> {
        let opening = |open: &Open| open.topic == topic && open.opening.is_some();
        let at = self.topics.iter().position(opening)?;
        self.topics.remove(at).opening
    }

    /// Goes on with a subscription that has opened; an earlier one of the same game ends here.
    pub(super) fn opened(&mut self, topic: Topic, mut subscription: Box<Subscription>) {
        self.topics
            .retain(|open| open.topic != topic || open.opening.is_some());
        subscription.arrive();
        if let Some(open) = self.topics.iter_mut().find(|open| open.topic == topic) {
            open.opening = None;
        }
        self.resume(topic, next(subscription));
    }

    /// Reads a board; an earlier reader of it ends here.
    pub(super) fn read(&mut self, topic: Topic, reader: Reader) {
        self.close(topic);
        self.add(Open {
            topic,
            opening: None,
            step: ReusableBoxFuture::new(posted(Box::new(reader))),
            taken: false,
        });
    }

    fn add(&mut self, open: Open) {
        // Most sockets have one topic; room for four would come at once otherwise.
        self.topics.reserve_exact(1);
        self.topics.push(open);
    }

    /// Goes on with a topic whose step was taken.
    pub(super) fn resume(
        &mut self,
        topic: Topic,
        step: impl Future<Output = Step> + Send + 'static,
    ) {
        let standing = |open: &&mut Open| open.topic == topic && open.opening.is_none();
        if let Some(open) = self.topics.iter_mut().find(standing) {
            open.step.set(step);
            open.taken = false;
        }
    }

    /// Ends a subscription; says whether there was one.
    pub(super) fn close(&mut self, topic: Topic) -> bool {
        let before = self.topics.len();
        self.topics.retain(|open| open.topic != topic);
        self.topics.len() < before
    }

    /// Waits for the next step of any topic.
    pub(super) async fn next(&mut self) -> (Topic, Step) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Topic, Step)> {
        let count = self.topics.len();
        for i in 0..count {
            let at = (self.first + i) % count;
            let open = &mut self.topics[at];
            if open.taken {
                continue;
            }
            if let Poll::Ready(step) = open.step.poll(cx) {
                open.taken = true;
                self.first = (at + 1) % count;
                return Poll::Ready((open.topic, step));
            }
        }
        Poll::Pending
    }
}

/// What a subscription has to say next.
pub(super) async fn next(mut subscription: Box<Subscription>) -> Step {
    loop {
        match subscription.ready(BATCH_FRAMES_MAX).await {
            Ok(frames) if frames.is_empty() => {}
            Ok(frames) => return Step::Frames(subscription, frames),
            Err(_) => {
                // The client waits a little longer; what is committed comes when it can be read.
                Box::pin(sleep(RETRY_EVERY)).await;
                continue;
            }
        }
        if let Some(text) = subscription.presence() {
            return Step::Presence(subscription, text);
        }
        subscription.changed().await;
    }
}

/// What a board shows next.
pub(super) async fn posted(mut reader: Box<Reader>) -> Step {
    let (kind, text) = reader.next().await;
    Step::Posted(reader, kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::future_bytes;

    /// Bytes of a subscription and of its wait for the next frame: 352 are used.
    const TOPIC_BYTES_MAX: usize = 420;

    #[test]
    fn a_topic_is_not_as_large_as_all_that_may_come_of_it() {
        let (subscription, wait) = (size_of::<Subscription>(), future_bytes(next));
        assert!(
            subscription + wait <= TOPIC_BYTES_MAX,
            "{subscription} and {wait} bytes"
        );
    }
}
