//! The comparison of the stream with what was committed. Pure: it is fed, and then has its verdict.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use super::ledger::{Entry, Standing};
use super::producer::Produced;
use super::stream::{Message, MessageKind};

/// Of each kind of fault, so many are described: one broken thing breaks many events.
const EXAMPLES_MAX: usize = 20;

/// How many events are not as they must be, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Committed, and not in the stream.
    pub lost: u64,
    /// In the stream more than once.
    pub doubled: u64,
    /// In the stream after a later event of its key.
    pub reordered: u64,
    /// In the stream, and never committed.
    pub foreign: u64,
    /// In the stream with another key or number than was committed, or elsewhere than recorded.
    pub altered: u64,
    /// Still waiting, or a dead letter.
    pub unpublished: u64,
    /// Known to the producer and not to the database, or the reverse, or in another order.
    pub miscounted: u64,
}

impl Faults {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.lost
            + self.doubled
            + self.reordered
            + self.foreign
            + self.altered
            + self.unpublished
            + self.miscounted
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lost, {} doubled, {} reordered, {} foreign, {} altered, {} unpublished, {} miscounted",
            self.lost,
            self.doubled,
            self.reordered,
            self.foreign,
            self.altered,
            self.unpublished,
            self.miscounted
        )
    }
}

/// How long an event took from the append in its transaction to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it was appended, microseconds since 1970.
    pub created_us: i64,
    /// How long it took.
    pub took: Duration,
}

/// What the audit came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Events committed, says the database.
    pub committed: u64,
    /// Events in the stream.
    pub stored: u64,
    /// Fences in the stream.
    pub fences: u64,
    /// What is wrong.
    pub faults: Faults,
    /// Some of it, in sentences.
    pub examples: Vec<String>,
    /// Every event's way to the stream.
    pub waits: Vec<Wait>,
    /// The longest time in which the stream got nothing, from its first event to its last.
    pub longest_silence: Duration,
}

struct Known {
    entry: Entry,
    seen: bool,
}

/// An audit that is being fed.
pub struct Audit {
    known: HashMap<Uuid, Known>,
    /// The row id of the last event of each key.
    last_of_key: HashMap<u32, i64>,
    last_stored_us: Option<i64>,
    verdict: Verdict,
}

impl Audit {
    /// Compares what the database has with what its producer remembers; the stream comes next.
    #[must_use]
    pub fn new(ledger: Vec<Entry>, produced: &Produced) -> Self {
        let mut audit = Self {
            known: HashMap::with_capacity(ledger.len()),
            last_of_key: HashMap::with_capacity(produced.by_key.len()),
            last_stored_us: None,
            verdict: Verdict {
                committed: ledger.len() as u64,
                waits: Vec::with_capacity(ledger.len()),
                ..Verdict::default()
            },
        };
        audit.count(&ledger, produced);
        for entry in ledger {
            if !matches!(entry.standing, Standing::Published { .. }) {
                audit.verdict.faults.unpublished += 1;
                audit.example(|| format!("not published: {entry:?}"));
            }
            let id = entry.event_id;
            if let Some(twice) = audit.known.insert(id, Known { entry, seen: false }) {
                audit.verdict.faults.miscounted += 1;
                audit.example(|| format!("twice in the database: {:?}", twice.entry));
            }
        }
        audit
    }

    /// In the order of row ids, the events of each key must be numbered as their producer did it.
    fn count(&mut self, ledger: &[Entry], produced: &Produced) {
        let mut in_order: Vec<(u32, i64, u32)> = ledger
            .iter()
            .map(|entry| (entry.key, entry.id, entry.n))
            .collect();
        in_order.sort_unstable();
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for (key, id, n) in in_order {
            let count = counts.entry(key).or_default();
            *count += 1;
            if *count != n {
                self.verdict.faults.miscounted += 1;
                let expected = *count;
                self.example(|| format!("row {id} of k{key} is number {n}, not {expected}"));
                *count = n;
            }
        }
        for (key, expected) in (0_u32..).zip(&produced.by_key) {
            let found = counts.remove(&key).unwrap_or(0);
            if found != *expected {
                self.verdict.faults.miscounted += u64::from(found.abs_diff(*expected));
                self.example(|| {
                    format!("k{key} ends with {found}, its producer committed {expected}")
                });
            }
        }
        for (key, count) in counts {
            self.verdict.faults.miscounted += u64::from(count);
            self.example(|| format!("k{key} has {count} events that nobody produced"));
        }
    }

    /// The stream's next message.
    pub fn message(&mut self, message: &Message) {
        let (event_id, key, n) = match &message.kind {
            MessageKind::Fence => {
                self.verdict.fences += 1;
                return;
            }
            MessageKind::Event { event_id, key, n } => (*event_id, *key, *n),
            MessageKind::Foreign(subject) => {
                self.verdict.faults.foreign += 1;
                let at = message.stream_seq;
                return self.example(|| format!("message {at} on {subject} is of nobody"));
            }
        };
        self.verdict.stored += 1;
        self.note_silence(message.stored_us);
        let at = message.stream_seq;
        let Some(known) = self.known.get_mut(&event_id) else {
            self.verdict.faults.foreign += 1;
            return self.example(|| format!("message {at}, {event_id}, was never committed"));
        };
        let again = std::mem::replace(&mut known.seen, true);
        let entry = known.entry.clone();
        if again {
            self.verdict.faults.doubled += 1;
            return self.example(|| format!("again as message {at}: {entry:?}"));
        }
        self.compare(&entry, message, key, n);
    }

    fn compare(&mut self, entry: &Entry, message: &Message, key: u32, n: u32) {
        let at = message.stream_seq;
        let recorded = match entry.standing {
            Standing::Published { stream_seq } => Some(stream_seq),
            Standing::Pending | Standing::Dead => None,
        };
        if (entry.key, entry.n) != (key, n) || recorded.is_some_and(|recorded| recorded != at) {
            self.verdict.faults.altered += 1;
            self.example(|| format!("message {at} is number {n} of k{key}, and was {entry:?}"));
        }
        let last = self.last_of_key.entry(entry.key).or_insert(i64::MIN);
        if *last > entry.id {
            self.verdict.faults.reordered += 1;
            let last = *last;
            self.example(|| format!("message {at} comes after row {last}: {entry:?}"));
        } else {
            *last = entry.id;
        }
        let took = message.stored_us.saturating_sub(entry.created_us).max(0);
        self.verdict.waits.push(Wait {
            created_us: entry.created_us,
            took: Duration::from_micros(took.unsigned_abs()),
        });
    }

    fn note_silence(&mut self, stored_us: i64) {
        if let Some(last) = self.last_stored_us {
            let silence =
                Duration::from_micros(stored_us.saturating_sub(last).max(0).unsigned_abs());
            self.verdict.longest_silence = self.verdict.longest_silence.max(silence);
        }
        self.last_stored_us = Some(stored_us);
    }

    /// The stream is at its end.
    #[must_use]
    pub fn verdict(mut self) -> Verdict {
        let missing: Vec<Entry> = std::mem::take(&mut self.known)
            .into_values()
            .filter(|known| !known.seen)
            .map(|known| known.entry)
            .collect();
        for entry in missing {
            // What still waits is late, not lost.
            if matches!(entry.standing, Standing::Published { .. }) {
                self.verdict.faults.lost += 1;
                self.example(|| format!("not in the stream: {entry:?}"));
            }
        }
        self.verdict
    }

    fn example(&mut self, sentence: impl FnOnce() -> String) {
        if self.verdict.examples.len() < EXAMPLES_MAX {
            self.verdict.examples.push(sentence());
        }
    }
}
