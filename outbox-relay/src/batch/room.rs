//! How large a batch may be. On a stream with several replicas that is much less than elsewhere
//! ([ADR 125](../../../docs/adr/0125-batches-to-replicas-are-small.md)).

use shared::shard::SHARD_COUNT;

use super::entity::Row;
use crate::config::{BATCH_MESSAGES_MAX, RelayConfig};

/// nats-server gathers what is to be replicated, and cuts it where it comes to so many bytes. It takes
/// two cuts to do harm, so this is half of what is needed.
const CUT_BYTES: usize = 256 * 1024;
/// Or to so many messages; from 2.15 on, more.
const CUT_MESSAGES: usize = 512;
/// What is replicated of an event besides payload, subject, type, key and trace state: its other
/// headers, those of the batch, the reply's subject, and its place in the fence.
const EVENT_BYTES: usize = 640;
/// What is replicated of a fence, without what it lists.
const FENCE_BYTES: usize = 640;

/// What a batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages, fences among them: at least two.
    pub messages: usize,
    /// Bytes: of payload, or of all that is replicated.
    bytes: usize,
    replicated: bool,
}

impl Room {
    /// The room of each of a relay's batches. On a stream with several replicas it is such that what
    /// all relays have on their way at once is not cut by the server, if no event is large: each
    /// relay has the part that its shards are of all, and each worker the same part of that.
    #[must_use]
    pub fn of(config: &RelayConfig, single_replica: bool, shards_held: usize) -> Self {
        if single_replica {
            return Self {
                messages: to_usize(BATCH_MESSAGES_MAX),
                bytes: usize::try_from(config.batch_bytes_max).unwrap_or(usize::MAX),
                replicated: false,
            };
        }
        let parts = usize::from(SHARD_COUNT.unsigned_abs()) * config.workers.max(1);
        let part = |of: usize| of * shards_held / parts;
        Self {
            messages: part(CUT_MESSAGES).clamp(2, to_usize(BATCH_MESSAGES_MAX)),
            bytes: part(CUT_BYTES),
            replicated: true,
        }
    }

    /// The part of one of so many shards, in bytes.
    #[must_use]
    pub fn bytes_each(&self, shards: usize) -> usize {
        self.bytes / shards.max(1)
    }

    /// A batch in which so many fences go without events.
    #[must_use]
    pub fn begin(self, lone_fences: usize) -> Filling {
        Filling {
            room: self,
            bytes: lone_fences * FENCE_BYTES,
        }
    }

    /// Cuts a shard's rows into batches of their own, of at least one row each.
    #[must_use]
    pub fn cut(self, mut rows: &[Row]) -> Vec<&[Row]> {
        let mut batches = Vec::new();
        while !rows.is_empty() {
            let most = rows.len().min(self.messages - 1);
            let count = self.count(&rows[..most], self.bytes).max(1);
            let (batch, rest) = rows.split_at(count);
            batches.push(batch);
            rows = rest;
        }
        batches
    }

    /// How many of these rows, from the first on, have room in so many bytes with their fence.
    fn count(&self, rows: &[Row], bytes: usize) -> usize {
        let mut taken = if self.replicated { FENCE_BYTES } else { 0 };
        let fits = |row: &&Row| {
            taken += self.bytes_of(row);
            taken <= bytes
        };
        rows.iter().take_while(fits).count()
    }

    fn bytes_of(&self, row: &Row) -> usize {
        if !self.replicated {
            return row.payload.len();
        }
        let state = row.carrier.tracestate.as_ref().map_or(0, String::len);
        EVENT_BYTES
            + row.payload.len()
            + row.subject.len()
            + row.event_type.len()
            + row.key.len()
            + state
    }
}

/// A batch that is being filled.
#[derive(Debug)]
pub struct Filling {
    room: Room,
    /// What is in it by now.
    bytes: usize,
}

