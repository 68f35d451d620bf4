//! What each move of a relay does, with the machine of the production code deciding.

use outbox_relay::shard::fence::{EventRef, Fence, StreamSeq};
use outbox_relay::shard::machine::{Answer, Machine, Todo};

use crate::event::{Event, Nth, OUTBOX};
use crate::mutant::Mutant;
use crate::relay::{Job, Move, Run, Wire};
use crate::singly::{closing, misread};
use crate::stream::Part;
use crate::world::World;

/// Rows of a shard in a batch at most: fewer than there are events, so that there is more than one
/// batch.
const BATCH_MAX: usize = 2;

impl World {
    /// Lets a relay make its next move for a shard. `None` if nothing comes of it.
    pub(crate) fn make_move(
        &mut self,
        nth: usize,
        shard: Nth,
        what: Move,
        mutant: Mutant,
    ) -> Option<()> {
        match what {
            Move::Take => self.take(nth, shard),
            Move::ReadFence => self.read_fence(nth, shard, mutant),
            Move::Send => self.send(nth, shard, mutant),
            Move::Announce => self.announce(nth, shard, mutant),
            Move::Settle => self.settle(nth, shard, mutant),
            Move::Search => self.search(nth, shard, mutant),
            Move::Bury => self.bury(nth, shard, mutant),
            Move::End => self.end(nth, shard),
            Move::Compare => self.compare(nth, shard, mutant),
            Move::Republish => self.republish(nth, shard, mutant),
        }
    }

    fn read_fence(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let facts = self.relays[nth].facts?;
        let held = self.relays[nth].held[shard].as_mut()?;
        held.again |= matches!(held.job, Job::Stuck(_));
        if !matches!(held.job, Job::Run(_)) {
            let mut claim = held.lease.claim(OUTBOX, facts);
            claim.verified |= mutant == Mutant::NoVerify;
            held.job = Job::Run(Run::new(Machine::new(claim), facts));
        }
        let mut found = self.stream.last_fence(shard);
        if let (Mutant::NoLookForLostCommits, Some(found)) = (mutant, &mut found) {
            found.fence.settled = StreamSeq(0);
        }
        if let (Mutant::NoGeneration, Some(found)) = (mutant, &mut found) {
            found.fence.generation = 0;
        }
        let at = found.as_ref().map(|found| found.at);
        let life = self.life;
        if let Some(found) = &mut found {
            let recorded = self.relays[nth].run(shard)?.machine.recorded();
            if mutant != Mutant::NotLookedBehind {
                self.stream.look_behind(found, recorded);
            }
            misread(found, self.relays[nth].run(shard)?.machine.epoch(), mutant);
        }
        let run = self.relays[nth].run_mut(shard)?;
        run.life = life;
        run.machine.fence_read(found);
        if mutant == Mutant::NoReadBack && matches!(run.machine.todo(), Todo::Settle(_)) {
            run.machine.settled(true);
        }
        if let (Mutant::NoTakeOverFence, Todo::WriteFence { expect, .. }) =
            (mutant, run.machine.todo())
            && expect > StreamSeq(0)
        {
            run.machine.answered(Answer::Stored(expect), Vec::new());
        }
        self.follow(nth, shard, at);
        Some(())
    }

    /// The other shard's part of the batch is taken for what this one's is found to be.
    fn follow(&mut self, nth: usize, shard: Nth, found: Option<StreamSeq>) {
        let Some(other) = self.relays[nth].run_mut(1 - shard) else {
            return;
        };
        if let Wire::Following(part, expect) = &other.wire {
            let answer = if found > Some(*expect) {
                Answer::Stored(part.expect.after(1))
            } else {
                Answer::Refused
            };
            let sent = part.fence.events.clone();
            other.wire = Wire::Quiet;
            other.machine.answered(answer, sent);
        }
    }

    /// Sends the own fence, if that is what comes next and there is only one shard. As nobody but
    /// the relay has to do with it, nothing can come between this and the move before it.
    pub(crate) fn send_fence(&mut self, nth: usize, mutant: Mutant) {
        if self.scope.has_two_shards() {
            return;
        }
        if let Some(part) = self.fence_alone(nth, 0, mutant) {
            self.dispatch(nth, vec![part]);
        }
    }

    fn fence_alone(&self, nth: usize, shard: Nth, mutant: Mutant) -> Option<Part> {
        let run = self.relays[nth].run(shard)?;
        match run.machine.todo() {
            Todo::WriteFence { expect, fence } if run.wire == Wire::Quiet => Some(Part {
                shard,
                expect,
                fence: closing(fence, mutant),
                events: Vec::new(),
                singly: Vec::new(),
                life: run.life,
            }),
            _ => None,
        }
    }

