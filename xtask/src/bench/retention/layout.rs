//! The layouts that are compared, as SQL.

use std::fmt::Write as _;

use clap::ValueEnum;

/// Ids of a partition of what waits, where it has partitions.
pub(super) const RING_STEP: i64 = 1 << 18;
/// Partitions of it to begin with.
pub(super) const RING_PARTS: i64 = 3;

/// Where waiting and published rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// The whole row is moved from the pending to the published table, as the outbox does
    Moved,
    /// The same, what waits in partitions by id that are dropped as a whole
    MovedRing,
    /// The row is written once; what waits and what was published are narrow rows beside it
    Narrow,
    /// The same, what waits in partitions by id that are dropped as a whole
    NarrowRing,
    /// One table with a column that says what became of the row
    Status,
}

impl Layout {
    /// All.
    pub(super) const ALL: [Self; 5] = [
        Self::Moved,
        Self::MovedRing,
        Self::Narrow,
        Self::NarrowRing,
        Self::Status,
    ];

    /// In reports.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Moved => "whole row moved",
            Self::MovedRing => "whole row moved, pending in partitions",
            Self::Narrow => "row written once, narrow pending",
            Self::NarrowRing => "row written once, narrow pending in partitions",
            Self::Status => "status column",
        }
    }

    /// Whether what waits has partitions.
    pub(super) fn has_ring(self) -> bool {
        matches!(self, Self::MovedRing | Self::NarrowRing)
    }

    /// Whether reading skips the ids that are known to be done. The design with a status column is
    /// taken as it is usually written: its index says what waits.
    pub(super) fn has_floor(self) -> bool {
        self != Self::Status
    }

    /// Makes the tables.
    pub(super) fn tables(self) -> String {
        let text = match self {
            Self::Moved | Self::MovedRing => include_str!("layouts/moved.sql"),
            Self::Narrow | Self::NarrowRing => include_str!("layouts/narrow.sql"),
            Self::Status => include_str!("layouts/status.sql"),
        };
        let mut text = format!("create sequence ids;\n{text}");
        if self.has_ring()
            && let (Some(from), Some(to)) = (text.find("/*ring*/"), text.find("/**/"))
        {
            text.replace_range(from..to, "partition by range (id)");
            for nth in 0..RING_PARTS {
                let _ = writeln!(text, "{}", partition(nth));
            }
        }
        text
    }

    /// Appends `$2` events from number `$1` on.
    pub(super) fn append(self) -> &'static str {
        match self {
            Self::Moved | Self::MovedRing => {
                "insert into pending (shard, key, subject, type, payload)
                 select fogline_shard('bench.' || n % 5000), 'bench.' || n % 5000,
                        'events.bench.' || n % 5000, 'bench.happened.v1',
                        json_build_object('n', n, 'filling', repeat('x', 180))
                 from generate_series($1::bigint, $1 + $2::bigint - 1) n"
            }
            Self::Narrow | Self::NarrowRing => {
                "with written as (
                     insert into event (shard, key, subject, type, payload)
                     select fogline_shard('bench.' || n % 5000), 'bench.' || n % 5000,
                            'events.bench.' || n % 5000, 'bench.happened.v1',
                            json_build_object('n', n, 'filling', repeat('x', 180))
                     from generate_series($1::bigint, $1 + $2::bigint - 1) n
                     returning shard, id)
                 insert into pending (shard, id) select shard, id from written"
            }
            Self::Status => {
                "insert into event (shard, key, subject, type, payload)
                 select fogline_shard('bench.' || n % 5000), 'bench.' || n % 5000,
                        'events.bench.' || n % 5000, 'bench.happened.v1',
                        json_build_object('n', n, 'filling', repeat('x', 180))
                 from generate_series($1::bigint, $1 + $2::bigint - 1) n"
            }
        }
    }

    /// Reads what waits of the shards `$1`, of each above its id in `$2`, at most `$3` of each.
    pub(super) fn read(self) -> &'static str {
        match self {
            Self::Moved | Self::MovedRing => {
                "select w.shard, w.id, w.event_id, w.key, w.subject, w.type, w.payload::text,
                        w.carrier, w.created_at
                 from unnest($1::smallint[], $2::bigint[]) s (shard, above), lateral (
                     select * from pending p where p.shard = s.shard and p.id > s.above
                     order by p.id limit $3::bigint) w"
            }
            Self::Narrow | Self::NarrowRing => {
                "select w.shard, w.id, w.event_id, w.key, w.subject, w.type, w.payload::text,
                        w.carrier, w.created_at
                 from unnest($1::smallint[], $2::bigint[]) s (shard, above), lateral (
                     select e.* from pending p, event e
                     where p.shard = s.shard and p.id > s.above
                       and e.shard = p.shard and e.id = p.id
                     order by p.id limit $3::bigint) w"
            }
            Self::Status => {
                "select w.shard, w.id, w.event_id, w.key, w.subject, w.type, w.payload::text,
                        w.carrier, w.created_at
                 from unnest($1::smallint[], $2::bigint[]) s (shard, above), lateral (
                     select * from event p
                     where p.shard = s.shard and p.status = 0 and p.id > s.above
                     order by p.id limit $3::bigint) w"
            }
        }
    }

    /// Records the rows of shards `$1` and ids `$2` as published at the places `$3`.
    pub(super) fn settle(self) -> &'static str {
        match self {
            Self::Moved | Self::MovedRing => {
                "with gone as (
                     delete from pending p
                     using unnest($1::smallint[], $2::bigint[], $3::bigint[]) d (shard, id, seq)
                     where p.shard = d.shard and p.id = d.id
                     returning p.*, d.seq)
                 insert into published (shard, id, event_id, key, subject, type, payload, carrier,
                                        created_at, stream_seq, generation)
                 select shard, id, event_id, key, subject, type, payload, carrier, created_at, seq, 1
                 from gone"
            }
            Self::Narrow | Self::NarrowRing => {
                "with gone as (
                     delete from pending p
                     using unnest($1::smallint[], $2::bigint[], $3::bigint[]) d (shard, id, seq)
                     where p.shard = d.shard and p.id = d.id
                     returning p.shard, p.id, d.seq)
                 insert into placed (shard, id, stream_seq, generation)
                 select shard, id, seq, 1 from gone"
            }
            Self::Status => {
                "update event p
                 set status = 1, published_at = statement_timestamp(), stream_seq = d.seq,
                     generation = 1
                 from unnest($1::smallint[], $2::bigint[], $3::bigint[]) d (shard, id, seq)
                 where p.shard = d.shard and p.id = d.id"
            }
        }
    }
}

/// Makes the nth partition of what waits.
pub(super) fn partition(nth: i64) -> String {
    let (low, high) = (nth * RING_STEP, (nth + 1) * RING_STEP);
    format!(
        "create table pending_{nth} partition of pending for values from ({low}) to ({high}) with \
         (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, \
         autovacuum_vacuum_cost_delay = 0);"
    )
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn a_ring_replaces_the_tables_own_options() {
        let text = Layout::MovedRing.tables();
        assert!(text.contains(") partition by range (id)/**/;"), "{text}");
        assert!(text.contains("create table pending_2 partition of pending"));
        assert!(!Layout::Moved.tables().contains("partition"));
        assert!(!Layout::Status.tables().contains("partition"));
    }
}
