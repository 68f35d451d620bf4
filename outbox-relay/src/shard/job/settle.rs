//! Takes out of the outbox what stands in the stream.

use shared::shard::Shard;

use super::Turn;
use super::member::JobEnd;
use crate::batch::repo::{Debt, settle};
use crate::shard::fence::Owed;
use crate::shard::machine::{Machine, Todo};
use crate::verify::repo::place_fence;

impl Turn<'_> {
    /// Settles what stands in the stream, for all shards in one statement. Also for those whose
    /// turn has ended: what was stored is settled before the shard is given back.
    pub(super) async fn settle_all(&mut self, read_back: bool) {
        let (owing, unproven): (Vec<_>, Vec<_>) = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.end != Some(JobEnd::Pause))
            .filter_map(|(index, member)| match member.state.machine.todo() {
                Todo::Settle(owed) => Some((index, owed)),
                _ => None,
            })
            .partition(|(index, _)| is_proof(&self.members[*index].state.machine));
        for (index, _) in unproven {
            self.members[index].state.machine.settled(true);
        }
        if owing.is_empty() {
            return;
        }
        match self.settle(&owing, read_back).await {
            Ok(held) => {
                for (index, _) in owing {
                    let state = &mut self.members[index].state;
                    state.machine.settled(held.contains(&state.shard));
                }
            }
            Err(error) => {
                for (index, _) in owing {
                    let shard = self.members[index].state.shard;
                    self.members[index].end = Some(self.database_away(shard, &error));
                }
            }
        }
    }

    /// During a verification the own fence may also list events that were published again: those
    /// have a new place.
    async fn settle(&self, owing: &[(usize, Owed)], read_back: bool) -> sqlx::Result<Vec<Shard>> {
        let tools = self.tools;
        let debts: Vec<Debt<'_>> = owing
            .iter()
            .map(|(index, owed)| Debt {
                writer: self.members[*index].state.writer(tools),
                placed: owed.placed.clone(),
            })
            .collect();
        let settlement = settle(&tools.pool, &debts).await?;
        tools.metrics.published.inc_by(settlement.rows);
        if read_back {
            tools.metrics.duplicates_prevented.inc_by(settlement.rows);
        }
        for (index, owed) in owing {
            let state = &self.members[*index].state;
            if !state.machine.verified() && settlement.held.contains(&state.shard) {
                place_fence(&tools.pool, state.writer(tools), owed).await?;
            }
        }
        Ok(settlement.held)
    }
}

/// Whether the events that the machine's fence lists are in the stream because the fence is. Not if
/// it was written before a loss: the stream may have kept the fence and lost what stood behind it,
/// and the verification looks at each event itself.
fn is_proof(machine: &Machine) -> bool {
    machine.verified() || machine.owes_its_own()
}
