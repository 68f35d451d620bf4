//! The shards of one instance and what each is doing. Pure bookkeeping, without IO.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use shared::shard::Shard;
use tokio_util::sync::CancellationToken;

use crate::batch::entity::Row;
use crate::leases::repo::Lease;
use crate::shard::fence::StreamSeq;
use crate::shard::job::{Ahead, Company, JobEnd, ShardState};
use crate::shard::machine::End;

/// Rows of a shard that a look reads at most. A shard that has so many is read again in its turn.
pub const LOOK_ROWS: usize = 8;
/// Bytes of them at most, as Postgres stores them, but for one row. Stored, JSON takes up to some
/// four times what it takes as text.
pub const LOOK_BYTES: i64 = 64 << 10;
/// A shard with so many bytes of text may have had rows cut off, and is read again.
const ALL_BYTES: usize = 8 << 10;

/// Whether rows that a look has read are surely all that wait.
fn are_all(rows: &[Row]) -> bool {
    let bytes: usize = rows.iter().map(|row| row.payload.len()).sum();
    rows.len() < LOOK_ROWS && bytes < ALL_BYTES
}

/// What one shard is doing.
#[derive(Debug)]
enum Doing {
    /// Nothing; a look at the outbox decides.
    Idle(Box<ShardState>),
    /// Its turn comes when a worker is free.
    Queued(Box<ShardState>),
    /// It was taken and has not been looked at, or has to be looked at anew.
    Fresh,
    /// It holds its fence and has to be verified.
    Unverified(Box<ShardState>),
    /// Nothing can be done before the stream's generation changes.
    Stuck,
    /// A worker has it.
    Running(CancellationToken),
}

#[derive(Debug)]
struct Slot {
    lease: Lease,
    doing: Doing,
    /// To be given back when its job ends.
    leaving: bool,
    /// Taken over by another while its job runs: not to be given back.
    gone: bool,
    /// The outbox was looked at while its job ran, which may have read its rows before that.
    passed_over: bool,
}

/// A job to be started.
#[derive(Debug)]
pub struct Start {
    /// The lease.
    pub lease: Lease,
    /// Where the protocol stands, if the shard was looked at before.
    pub state: Option<ShardState>,
    /// Cancel to have it stop.
    pub stop: CancellationToken,
}

/// All shards of this instance.
#[derive(Debug, Default)]
pub struct Slots {
    by_shard: BTreeMap<Shard, Slot>,
    queue: VecDeque<Shard>,
    running: usize,
    look_owed: bool,
}

impl Slots {
    /// A lease was taken. Its first job is the take-over.
    pub fn add(&mut self, lease: Lease) {
        let shard = lease.shard;
        if let Some(slot) = self.by_shard.get_mut(&shard)
            && matches!(slot.doing, Doing::Running(_))
        {
            // A job under the former lease is still ending; what it brings back is dropped.
            slot.lease = lease;
            slot.gone = true;
            slot.leaving = false;
            return;
        }
        let slot = Slot {
            lease,
            doing: Doing::Fresh,
            leaving: false,
            gone: false,
            passed_over: false,
        };
        self.by_shard.insert(shard, slot);
        self.queue.push_back(shard);
    }

