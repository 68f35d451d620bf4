//! What a swarm has been sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use e2e::load::Latencies;

/// What the text of an event begins with.
const EVENT: &[u8] = br#"{"type":"event""#;
/// What the answer to a subscription begins with.
const SUBSCRIBED: &[u8] = br#"{"type":"subscribed""#;
/// What stands before the time of an event's commit.
const AT_MS: &[u8] = br#""at_ms":"#;

/// Counts of all sockets of a swarm together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Subscriptions that were answered.
    pub(crate) subscribed: AtomicU64,
    /// Frames of events, or of a bare server.
    pub(crate) events: AtomicU64,
    /// Bytes of one such frame, as the last one had.
    pub(crate) event_bytes: AtomicU64,
    /// Connections that ended by themselves.
    pub(crate) ended: AtomicU64,
    delays: Mutex<Vec<Duration>>,
}

impl Tally {
    /// Takes in the text of a message; `timed` says whether an event's delay is taken.
    pub(crate) fn text(&self, payload: &[u8], timed: bool) {
        if payload.starts_with(EVENT) {
            self.events.fetch_add(1, Ordering::Relaxed);
            self.event_bytes
                .store(payload.len() as u64, Ordering::Relaxed);
            if timed && let Some(delay) = since_commit(payload) {
                self.lock().push(delay);
            }
        } else if payload.starts_with(SUBSCRIBED) {
            self.subscribed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// The delays taken since the last call.
    pub(crate) fn take_delays(&self) -> Latencies {
        Latencies::new(std::mem::take(&mut self.lock()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time since an event's commit, by `at_ms`: whole milliseconds of the statement's beginning, so
/// rather too much than too little.
pub(crate) fn since_commit(payload: &[u8]) -> Option<Duration> {
    let at = payload
        .windows(AT_MS.len())
        .position(|window| window == AT_MS)?;
    let digits = &payload[at + AT_MS.len()..];
    let ms = digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0_u64, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    Some(now().saturating_sub(Duration::from_millis(ms)))
}

/// This machine's clock, which is its private Postgres's too.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the database's clock, which is this machine's"
)]
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Tally, now, since_commit};

    #[test]
    fn an_events_delay_is_counted_from_its_own_time() {
        let ms = now().as_millis() - 250;
        let event = format!(r#"{{"type":"event","event":{{"at_ms":{ms},"kind":"moved"}}}}"#);
        let delay = since_commit(event.as_bytes()).expect("a time");
        assert!(
            delay >= Duration::from_millis(250) && delay < Duration::from_mins(1),
            "{delay:?}"
        );
        let tally = Tally::default();
        tally.text(event.as_bytes(), true);
        tally.text(br#"{"type":"subscribed","ref":"a"}"#, true);
        tally.text(br#"{"type":"presence","watching":5}"#, true);
        assert_eq!((tally.events(), tally.take_delays().count()), (1, 1));
    }
}