impl Filling {
    /// How many of the rows that were read of a shard go into this batch, in so many bytes if they
    /// can: none if even the first has no room, unless it would be all that the batch holds. And
    /// whether bytes were the limit, so that more rows may wait. With one replica all go.
    pub fn take(&mut self, rows: &[Row], bytes_each: usize) -> (usize, bool) {
        if !self.room.replicated || rows.is_empty() {
            return (rows.len(), false);
        }
        let left = self.room.bytes.saturating_sub(self.bytes);
        let mut count = self.room.count(rows, bytes_each.min(left));
        if count == 0 && (self.bytes == 0 || self.room.count(&rows[..1], left) == 1) {
            count = 1;
        }
        if count > 0 {
            let bytes: usize = (rows[..count].iter().map(|row| self.room.bytes_of(row))).sum();
            self.bytes += FENCE_BYTES + bytes;
        }
        (
            count,
            count < rows.len() || self.room.count(rows, bytes_each) < rows.len(),
        )
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::shard::Shard;
    use shared::telemetry::Carrier;
    use uuid::Uuid;

    use super::*;
    use crate::batch::entity::tests::row;
    use crate::batch::message::{Message, message_of, source_of};
    use crate::config::{AnnouncePolicy, PoisonPolicy};
    use crate::shard::fence::{Epoch, Fence, StreamSeq};
    use crate::stream::publisher::fence_message;

    fn config(workers: usize) -> RelayConfig {
        RelayConfig {
            batch_max: 999,
            batch_bytes_max: 1000,
            workers,
            lease: Duration::from_secs(1),
            poison: PoisonPolicy::Block,
            announce: AnnouncePolicy::Never,
        }
    }

    #[test]
    fn one_replica_takes_what_is_configured() {
        let room = Room::of(&config(4), true, 3);
        assert_eq!((room.messages, room.bytes_each(2)), (1000, 500));
        let rows = [row(1, "events.a.b", 600), row(2, "events.a.b", 600)];
        let mut batch = room.begin(3);
        assert_eq!(batch.take(&rows, 500), (2, false), "what was read goes");
        assert_eq!(batch.take(&rows, 500), (2, false));
        let cut: Vec<usize> = room.cut(&rows).iter().map(|rows| rows.len()).collect();
        assert_eq!(cut, [1, 1]);
    }

    #[test]
    fn the_batches_of_all_relays_to_replicas_are_one_part_each() {
        for relays in [1_usize, 2, 3, 5, 64] {
            for workers in [1, 4, 7] {
                let shares = (0..relays).map(|nth| 64 / relays + usize::from(nth < 64 % relays));
                let rooms = shares.map(|held| Room::of(&config(workers), false, held));
                let (mut messages, mut bytes) = (0, 0);
                for room in rooms {
                    messages += room.messages * workers;
                    bytes += room.bytes * workers;
                }
                assert!(bytes <= CUT_BYTES, "{relays} relays, {workers} workers");
                // The least batch is a fence and an event.
                let least = 2 * relays * workers;
                assert!(messages <= CUT_MESSAGES.max(least), "{relays}, {workers}");
            }
        }
    }

    #[test]
    fn a_batch_to_replicas_is_filled_to_its_end_and_no_further() {
        let room = Room::of(&config(4), false, 21);
        let rows: Vec<Row> = (0..21).map(|id| row(id, "events.a.b", 8000)).collect();
        let mut batch = room.begin(0);
        // One row of each of 21 shards, each larger than a shard's part.
        let taken = rows
            .chunks(1)
            .map(|rows| batch.take(rows, room.bytes_each(21)));
        let taken: Vec<(usize, bool)> = taken.collect();
        assert_eq!(taken[..3], [(1, true), (1, true), (0, true)], "{room:?}");
        assert!(taken[3..].iter().all(|taken| *taken == (0, true)));
        assert!(batch.bytes <= room.bytes);
        let large = [row(1, "events.a.b", 100_000), row(2, "events.a.b", 10)];
        assert_eq!(
            room.begin(0).take(&large, room.bytes),
            (1, true),
            "it goes alone"
        );
        assert_eq!(
            room.begin(1).take(&large, room.bytes),
            (0, true),
            "or in the next"
        );
        let small: Vec<Row> = (0..50).map(|id| row(id, "events.a.b", 10)).collect();
        let batches = room.cut(&small);
        assert!(batches.iter().all(|rows| rows.len() < room.messages));
        assert_eq!(batches.concat().len(), small.len());
    }

    #[test]
    fn what_is_replicated_of_an_event_and_its_fence_is_not_more_than_is_counted() {
        let mut event = row(i64::MAX, "events.a.b", 10);
        event.carrier = Carrier {
            traceparent: Some(format!("00-{:032x}-{:016x}-01", 1, 1)),
            tracestate: Some("a=b".repeat(50)),
        };
        let room = Room::of(&config(4), false, 64);
        let mut fence = Fence {
            outbox: Uuid::max(),
            epoch: Epoch(i64::MAX),
            generation: i64::MAX,
            settled: StreamSeq(u64::MAX),
            events: vec![],
            announced: vec![],
            behind: StreamSeq(0),
            max_age_ms: u64::MAX,
        };
        let shard = Shard::of_key("k");
        let size = |fence: &Fence| {
            let fence = fence_message(shard, StreamSeq(u64::MAX), fence).unwrap();
            let (event, _) = message_of(&event, &source_of(Uuid::max()));
            (bytes_of(&fence), bytes_of(&event))
        };
        let (alone, _) = size(&fence);
        assert!(alone <= FENCE_BYTES, "{alone}");
        fence.events.push(event.event_ref());
        let (listing, bytes) = size(&fence);
        let counted = room.bytes_of(&event);
        let replicated = bytes + listing - alone + 1;
        assert!(replicated <= counted, "{replicated} of {counted}");
        assert!(counted - replicated < 200, "{replicated} of {counted}");
    }

    /// What the server replicates of a message in a batch, at most.
    fn bytes_of(message: &Message) -> usize {
        let line = |name: &str, value: &str| name.len() + value.len() + ": \r\n".len();
        let headers = message.headers.iter().flat_map(|(name, values)| {
            let values = values.iter();
            values.map(move |value| line(name.as_ref(), value.as_str()))
        });
        let batch = line(
            "Nats-Batch-Id",
            "a token of 22 letters-18446744073709551615",
        ) + line("Nats-Batch-Sequence", "1000")
            + line("Nats-Batch-Commit", "1");
        let reply = "_INBOX.a token of 22 letters.a token of 22 letters.1000b".len();
        // Lengths, time, sequence and flags, as nats-server 2.15 writes them.
        let framing = 96;
        let headers = headers.sum::<usize>() + "NATS/1.0\r\n\r\n".len() + batch;
        message.subject.len() + reply + headers + message.payload.len() + framing
    }
}
