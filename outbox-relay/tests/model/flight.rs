//! A batch on its way: sent, begun, committed or not, answered or not.

use outbox_relay::shard::fence::StreamSeq;
use outbox_relay::shard::machine::{Answer, Todo};

use crate::mutant::Mutant;
use crate::relay::Wire;
use crate::stream::{Fenced, Parcel, Part};
use crate::world::World;

impl World {
    /// Parts of one batch leave for the broker.
    pub(crate) fn dispatch(&mut self, nth: usize, parts: Vec<Part>) -> Option<()> {
        for part in &parts {
            self.relays[nth].run_mut(part.shard)?.wire = Wire::Sent;
        }
        let begun = false;
        self.relays[nth].flights.push(Parcel { parts, begun });
        Some(())
    }

    /// The server has all of a batch but its end.
    pub(crate) fn begin(&mut self, nth: usize, flight: usize, mutant: Mutant) {
        let parcel = &mut self.relays[nth].flights[flight];
        parcel.begun = true;
        let early = mutant == Mutant::FencesLookedAtEarly;
        if early && !self.stream.accepts(parcel, Fenced::All) {
            let parcel = self.relays[nth].flights.remove(flight);
            self.told(nth, &parcel, Answer::Refused, mutant);
        }
    }

    /// The end of a batch reaches the broker, and the answer comes back. Had the relay not heard it
    /// yet, nobody else could tell; and that it never hears it is a batch that arrives late.
    pub(crate) fn arrive(&mut self, nth: usize, flight: usize, mutant: Mutant) {
        let parcel = self.relays[nth].flights.remove(flight);
        let Some(mut at) = self.commit(&parcel, mutant) else {
            self.told(nth, &parcel, Answer::Refused, mutant);
            return;
        };
        let life = self.life;
        for part in &parcel.parts {
            let here = at;
            at = at.after(part.events.len() + 1);
            let Some(run) = self.relays[nth].waiting(part) else {
                continue;
            };
            run.wire = Wire::Quiet;
            run.life = life;
            if !part.singly.is_empty() {
                self.send_singly(nth, part, here);
                continue;
            }
            let sent = part.fence.events.clone();
            run.machine.answered(Answer::Stored(here), sent);
            if mutant == Mutant::NextBatchBeforeDelete
                && run.postponed.is_empty()
                && let Todo::Settle(owed) = run.machine.todo()
            {
                run.postponed = owed.placed;
                run.machine.settled(true);
            }
        }
    }

    /// The end of a batch reaches the broker: it is stored whole, or not at all.
    pub(crate) fn commit(&mut self, parcel: &Parcel, mutant: Mutant) -> Option<StreamSeq> {
        let fenced = match mutant {
            Mutant::NoFence => Fenced::None,
            Mutant::FencesLookedAtEarly if parcel.begun => Fenced::None,
            Mutant::FirstFenceAlone => Fenced::First,
            _ => Fenced::All,
        };
        let accepted = self.stream.accepts(parcel, fenced);
        accepted.then(|| self.stream.store(parcel, self.life))
    }

    /// A batch was refused, or no answer came: what its shards are told.
    pub(crate) fn told(&mut self, nth: usize, parcel: &Parcel, answer: Answer, mutant: Mutant) {
        let several = parcel.parts.len() > 1;
        for (at, part) in parcel.parts.iter().enumerate() {
            let is_due = self.stream.awaits(part);
            let first = &parcel.parts[0];
            let is_led = at > 0 && self.relays[nth].run(first.shard).is_some();
            let Some(run) = self.relays[nth].waiting(part) else {
                continue;
            };
            run.wire = Wire::Quiet;
            run.check = None;
            if !part.singly.is_empty() {
                let sent = part.fence.announced.clone();
                run.machine.announced(answer, sent);
                continue;
            }
            let sent = part.fence.events.clone();
            match (mutant, run.machine.holding()) {
                (Mutant::GuessNotStored, Some(_)) => {}
                (Mutant::GuessStored, Some(at)) if !sent.is_empty() => {
                    run.machine.answered(Answer::Stored(at.after(1)), sent);
                }
                (Mutant::NothingIsLate, _) => run.machine.answered(Answer::Refused, sent),
                (Mutant::RefusedForItself, Some(at))
                    if several && is_due && answer == Answer::Refused && !sent.is_empty() =>
                {
                    run.machine.answered(Answer::Stored(at.after(1)), sent);
                }
                (Mutant::OneFenceReadBack, _) if is_led && answer == Answer::Unclear => {
                    run.wire = Wire::Following(part.clone(), first.expect);
                }
                _ => run.machine.answered(answer, sent),
            }
        }
    }

    /// Batches for whose answer no shard waits any more: each may arrive late, or never.
    pub(crate) fn forsake(&mut self, nth: usize) {
        let relay = &mut self.relays[nth];
        for parcel in std::mem::take(&mut relay.flights) {
            let awaited = parcel
                .parts
                .iter()
                .any(|part| relay.waiting(part).is_some());
            if awaited {
                relay.flights.push(parcel);
            } else {
                self.late.push(parcel);
            }
        }
        self.forsake_singles(nth);
    }
}
