//! Known-bad variants of the protocol, each of which the checker must find a counterexample for.
//! They live in the model's own steps; the production code knows nothing of them.

/// What is left out or turned round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The protocol as it is.
    #[default]
    None,
    /// Rows are recorded as published when their batch is sent.
    MarkBeforeAck,
    /// What writes to a shard's rows does not ask who holds the lease.
    NoEpochGuard,
    /// Rows are read by whoever believes that it holds the lease.
    NoReadGuard,
    /// The broker is not told where the last fence must stand.
    NoFence,
    /// A take-over goes on from its predecessor's fence without writing its own.
    NoTakeOverFence,
    /// What the fence of a take-over lists is not settled.
    NoReadBack,
    /// A batch that is answered is settled after the next one.
    NextBatchBeforeDelete,
    /// A settlement deletes every row up to the highest id of its batch.
    DeleteUpToMaxId,
    /// A settlement deletes by row id, whatever event the row is.
    DeleteByRowId,
    /// A shard that is not verified publishes all the same.
    NoVerify,
    /// A batch without an answer is taken for refused.
    GuessNotStored,
    /// A batch without an answer is taken for stored.
    GuessStored,
    /// What got no answer is taken for what cannot arrive any more.
    NothingIsLate,
    /// Fences do not say what was settled, and a lower epoch is not looked at.
    NoLookForLostCommits,
    /// A batch is refused because of one shard's fence, and the other shard's events are taken for
    /// stored.
    RefusedForItself,
    /// After a batch without an answer only its first fence is read back; if it has moved, both
    /// shards' events are taken for stored, if not, for refused.
    OneFenceReadBack,
    /// Only the first fence of a batch says where the last one must stand.
    FirstFenceAlone,
    /// The broker looks at fences when a batch begins, not when its end commits it.
    FencesLookedAtEarly,
    /// Announced events are sent without the condition that the fence which announces them is the
    /// last.
    SinglyWithoutCondition,
    /// A fence that announces events, read back, is taken for proof that they are stored.
    AnnouncedIsProof,
    /// A relay that lacks answers to announced events looks up which are stored without shutting out
    /// the others first.
    SearchedTooEarly,
    /// A take-over does not carry on what its predecessor announced.
    TakeOverForgets,
    /// Announced events that are not all answered are taken for stored.
    UnansweredIsStored,
    /// The fence that shuts out what was announced does not say what that was.
    ClosingForgets,
    /// What is recorded is compared with the place of an announcing fence, not with what stands
    /// behind it.
    NotLookedBehind,
    /// A batch is sent behind a fence that announced events stand apart from, without renewing it.
    NotRenewed,
    /// A fence does not say under which generation of the stream it was written.
    NoGeneration,
}
