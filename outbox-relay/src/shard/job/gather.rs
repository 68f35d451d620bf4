//! What the shards of a turn send next.

use std::collections::HashMap;

use shared::shard::Shard;

use super::Turn;
use super::member::{Company, JobEnd, Sending};
use crate::batch::entity::{Row, sendable};
use crate::batch::repo::{Wanted, next_rows};
use crate::shard::machine::Todo;

impl Turn<'_> {
    /// What each shard sends next: a fence alone, or the rows that wait with one before them.
    pub(super) async fn gather(&mut self) -> Vec<Sending> {
        self.stop_leavers();
        let mut sendings = Vec::new();
        let mut readers = Vec::new();
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
        self.read_rows(&readers, places, &mut sendings).await;
        sendings
    }

    async fn read_rows(&mut self, readers: &[usize], places: usize, out: &mut Vec<Sending>) {
        if readers.is_empty() {
            return;
        }
        let each = ((self.room.messages - places) / places).max(1);
        let wanted: Vec<Wanted> = readers
            .iter()
            .map(|index| {
                let member = &self.members[*index];
                Wanted {
                    shard: member.state.shard,
                    from: member.from.clone(),
                    limit: member.state.limit.rows().min(each),
                    epoch: member.state.machine.epoch(),
                }
            })
            .collect();
        let bytes_each = self.room.bytes_each(readers.len());
        let bytes_read = i64::try_from(bytes_each).unwrap_or(i64::MAX);
        let mut by_shard: HashMap<Shard, Vec<Row>> = HashMap::new();
        let tools = self.tools;
        match next_rows(&tools.pool, &tools.owner, &wanted, bytes_read).await {
            Ok(rows) => {
                for (shard, row) in rows {
                    by_shard.entry(shard).or_default().push(row);
                }
            }
            Err(error) => {
                let end = self.database_away(wanted[0].shard, &error);
                for index in readers {
                    self.members[*index].end = Some(end);
                }
                return;
            }
        }
        let mut batch = self.room.begin(out.len());
        for (index, wanted) in readers.iter().zip(wanted) {
            let mut rows = by_shard.remove(&wanted.shard).unwrap_or_default();
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
