//! Few events, one by one behind a fence that announces them.

use outbox_relay::shard::fence::{Epoch, EventRef, Fence, StoredFence, StreamSeq};
use outbox_relay::shard::machine::{Answer, Todo};

use crate::event::{Event, Nth};
use crate::mutant::Mutant;
use crate::relay::{Run, Wire};
use crate::stream::Part;
use crate::world::World;

/// An announced event on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Single {
    pub(crate) event: Event,
    /// Under which epoch it was sent.
    pub(crate) epoch: Epoch,
    /// Where its shard's last fence must stand.
    pub(crate) behind: StreamSeq,
    /// In which life of the stream its sender was told so.
    pub(crate) life: u8,
}

impl World {
    /// Whether a relay that sends rows could also announce them.
    pub(crate) fn may_announce(&self, nth: usize, shard: Nth) -> bool {
        let run = self.relays[nth].run(shard);
        self.scope.announces() && run.is_some_and(|run| run.machine.todo() == Todo::Publish)
    }

    /// Sends a fence that announces the rows that are read, up to the second one of a key. The relay
    /// sends those in a batch; but how many rows it reads is up to it.
    pub(crate) fn announce(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let mut rows = self.rows(nth, shard, mutant)?;
        let first = rows.first()?;
        if self.is_impossible(first) {
            return None;
        }
        let repeated = |at: &usize| rows[..*at].iter().any(|row| row.key == rows[*at].key);
        let alike = (0..rows.len()).find(repeated);
        rows.truncate(alike.unwrap_or(rows.len()));
        let run = self.relays[nth].run(shard)?;
        let refs = rows.iter().map(|row| row.event_ref()).collect();
        let (expect, fence) = run.machine.begin_announcement(refs)?;
        let part = Part {
            shard,
            expect,
            fence,
            events: Vec::new(),
            singly: rows,
            life: run.life,
        };
        self.dispatch(nth, vec![part])
    }

    /// The fence that announces them is stored: all leave, one behind the other. As nobody but the
    /// relay has to do with it, nothing can come between.
    pub(crate) fn send_singly(&mut self, nth: usize, part: &Part, at: StreamSeq) {
        let Some(run) = self.relays[nth].run_mut(part.shard) else {
            return;
        };
        let sent = part.fence.announced.clone();
        if run.machine.announced(Answer::Stored(at), sent).is_none() {
            return;
        }
        run.wire = Wire::Singly(Vec::new());
        let (epoch, life) = (run.machine.epoch(), run.life);
        let singles = part.singly.iter().map(|event| Single {
            event: *event,
            epoch,
            behind: at,
            life,
        });
        self.relays[nth].singles.extend(singles);
    }

    /// The first announced event reaches the broker, and the answer comes back.
    pub(crate) fn arrive_singly(&mut self, nth: usize, mutant: Mutant) {
        let single = self.relays[nth].singles.remove(0);
        let at = self.commit_singly(&single, mutant);
        if let (Some(at), Some(run)) = (at, self.waiting_singly(nth, &single))
            && let Wire::Singly(placed) = &mut run.wire
        {
            placed.push((single.event.event_ref(), at));
        }
        self.conclude(nth, &single, mutant);
    }

    /// An announced event reaches the broker: it is stored, or refused.
    pub(crate) fn commit_singly(&mut self, single: &Single, mutant: Mutant) -> Option<StreamSeq> {
        let accepted = self.accepts_singly(single, mutant);
        accepted.then(|| self.stream.store_singly(single.event))
    }

    fn accepts_singly(&self, single: &Single, mutant: Mutant) -> bool {
        let shard = single.event.key.shard();
        mutant == Mutant::SinglyWithoutCondition
            || self.stream.stands_at(shard, single.behind, single.life)
    }

    fn waiting_singly(&mut self, nth: usize, single: &Single) -> Option<&mut Run> {
        let run = self.relays[nth].run_mut(single.event.key.shard())?;
        let waits = matches!(run.wire, Wire::Singly(_)) && run.machine.epoch() == single.epoch;
        waits.then_some(run)
    }

