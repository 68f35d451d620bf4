//! What each move of a relay does, with the machine of the production code deciding.

use outbox_relay::shard::fence::{EventRef, Fence, StreamSeq};
use outbox_relay::shard::machine::{Answer, Machine, Todo};

use crate::event::{Event, OUTBOX};
use crate::mutant::Mutant;
use crate::relay::{Job, Move, Run, Wire};
use crate::stream::Parcel;
use crate::world::World;

/// Rows of a batch at most: fewer than there are events, so that there is more than one batch.
const BATCH_MAX: usize = 2;

impl World {
    /// Lets a relay make its next move. `None` if nothing comes of it.
    pub(crate) fn make_move(&mut self, nth: usize, what: Move, mutant: Mutant) -> Option<()> {
        match what {
            Move::Take => self.take(nth),
            Move::ReadFence => self.read_fence(nth, mutant),
            Move::SendRows => self.send_rows(nth, mutant),
            Move::Settle => self.settle(nth, mutant),
            Move::Bury => self.bury(nth, mutant),
            Move::End => self.end(nth),
            Move::Compare => self.compare(nth, mutant),
            Move::Republish => self.republish(nth, mutant),
        }
    }

    fn read_fence(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let facts = self.relays[nth].facts?;
        let held = self.relays[nth].held.as_mut()?;
        held.again |= matches!(held.job, Job::Stuck(_));
        if !matches!(held.job, Job::Run(_)) {
            let mut claim = held.lease.claim(OUTBOX, facts);
            claim.verified |= mutant == Mutant::NoVerify;
            held.job = Job::Run(Run::new(Machine::new(claim), facts));
        }
        let mut found = self.stream.last_fence();
        if let (Mutant::NoLookForLostCommits, Some(found)) = (mutant, &mut found) {
            found.fence.settled = StreamSeq(0);
        }
        let life = self.life;
        let run = self.relays[nth].run_mut()?;
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
        Some(())
    }

    /// Sends the own fence, if that is what comes next. As nobody but the relay has to do with it,
    /// nothing can come between this and the move before it.
    pub(crate) fn send_fence(&mut self, nth: usize) {
        if let Some(run) = self.relays[nth].run_mut()
            && run.wire == Wire::Quiet
            && let Todo::WriteFence { expect, fence } = run.machine.todo()
        {
            run.wire = Wire::Sent(Parcel {
                expect,
                fence,
                events: Vec::new(),
                life: run.life,
            });
        }
    }

    fn send_rows(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let reader = self.relays[nth].writer(nth)?;
        let mut rows = self.db.next_rows(reader, BATCH_MAX, mutant);
        let impossible = |row: &Event| self.spoiled && row.number == 1;
        match rows.iter().position(impossible) {
            Some(0) => {
                self.relays[nth].run_mut()?.wire = Wire::Judged(rows[0]);
                return Some(());
            }
            Some(count) => rows.truncate(count),
            None => {}
        }
        if rows.is_empty() {
            return self.settle_postponed(nth, mutant);
        }
        self.send(nth, rows)?;
        if mutant == Mutant::MarkBeforeAck {
            let writer = self.relays[nth].writer(nth)?;
            let Wire::Sent(parcel) = &self.relays[nth].run()?.wire else {
                return None;
            };
            let placed = placed(parcel.expect.after(1), &parcel.fence);
            self.db.settle(writer, &placed, mutant);
        }
        Some(())
    }

    pub(crate) fn send(&mut self, nth: usize, rows: Vec<Event>) -> Option<()> {
        let run = self.relays[nth].run_mut()?;
        let refs = rows.iter().map(|row| row.event_ref()).collect();
        let (expect, fence) = run.machine.begin_batch(refs)?;
        run.wire = Wire::Sent(Parcel {
            expect,
            fence,
            events: rows,
            life: run.life,
        });
        Some(())
    }

    /// What a relay has sent reaches the broker, and the answer comes back. Had the relay not heard
    /// it yet, nobody else could tell; and that it never hears it is a batch that arrives late.
    pub(crate) fn arrive(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let life = self.life;
        let run = self.relays[nth].run_mut()?;
        let Wire::Sent(parcel) = std::mem::replace(&mut run.wire, Wire::Quiet) else {
            return None;
        };
        let stored = self.stream.store(&parcel, life, mutant != Mutant::NoFence);
        let sent = parcel.fence.events;
        let Some(at) = stored else {
            return self.told(nth, Answer::Refused, sent, mutant);
        };
        run.life = life;
        run.machine.answered(Answer::Stored(at), sent);
        if mutant == Mutant::NextBatchBeforeDelete
            && run.postponed.is_empty()
            && let Todo::Settle(found) = run.machine.todo()
        {
            run.postponed = found.placed().collect();
            run.machine.settled(true);
        }
        Some(())
    }

    /// The batch was refused, or no answer came.
    pub(crate) fn told(
        &mut self,
        nth: usize,
        answer: Answer,
        sent: Vec<EventRef>,
        mutant: Mutant,
    ) -> Option<()> {
        let run = self.relays[nth].run_mut()?;
        run.check = None;
        match (mutant, run.machine.holding()) {
            (Mutant::GuessNotStored, Some(_)) => {}
            (Mutant::GuessStored, Some(at)) if !sent.is_empty() => {
                run.machine.answered(Answer::Stored(at.after(1)), sent);
            }
            (Mutant::NothingIsLate, _) => run.machine.answered(Answer::Refused, sent),
            _ => run.machine.answered(answer, sent),
        }
        Some(())
    }

    fn settle(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let held = self.settle_in_database(nth, mutant)?;
        let run = self.relays[nth].run_mut()?;
        run.machine.settled(held);
        self.settle_postponed(nth, mutant);
        Some(())
    }

    /// The statement alone, whose answer may get lost.
    pub(crate) fn settle_in_database(&mut self, nth: usize, mutant: Mutant) -> Option<bool> {
        let writer = self.relays[nth].writer(nth)?;
        let run = self.relays[nth].run()?;
        let Todo::Settle(found) = run.machine.todo() else {
            return None;
        };
        let placed: Vec<_> = found.placed().collect();
        let held = self.db.settle(writer, &placed, mutant);
        if held && !run.machine.verified() {
            let at: Vec<_> = placed.iter().map(|(event, seq)| (event.1, *seq)).collect();
            self.db.place(writer, &at);
        }
        Some(held)
    }

    fn settle_postponed(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let writer = self.relays[nth].writer(nth)?;
        let placed = std::mem::take(&mut self.relays[nth].run_mut()?.postponed);
        if placed.is_empty() {
            return None;
        }
        self.db.settle(writer, &placed, mutant);
        Some(())
    }

    fn bury(&mut self, nth: usize, mutant: Mutant) -> Option<()> {
        let writer = self.relays[nth].writer(nth)?;
        let run = self.relays[nth].run_mut()?;
        let Wire::Judged(event) = std::mem::replace(&mut run.wire, Wire::Quiet) else {
            return None;
        };
        if !self.db.bury(writer, event, mutant) {
            self.let_go(nth);
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
