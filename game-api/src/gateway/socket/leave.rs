//! How a socket goes in a drain: it is told when it is its turn, served until then and a little
//! longer, and closed when the commands that it has sent are answered.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// In a drain, the time for commands in flight to be answered; after a socket's end, the time for
/// those that had come to be carried out.
pub(super) const COMMANDS_MAX: Duration = Duration::from_secs(3);

/// How far a socket has come with leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It stays.
    Stays,
    /// Its client was told to come back elsewhere. It is served as ever until this time.
    Goes(Instant),
    /// Nothing is read any more; commands in flight are waited for until this time.
    Answers(Instant),
}

impl Leave {
    /// Nothing more is read from now on.
    pub(super) fn last_answers() -> Self {
        Self::Answers(Instant::now() + COMMANDS_MAX)
    }

    /// Whether the client's messages are still taken.
    pub(super) const fn may_read(self) -> bool {
        !matches!(self, Self::Answers(_))
    }

    /// Waits until the next step is due: at once if all that is waited for has been `answered`.
    pub(super) async fn due(self, answered: bool) {
        match self {
            Self::Stays => std::future::pending().await,
            Self::Answers(_) if answered => {}
            // In a box: every socket has the room for this wait, and few ever wait it.
            Self::Goes(at) | Self::Answers(at) => Box::pin(sleep_until(at)).await,
        }
    }

    /// Until when commands that have come are carried out after the socket's end.
    pub(super) fn commands_until(self) -> Instant {
        match self {
            Self::Answers(until) => until,
            Self::Stays | Self::Goes(_) => Instant::now() + COMMANDS_MAX,
        }
    }
}
