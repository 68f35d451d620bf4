//! From commit to the rooms of this instance: whoever watches a game here is told of each event
//! that this instance committed, without waiting for the relay. A hint: who missed one finds it by
//! sequence number.

use std::sync::{Arc, OnceLock};

use shared::telemetry::TraceContext;

use super::entity::Logged;

/// A committed event and the trace it belongs to.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The event.
    pub logged: Arc<Logged>,
    /// The span that appended it, the parent of its deliveries.
    pub trace: TraceContext,
}

type Listener = Box<dyn Fn(Committed) + Send + Sync>;

/// Where commits are heard of. Clones are one feed.
#[derive(Clone, Default)]
pub struct Feed(Arc<OnceLock<Listener>>);

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Feed").finish_non_exhaustive()
    }
}

impl Feed {
    /// Calls `listener` with each event from now on, in the order of each game's commits, by the
    /// one who commits: it must not wait. There is one listener; a second one hears nothing.
    pub fn listen(&self, listener: impl Fn(Committed) + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(listener));
    }

    pub(super) fn publish(&self, committed: Committed) {
        if let Some(listener) = self.0.get() {
            listener(committed);
        }
    }
}