    /// Shards that do nothing: those to ask the outbox about.
    pub fn idle(&self) -> impl Iterator<Item = &ShardState> + '_ {
        self.by_shard.values().filter_map(|slot| match &slot.doing {
            Doing::Idle(state) => Some(&**state),
            _ => None,
        })
    }

    /// A look has found these rows of a shard. Its turn has them if they are surely all that wait.
    pub fn found(&mut self, shard: Shard, rows: Vec<Row>, since: Instant) {
        if let Some(slot) = self.by_shard.get_mut(&shard)
            && let Doing::Idle(state) = &mut slot.doing
            && let Some(at) = state.machine.holding()
            && are_all(&rows)
        {
            state.ahead = Some(Ahead { at, rows, since });
        }
        self.enqueue(&[shard]);
    }

    /// The outbox is about to be looked at. A shard whose job runs now is not asked about, and the
    /// job does not see what was committed after it read: so its end owes another look.
    pub fn pass_over_running(&mut self) {
        for slot in self.by_shard.values_mut() {
            slot.passed_over = matches!(slot.doing, Doing::Running(_));
        }
    }

    /// Whether a shard became idle that the last look has passed over. Asking takes it back.
    pub fn take_look_owed(&mut self) -> bool {
        std::mem::take(&mut self.look_owed)
    }

    /// These have something to do.
    pub fn enqueue(&mut self, shards: &[Shard]) {
        for shard in shards {
            let Some(slot) = self.by_shard.get_mut(shard) else {
                continue;
            };
            if matches!(slot.doing, Doing::Idle(_))
                && let Doing::Idle(state) = std::mem::replace(&mut slot.doing, Doing::Fresh)
            {
                slot.doing = Doing::Queued(state);
                self.queue.push_back(*shard);
            }
        }
    }

    /// Idle shards that do not hold their fence have something to find out, whether rows wait or not.
    pub fn enqueue_unsettled(&mut self) {
        let unsettled = self
            .idle()
            .filter(|state| state.machine.holding().is_none());
        let unsettled: Vec<Shard> = unsettled.map(|state| state.shard).collect();
        self.enqueue(&unsettled);
    }

    /// The shards of the next job, if any wait: the one whose turn it is, and those that have its
    /// company.
    pub fn start_next(&mut self, stop: &CancellationToken) -> Vec<Start> {
        let (mut starts, mut company) = (Vec::new(), None);
        let mut rest = VecDeque::new();
        while let Some(shard) = self.queue.pop_front() {
            let Some(slot) = self.by_shard.get_mut(&shard) else {
                continue;
            };
            let its = match &slot.doing {
                Doing::Queued(state) => state.company,
                Doing::Fresh => Company::All,
                _ => continue,
            };
            let company = *company.get_or_insert(its);
            if its != company || starts.len() == company.shards_max() {
                rest.push_back(shard);
                continue;
            }
            let stop = stop.child_token();
            let was = std::mem::replace(&mut slot.doing, Doing::Running(stop.clone()));
            let state = match was {
                Doing::Queued(state) => Some(*state),
                _ => None,
            };
            starts.push(Start {
                lease: slot.lease,
                state,
                stop,
            });
        }
        self.queue = rest;
        self.running += starts.len();
        starts
    }

    /// The shards that have to be verified, once no other has to be taken over first: the stream is
    /// read once for all of them.
    pub fn start_verification(&mut self, stop: &CancellationToken) -> Vec<ShardState> {
        let taking_over = |slot: &Slot| matches!(slot.doing, Doing::Fresh);
        if self.by_shard.values().any(taking_over) {
            return Vec::new();
        }
        let mut states = Vec::new();
        for slot in self.by_shard.values_mut() {
            if !matches!(slot.doing, Doing::Unverified(_)) {
                continue;
            }
            let running = Doing::Running(stop.clone());
            if let Doing::Unverified(state) = std::mem::replace(&mut slot.doing, running) {
                states.push(*state);
            }
        }
        self.running += states.len();
        states
    }

    /// A job ended. Gives the shard if it is free to be given back now.
    pub fn ended(&mut self, state: ShardState, end: JobEnd, generation: i64) -> Option<Shard> {
        self.running -= 1;
        let shard = state.shard;
        let slot = self.by_shard.get_mut(&shard)?;
        if slot.gone {
            slot.gone = false;
            if slot.lease.epoch > state.machine.epoch() {
                slot.doing = Doing::Fresh;
                self.queue.push_back(shard);
            } else {
                self.by_shard.remove(&shard);
            }
            return None;
        }
        if slot.leaving || end == JobEnd::Ended(End::Deposed) {
            self.by_shard.remove(&shard);
            return Some(shard);
        }
        slot.doing = match end {
            _ if state.generation != generation => Doing::Fresh,
            JobEnd::Ended(_) => Doing::Stuck,
            JobEnd::Unverified => Doing::Unverified(Box::new(state)),
            JobEnd::More | JobEnd::Pause | JobEnd::Stopped => Doing::Queued(Box::new(state)),
            JobEnd::Idle => Doing::Idle(Box::new(state)),
        };
        let passed_over = std::mem::take(&mut slot.passed_over);
        match slot.doing {
            Doing::Queued(_) | Doing::Fresh => self.queue.push_back(shard),
            Doing::Idle(_) => self.look_owed |= passed_over,
            _ => {}
        }
        None
    }

    /// The stream has another generation: every shard is looked at anew.
    pub fn restart(&mut self, generation: i64) {
        for (shard, slot) in &mut self.by_shard {
            let keep = match &slot.doing {
                Doing::Idle(state) | Doing::Queued(state) | Doing::Unverified(state) => {
                    state.generation == generation
                }
                Doing::Stuck => false,
                Doing::Fresh | Doing::Running(_) => true,
            };
            if !keep {
                slot.doing = Doing::Fresh;
                self.queue.push_back(*shard);
            }
        }
    }

    /// Idle shards whose fence stands below `seq` are to write it anew.
    pub fn renew_fences(&mut self, seq: StreamSeq) {
        let mut due = Vec::new();
        for (shard, slot) in &mut self.by_shard {
            if let Doing::Idle(state) = &mut slot.doing
                && state.machine.holding().is_some_and(|at| at < seq)
            {
                state.machine.renew_fence();
                due.push(*shard);
            }
        }
        self.enqueue(&due);
    }

    /// Another relay has these now.
    pub fn gone(&mut self, shards: &[Shard]) {
        for shard in shards {
            let Some(slot) = self.by_shard.get_mut(shard) else {
                continue;
            };
            if let Doing::Running(stop) = &slot.doing {
                stop.cancel();
                slot.gone = true;
            } else {
                self.by_shard.remove(shard);
            }
        }
    }

    /// Keeps at most `keep` shards and lets go of the others, idle ones first; gives those that
    /// are free already.
    pub fn give_back(&mut self, keep: usize) -> Vec<Shard> {
        let mut candidates: Vec<(u8, Shard)> = self
            .by_shard
            .iter()
            .filter(|(_, slot)| !slot.leaving && !slot.gone)
            .map(|(shard, slot)| {
                let effort = match slot.doing {
                    Doing::Stuck | Doing::Unverified(_) | Doing::Idle(_) => 0,
                    Doing::Fresh => 1,
                    Doing::Queued(_) => 2,
                    Doing::Running(_) => 3,
                };
                (effort, *shard)
            })
            .collect();
        let surplus = candidates.len().saturating_sub(keep);
        candidates.sort_unstable();
        let mut free = Vec::new();
        for (_, shard) in candidates.into_iter().take(surplus) {
            let Some(slot) = self.by_shard.get_mut(&shard) else {
                continue;
            };
            if let Doing::Running(stop) = &slot.doing {
                stop.cancel();
                slot.leaving = true;
            } else {
                self.by_shard.remove(&shard);
                free.push(shard);
            }
        }
        free
    }

    /// How many shards there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_shard.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_shard.is_empty()
    }

    /// Whether any job runs.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.running > 0
    }

    /// How many may not publish before the stream is verified.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.by_shard
            .values()
            .filter(|slot| matches!(slot.doing, Doing::Stuck | Doing::Unverified(_)))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::entity::tests::row;

    #[test]
    fn a_shard_is_read_again_if_its_rows_may_have_been_cut_off() {
        let rows = |count: usize, bytes| -> Vec<Row> {
            let ids = 0..i64::try_from(count).unwrap();
            ids.map(|id| row(id, "events.a.b", bytes)).collect()
        };
        assert!(are_all(&rows(LOOK_ROWS - 1, 1000)));
        assert!(!are_all(&rows(LOOK_ROWS, 10)), "as many as are read");
        assert!(!are_all(&rows(2, 10_000)), "bytes may have been the limit");
    }
}
