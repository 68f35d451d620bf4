//! What may go wrong, at any moment, and how often.

use crate::event::Nth;

/// How often each thing may happen. Every number makes the world larger by a factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Faults of all kinds together.
    pub(crate) total: u8,
    /// A relay dies; what it has sent may still arrive.
    pub(crate) crashes: u8,
    /// A relay does nothing until its lease has lapsed, and then goes on.
    pub(crate) freezes: u8,
    /// An answer of the broker or the database does not come, whether or not the thing was done.
    pub(crate) lost_answers: u8,
    /// Limits of the stream evict the last fence: not a shard's very first, and not before a loss is
    /// made good, since limits are not reached within that time; nor with events that still wait in
    /// the database.
    pub(crate) evictions: u8,
    /// The stream is gone and is made anew.
    pub(crate) wipes: u8,
    /// The stream is restored from an older copy, which may end anywhere but within a batch.
    pub(crate) stream_restores: u8,
    /// The database is restored from an older copy.
    pub(crate) database_restores: u8,
    /// Event 1 turns out to be one that cannot be published; an operator may mend and retry it.
    pub(crate) spoilings: u8,
    /// An operator orders a verification for no reason.
    pub(crate) verifications: u8,
    /// The broker restarts, and keeps what it has stored. All connections end; of batches that are
    /// on their way it may have kept what it has, and their ends may still come.
    pub(crate) restarts: u8,
    /// The broker gives up a batch whose end does not come.
    pub(crate) abandonments: u8,
}

/// One of them happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    Crash(usize),
    /// Of the relay that holds the shard, for its lease of this shard.
    Freeze(Nth),
    /// For a shard of the relay, and for what travels together with it.
    LoseAnswer(usize, Nth),
    /// For the first of several announced events that are on their way.
    LoseOneAnswer(usize),
    EvictFence,
    WipeStream,
    CopyStream,
    RestoreStream,
    CopyDatabase,
    RestoreDatabase,
    Spoil,
    Retry,
    OrderVerification,
    RestartBroker,
    Abandon(usize),
}

impl Faults {
    /// How often it may still happen.
    pub(crate) fn of(&self, fault: Fault) -> u8 {
        let kind = match fault {
            Fault::Crash(_) => self.crashes,
            Fault::Freeze(_) => self.freezes,
            Fault::LoseAnswer(..) | Fault::LoseOneAnswer(_) => self.lost_answers,
            Fault::EvictFence => self.evictions,
            Fault::WipeStream => self.wipes,
            Fault::CopyStream | Fault::RestoreStream => self.stream_restores,
            Fault::CopyDatabase | Fault::RestoreDatabase => self.database_restores,
            Fault::Spoil => self.spoilings,
            Fault::OrderVerification => self.verifications,
            Fault::RestartBroker => self.restarts,
            Fault::Abandon(_) => self.abandonments,
            Fault::Retry => return 1,
        };
        kind.min(self.total)
    }

    /// It happens: counts it.
    pub(crate) fn spend(&mut self, fault: Fault) {
        let left = match fault {
            Fault::Crash(_) => &mut self.crashes,
            Fault::Freeze(_) => &mut self.freezes,
            Fault::LoseAnswer(..) | Fault::LoseOneAnswer(_) => &mut self.lost_answers,
            Fault::EvictFence => &mut self.evictions,
            Fault::WipeStream => &mut self.wipes,
            Fault::RestoreStream => &mut self.stream_restores,
            Fault::RestoreDatabase => &mut self.database_restores,
            Fault::Spoil => &mut self.spoilings,
            Fault::OrderVerification => &mut self.verifications,
            Fault::RestartBroker => &mut self.restarts,
            Fault::Abandon(_) => &mut self.abandonments,
            Fault::CopyStream | Fault::CopyDatabase | Fault::Retry => return,
        };
        *left -= 1;
        self.total -= 1;
    }
}

/// Every kind of fault.
pub(crate) const FAULTS: [Fault; 22] = [
    Fault::Crash(0),
    Fault::Crash(1),
    Fault::Freeze(0),
    Fault::Freeze(1),
    Fault::LoseAnswer(0, 0),
    Fault::LoseAnswer(0, 1),
    Fault::LoseAnswer(1, 0),
    Fault::LoseAnswer(1, 1),
    Fault::LoseOneAnswer(0),
    Fault::LoseOneAnswer(1),
    Fault::EvictFence,
    Fault::WipeStream,
    Fault::CopyStream,
    Fault::RestoreStream,
    Fault::CopyDatabase,
    Fault::RestoreDatabase,
    Fault::Spoil,
    Fault::Retry,
    Fault::OrderVerification,
    Fault::RestartBroker,
    Fault::Abandon(0),
    Fault::Abandon(1),
];
