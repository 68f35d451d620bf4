//! A relay: what it keeps in memory, and what it does next.

use std::collections::BTreeSet;

use outbox_relay::leases::repo::Lease;
use outbox_relay::shard::fence::{EventRef, StreamSeq};
use outbox_relay::shard::machine::{Machine, Todo};
use uuid::Uuid;

use crate::database::Writer;
use crate::event::{Event, Nth};
use crate::singly::Single;
use crate::stream::{Parcel, Part};

/// A relay. A crash takes all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Relay {
    /// The stream's generation as it was last seen; `None` before the first look.
    pub(crate) facts: Option<i64>,
    pub(crate) held: [Option<Held>; 2],
    /// Batches on their way to the broker whose answers are waited for.
    pub(crate) flights: Vec<Parcel>,
    /// Announced events on their way to the broker whose answers are waited for.
    pub(crate) singles: Vec<Single>,
}

/// A shard, as far as this relay knows it is its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    pub(crate) job: Job,
    /// Whether it was begun anew under this lease.
    pub(crate) again: bool,
}

/// What is being done about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every relay of nearly every state runs"
)]
pub(crate) enum Job {
    /// To be looked at (anew).
    Fresh,
    /// The machine runs.
    Run(Run),
    /// Nothing can be done before the generation is above this one.
    Stuck(i64),
}

/// A machine and what is on its way for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    /// The generation that the machine was made for.
    pub(crate) generation: i64,
    /// In which life of the stream the broker last said where the fence stands.
    pub(crate) life: u8,
    pub(crate) wire: Wire,
    pub(crate) check: Option<Check>,
    /// Answered, and not settled yet: of a mutant.
    pub(crate) postponed: Vec<(EventRef, StreamSeq)>,
}

/// What was asked of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Quiet,
    /// A part of a batch is on its way to the broker.
    Sent,
    /// Announced events are; these are answered as stored.
    Singly(Vec<(EventRef, StreamSeq)>),
    /// A part of a batch got no answer, and what is found out about the first part of the batch,
    /// which expected its last fence there, is taken for true of this one: of a mutant.
    Following(Part, StreamSeq),
    /// An event that was read cannot be published.
    Judged(Event),
}

/// What a verification has found by comparing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub(crate) lives: (i64, i64),
    pub(crate) to: StreamSeq,
    pub(crate) absent: BTreeSet<Uuid>,
}

/// What a relay does by itself, one exchange with the database or the broker each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    /// Takes the lease.
    Take,
    /// Reads the fence and judges it.
    ReadFence,
    /// Reads rows and sends them, or finds that the first cannot be sent; or sends the own fence.
    Send,
    /// Reads rows, and sends a fence that announces those that may come one by one.
    Announce,
    /// Settles what stands in the stream.
    Settle,
    /// Looks up which of the announced events stand in the stream.
    Search,
    /// Buries what it has judged.
    Bury,
    /// Does what the machine's end demands.
    End,
    /// Compares stream and database.
    Compare,
    /// Publishes again what the stream has lost, or passes if it has nothing (more).
    Republish,
}

impl Relay {
    /// The next move of its own accord, `None` if it waits for somebody.
    pub(crate) fn next_move(&self, shard: Nth) -> Option<Move> {
        let facts = self.facts?;
        let Some(held) = &self.held[shard] else {
            return Some(Move::Take);
        };
        match &held.job {
            Job::Fresh => Some(Move::ReadFence),
            Job::Stuck(generation) => (facts != *generation).then_some(Move::ReadFence),
            Job::Run(run) => run.next_move(),
        }
    }

    pub(crate) fn run(&self, shard: Nth) -> Option<&Run> {
        match &self.held[shard].as_ref()?.job {
            Job::Run(run) => Some(run),
            _ => None,
        }
    }

    pub(crate) fn run_mut(&mut self, shard: Nth) -> Option<&mut Run> {
        match &mut self.held[shard].as_mut()?.job {
            Job::Run(run) => Some(run),
            _ => None,
        }
    }

    /// The run that waits to be told what became of a part of a batch, if it still does.
    pub(crate) fn waiting(&mut self, part: &Part) -> Option<&mut Run> {
        let run = self.run_mut(part.shard)?;
        let waits = run.wire == Wire::Sent && run.machine.epoch() == part.fence.epoch;
        waits.then_some(run)
    }

    /// Whether the stream is known to have another generation than the machine was made for.
    pub(crate) fn is_outdated(&self, shard: Nth) -> bool {
        self.run(shard)
            .is_some_and(|run| self.facts != Some(run.generation) && run.wire == Wire::Quiet)
    }

    /// Under which lease the relay of that index writes to a shard.
    pub(crate) fn writer(&self, owner: usize, shard: Nth) -> Option<Writer> {
        let held = self.held[shard].as_ref()?;
        let generation = match &held.job {
            Job::Run(run) => run.generation,
            _ => held.lease.generation,
        };
        Some(Writer {
            owner,
            shard,
            epoch: held.lease.epoch,
            generation,
        })
    }
}

impl Run {
    pub(crate) fn new(machine: Machine, generation: i64) -> Self {
        Self {
            machine,
            generation,
            life: 0,
            wire: Wire::Quiet,
            check: None,
            postponed: Vec::new(),
        }
    }

    fn next_move(&self) -> Option<Move> {
        match &self.wire {
            Wire::Sent | Wire::Singly(_) | Wire::Following(..) => None,
            Wire::Judged(_) => Some(Move::Bury),
            Wire::Quiet => match self.machine.todo() {
                Todo::ReadFence => Some(Move::ReadFence),
                Todo::Settle(_) => Some(Move::Settle),
                Todo::Search { .. } => Some(Move::Search),
                Todo::End(_) => Some(Move::End),
                Todo::WriteFence { .. } => Some(Move::Send),
                Todo::Publish if self.machine.verified() => Some(Move::Send),
                Todo::Publish if self.check.is_none() => Some(Move::Compare),
                Todo::Publish => Some(Move::Republish),
            },
        }
    }
}