    /// Once no answer is waited for any more, the machine is told which were stored.
    fn conclude(&mut self, nth: usize, last: &Single, mutant: Mutant) {
        if !self.relays[nth].singles.is_empty() {
            return;
        }
        let Some(run) = self.waiting_singly(nth, last) else {
            return;
        };
        let Wire::Singly(placed) = std::mem::replace(&mut run.wire, Wire::Quiet) else {
            return;
        };
        let placed = match (mutant, run.machine.todo()) {
            (Mutant::UnansweredIsStored, Todo::WriteFence { fence, .. }) => {
                in_a_row(last.behind, &fence.announced)
            }
            _ => placed,
        };
        run.machine.stored_singly(last.behind, placed);
        if let (Mutant::SearchedTooEarly, Todo::WriteFence { expect, .. }) =
            (mutant, run.machine.todo())
        {
            // What comes from now on is not shut out.
            run.machine.answered(Answer::Stored(expect), Vec::new());
        }
    }

    /// No answer comes to any of a relay's announced events; each may still arrive, or never.
    pub(crate) fn lose_answers(&mut self, nth: usize, mutant: Mutant) {
        let singles = std::mem::take(&mut self.relays[nth].singles);
        if let Some(last) = singles.last() {
            self.conclude(nth, last, mutant);
        }
        self.late_singles.extend(singles);
    }

    /// No answer comes to the first of several.
    pub(crate) fn lose_one_answer(&mut self, nth: usize) -> Option<()> {
        let singles = &mut self.relays[nth].singles;
        if singles.len() < 2 {
            return None;
        }
        let single = singles.remove(0);
        self.late_singles.push(single);
        Some(())
    }

    /// Announced events for whose answers nobody waits any more.
    pub(crate) fn forsake_singles(&mut self, nth: usize) {
        for single in std::mem::take(&mut self.relays[nth].singles) {
            if self.waiting_singly(nth, &single).is_some() {
                self.relays[nth].singles.push(single);
            } else {
                self.late_singles.push(single);
            }
        }
    }

    /// A fence that was left behind never is the last again before the stream loses something, and
    /// then nothing arrives that was on its way: what is refused now is refused for good, and
    /// whether it comes makes no difference.
    pub(crate) fn forget_hopeless(&mut self, mutant: Mutant) {
        let mut late = std::mem::take(&mut self.late_singles);
        late.retain(|single| self.accepts_singly(single, mutant));
        late.sort_unstable();
        self.late_singles = late;
    }

    /// As `Turn::search_all`: which of the announced events that still wait in the database stand
    /// between the two fences. In a shard that is not verified, the verification finds out.
    pub(crate) fn search(&mut self, nth: usize, shard: Nth, mutant: Mutant) -> Option<()> {
        let run = self.relays[nth].run(shard)?;
        let Todo::Search { announced, mut to } = run.machine.todo() else {
            return None;
        };
        if mutant == Mutant::SearchedTooEarly {
            to = StreamSeq(u64::MAX);
        }
        let mut placed = Vec::new();
        if run.machine.verified() {
            let waiting = self.db.pending.iter().map(|row| row.event_ref());
            for event in waiting.filter(|event| announced.events.contains(event)) {
                let stored = self.stream.scan(shard, to).into_iter();
                let found = stored
                    .filter(|found| found.seq > announced.behind)
                    .find(|found| found.event_id == event.1);
                placed.extend(found.map(|found| (event, found.seq)));
            }
        }
        self.relays[nth].run_mut(shard)?.machine.found(placed);
        Some(())
    }
}

/// Where announced events would stand if all of them were stored and nothing came between.
fn in_a_row(fence: StreamSeq, events: &[EventRef]) -> Vec<(EventRef, StreamSeq)> {
    let events = events.iter().enumerate();
    events
        .map(|(index, event)| (*event, fence.after(index + 1)))
        .collect()
}

/// What a mutant makes of a fence that a relay of that epoch reads.
pub(crate) fn misread(found: &mut StoredFence, reader: Epoch, mutant: Mutant) {
    let is_anothers = found.fence.epoch < reader;
    let announced = &mut found.fence.announced;
    match mutant {
        Mutant::AnnouncedIsProof if !announced.is_empty() => {
            found.fence.events = std::mem::take(announced);
        }
        Mutant::TakeOverForgets if is_anothers => announced.clear(),
        _ => {}
    }
}

/// What a mutant makes of a fence that shuts out what was announced.
pub(crate) fn closing(mut fence: Fence, mutant: Mutant) -> Fence {
    if mutant == Mutant::ClosingForgets {
        fence.announced.clear();
        fence.behind = StreamSeq(0);
    }
    fence
}
