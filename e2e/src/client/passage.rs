//! How a client came from one gateway to another.

use std::time::{Duration, Instant};

/// A gateway has asked the client to come back elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// When the client was told.
    pub told: Instant,
    /// After which time it is to go.
    pub after: Duration,
}

impl Advice {
    /// When it is to go.
    #[must_use]
    pub fn goes_at(&self) -> Instant {
        self.told + self.after
    }
}

/// A gateway was lost, or asked the client to go.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// The gateway, by number.
    pub from: usize,
    /// When the client noticed.
    pub at: Instant,
    /// What it had said before, if it took leave.
    pub advice: Option<Advice>,
    /// The close code, where one came.
    pub closed: Option<u16>,
}

/// A departure, and the arrival after any number of attempts.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// Where it began.
    pub departure: Departure,
    /// The gateway that took the client, by number.
    pub to: usize,
    /// When that one had answered the client's cursor.
    pub arrived: Instant,
}

impl Departure {
    /// A gateway has answered the client's cursor just now.
    pub(super) fn arrived(self, to: usize) -> Passage {
        Passage {
            departure: self,
            to,
            arrived: Instant::now(),
        }
    }
}

impl Passage {
    /// How long the client was without a gateway.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.arrived.duration_since(self.departure.at)
    }
}
