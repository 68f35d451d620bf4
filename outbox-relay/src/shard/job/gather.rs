//! What the shards of a turn send next.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use shared::shard::Shard;

use super::Turn;
use super::member::{Ahead, Company, JobEnd, Sending};
use crate::batch::entity::{Row, sendable};
use crate::batch::repo::{Wanted, by_shard, next_rows};
use crate::shard::machine::Todo;

impl Turn<'_> {
    /// What each shard sends next, a fence alone, or the rows that wait with one before them; and when
    /// these were read.
    pub(super) async fn gather(&mut self) -> (Vec<Sending>, Instant) {
        self.stop_leavers();
        let mut sendings = Vec::new();
        let mut readers = Vec::new();
        let mut ahead = self.rows_ahead();
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.end.is_some() {
                continue;
            }
            match member.state.machine.todo() {
                Todo::WriteFence { expect, fence } => sendings.push(Sending {
                    member: index,
                    expect,
                    alone: Some(fence),
                    rows: Vec::new(),
                    full: true,
                }),
                Todo::Publish if member.state.machine.verified() => readers.push(index),
                Todo::Publish => member.end = Some(JobEnd::Unverified),
                _ => {}
            }
        }
        // Who has no place in this batch has one in the next.
        sendings.truncate(self.room.messages);
        readers.truncate((self.room.messages - sendings.len()) / 2);
        let places = sendings.len() + readers.len();
        let read_at = self
            .read_rows(&readers, places, &mut ahead, &mut sendings)
            .await;
        (sendings, read_at)
    }

    /// What the look at the outbox has read of shards that have nothing to do but to send it.
    fn rows_ahead(&mut self) -> HashMap<Shard, Ahead> {
        let members = self.members.iter_mut();
        let ahead = members.filter_map(|member| {
            let holding = member.state.machine.holding();
            let ahead = member.state.ahead.take();
            let ahead = ahead.filter(|ahead| ahead.holds_at(holding))?;
            Some((member.state.shard, ahead))
        });
        ahead.collect()
    }

    async fn read_rows(
        &mut self,
        readers: &[usize],
        places: usize,
        ahead: &mut HashMap<Shard, Ahead>,
        out: &mut Vec<Sending>,
    ) -> Instant {
        let mut read_at = Instant::now();
        if readers.is_empty() {
            return read_at;
        }
        let each = ((self.room.messages - places) / places).max(1);
        let wanted = |index: &usize| {
            let member = &self.members[*index];
            Wanted {
                shard: member.state.shard,
                from: member.from.clone(),
                limit: member.state.limit.rows().min(each),
                epoch: member.state.machine.epoch(),
            }
        };
        let wanted: Vec<Wanted> = readers.iter().map(wanted).collect();
        let bytes_each = self.room.bytes_each(readers.len());
        let bytes_read = i64::try_from(bytes_each).unwrap_or(i64::MAX);
        // All of them or none: a statement that is needed for one reads all, and asks for their leases.
        let known = |wanted: &Wanted| {
            let ahead = ahead.get(&wanted.shard);
            ahead.is_some_and(|ahead| ahead.rows.len() < wanted.limit)
        };
        let read = if wanted.iter().all(known) {
            let since = ahead.values().map(|ahead| ahead.since).min();
            read_at = since.unwrap_or(read_at);
            Ok(ahead
                .drain()
                .map(|(shard, ahead)| (shard, ahead.rows))
                .collect())
        } else {
            let tools = self.tools;
            let rows = next_rows(&tools.pool, &tools.owner, &wanted, bytes_read).await;
            rows.map(by_shard)
        };
        let mut found: BTreeMap<Shard, Vec<Row>> = match read {
            Ok(found) => found,
            Err(error) => {
                let end = self.database_away(wanted[0].shard, &error);
                for index in readers {
                    self.members[*index].end = Some(end);
                }
                return read_at;
            }
        };
        let mut batch = self.room.begin(out.len());
        for (index, wanted) in readers.iter().zip(wanted) {
            let mut rows = found.remove(&wanted.shard).unwrap_or_default();
            if rows.is_empty() {
                self.members[*index].end = Some(JobEnd::Idle);
                continue;
            }
            let full = rows.len() >= wanted.limit;
            let (taken, more) = batch.take(&rows, bytes_each);
            rows.truncate(taken);
            if !rows.is_empty() {
                out.extend(self.sending(*index, rows, full || more).await);
            }
        }
        read_at
    }

    /// The rows up to the first that cannot be published; if that is the first, it is a dead
    /// letter, and the shard sends nothing in this batch.
    async fn sending(&mut self, index: usize, mut rows: Vec<Row>, full: bool) -> Option<Sending> {
        let count = match sendable(&rows, self.facts.max_payload) {
            Ok(count) => count,
            Err(why) => {
                self.bury(index, &rows[0], &why).await;
                return None;
            }
        };
        let cut = count < rows.len();
        rows.truncate(count);
        let state = &mut self.members[index].state;
        state.company = if full {
            state.company.smaller()
        } else {
            Company::All
        };
        Some(Sending {
            member: index,
            expect: state.machine.holding()?,
            alone: None,
            rows,
            full: full || cut,
        })
    }
}