    fn send(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        if let Some(part) = self.fence_alone(nth, shard, mutant) {
            return self.dispatch(nth, vec![part]);
        }
        let rows = self.rows(nth, shard, mutant)?;
        if let Some(first) = rows.first().filter(|row| self.is_impossible(row)) {
            self.relays[nth].run_mut(shard)?.wire = Wire::Judged(*first);
            return Some(());
        }
        if rows.is_empty() {
            return self.settle_postponed(nth, shard, mutant);
        }
        let run = self.relays[nth].run_mut(shard)?;
        if run.machine.is_apart() && mutant != Mutant::NotRenewed {
            run.machine.renew_fence();
            return Some(());
        }
        let part = self.part(nth, shard, rows)?;
        if mutant == Mutant::MarkBeforeAck {
            let writer = self.relays[nth].writer(nth, shard)?;
            let placed = placed(part.expect.after(1), &part.fence);
            self.db.settle(writer, &placed, mutant);
        }
        self.dispatch(nth, vec![part])
    }

    /// Sends what both shards have to send, a fence or rows behind one, in one batch.
    pub(crate) fn send_together(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let mut parts = Vec::new();
        for shard in 0..2 {
            let part = if let Some(part) = self.fence_alone(nth, shard, mutant) {
                part
            } else {
                let rows = self.rows(nth, shard, mutant)?;
                let first = rows.first()?;
                if self.is_impossible(first) {
                    return None;
                }
                self.part(nth, shard, rows)?
            };
            parts.push(part);
        }
        self.dispatch(nth, parts)
    }

    /// The rows that a shard's next batch may have; the first one alone if it cannot be sent.
    pub(crate) fn rows(&self, nth: usize, shard: Nth, mutant: Mutant) -> Option<Vec<Event>> {
        let reader = self.relays[nth].writer(nth, shard)?;
        let mut rows = self.db.next_rows(reader, BATCH_MAX, mutant);
        let impossible = rows.iter().position(|row| self.is_impossible(row));
        rows.truncate(impossible.unwrap_or(rows.len()).max(1));
        Some(rows)
    }

    pub(crate) fn is_impossible(&self, row: &Event) -> bool {
        self.spoiled && row.number == 1
    }

    /// A fence and rows behind it.
    pub(crate) fn part(&self, nth: usize, shard: Nth, rows: Vec<Event>) -> Option<Part> {
        let run = self.relays[nth].run(shard)?;
        let refs = rows.iter().map(|row| row.event_ref()).collect();
        // Not `begin_batch`, which refuses what a mutant does.
        let (expect, fence) = (run.machine.holding()?, run.machine.fence(refs));
        Some(Part {
            shard,
            expect,
            fence,
            events: rows,
            singly: Vec::new(),
            life: run.life,
        })
    }

    fn settle(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let held = self.settle_in_database(nth, shard, mutant)?;
        let run = self.relays[nth].run_mut(shard)?;
        run.machine.settled(held);
        self.settle_postponed(nth, shard, mutant);
        Some(())
    }

    /// The statement alone, whose answer may get lost.
    pub(crate) fn settle_in_database(
        &mut self,
        nth: usize,
        shard: Nth,
        mutant: Mutant,
    ) -> Option<bool> {
        let writer = self.relays[nth].writer(nth, shard)?;
        let run = self.relays[nth].run(shard)?;
        let Todo::Settle(owed) = run.machine.todo() else {
            return None;
        };
        let placed = owed.placed;
        let held = self.db.settle(writer, &placed, mutant);
        if held && !run.machine.verified() {
            let at: Vec<_> = placed.iter().map(|(event, seq)| (event.1, *seq)).collect();
            self.db.place(writer, &at);
        }
        Some(held)
    }

    fn settle_postponed(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let writer = self.relays[nth].writer(nth, shard)?;
        let placed = std::mem::take(&mut self.relays[nth].run_mut(shard)?.postponed);
        if placed.is_empty() {
            return None;
        }
        self.db.settle(writer, &placed, mutant);
        Some(())
    }

    fn bury(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let writer = self.relays[nth].writer(nth, shard)?;
        let run = self.relays[nth].run_mut(shard)?;
        let Wire::Judged(event) = std::mem::replace(&mut run.wire, Wire::Quiet) else {
            return None;
        };
        if !self.db.bury(writer, event, mutant) {
            self.let_go(nth, shard);
        }
        Some(())
    }
}

fn placed(at: StreamSeq, fence: &Fence) -> Vec<(EventRef, StreamSeq)> {
    let events = fence.events.iter().enumerate();
    events
        .map(|(nth, event)| (*event, at.after(nth + 1)))
        .collect()
}
