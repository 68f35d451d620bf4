//! The thin shell around the shards' state machines: a turn of one or several shards, whose fences
//! and events travel in one atomic batch.

mod answer;
mod gather;
mod member;
mod refusals;
mod republish;
mod search;
mod send;
mod settle;
mod singly;
mod tools;

use futures_util::future::join_all;
use shared::shard::Shard;

pub use self::member::{Ahead, Company, JobEnd, Member, ShardState};
pub use self::tools::Tools;
use super::machine::{End, Remedy, Todo};
use crate::batch::room::Room;
use crate::error::{chain, database_sentence};
use crate::leases::repo::holds;
use crate::metrics::FailureKind;
use crate::shard::fence::{StoredFence, StreamSeq};
use crate::stream::broker::Broker;
use crate::stream::error::BrokerError;
use crate::stream::publisher::Publisher;
use crate::stream::repo::{is_whole, look_behind, read_fence};
use crate::stream::watcher::{Facts, declare};

/// Steps of one turn, of which one sends a shard's events and is answered: then other shards have
/// theirs.
const STEPS_A_TURN_MAX: usize = 8;

/// A turn of some shards.
pub struct Turn<'a> {
    /// The shards.
    pub members: &'a mut [Member],
    /// This worker's way to the broker.
    pub publisher: &'a mut Publisher,
    /// What it works with.
    pub tools: &'a Tools,
    /// What is known of the stream.
    pub facts: &'a Facts,
    /// What a batch may hold.
    pub room: Room,
}

impl Turn<'_> {
    /// Runs until every shard has nothing to do, has had its turn, or cannot go on. Gives whether
    /// events were sent.
    pub async fn run(mut self) -> bool {
        let mut sent = false;
        for _ in 0..STEPS_A_TURN_MAX {
            self.prepare().await;
            let (sendings, read_at) = self.gather().await;
            if sendings.is_empty() {
                if self.members.iter().all(|member| member.end.is_some()) {
                    return sent;
                }
                continue;
            }
            sent |= sendings.iter().any(|sending| !sending.rows.is_empty());
            let with_rows = sendings.iter().filter(|sending| !sending.rows.is_empty());
            let served = with_rows.map(|sending| (sending.member, sending.full));
            let served: Vec<(usize, bool)> = served.collect();
            self.send(sendings, read_at).await;
            self.settle_all(false).await;
            self.rest(&served);
        }
        for member in self.members.iter_mut() {
            // By the next turn it may be too late for it.
            member.state.machine.search_failed();
            member.end.get_or_insert(JobEnd::More);
        }
        sent
    }

    /// These have sent a batch. If it held all that waited, the next look at the outbox finds out for
    /// all shards at once whether more has come. If not, the others come first: the rows of all
    /// shards are side by side in the table, and are read and deleted while its pages are at hand.
    fn rest(&mut self, served: &[(usize, bool)]) {
        for (index, full) in served {
            let member = &mut self.members[*index];
            if member.end.is_some() || member.state.machine.todo() != Todo::Publish {
                continue;
            }
            member.end = Some(if *full { JobEnd::More } else { JobEnd::Idle });
        }
    }

    /// Reads fences and settles what they list, until every shard may send or has ended.
    async fn prepare(&mut self) {
        loop {
            self.stop_leavers();
            self.search_all().await;
            self.settle_all(true).await;
            self.stop_leavers();
            let broker = &self.tools.broker;
            let reads = self
                .members
                .iter()
                .enumerate()
                .filter(|(_, member)| member.end.is_none())
                .filter(|(_, member)| member.state.machine.todo() == Todo::ReadFence)
                .map(|(index, member)| {
                    let (shard, recorded) = (member.state.shard, member.state.machine.recorded());
                    async move { (index, read_back(broker, shard, recorded).await) }
                });
            let reads = join_all(reads).await;
            if reads.is_empty() {
                break;
            }
            for (index, found) in reads {
                let machine = &mut self.members[index].state.machine;
                match found {
                    Ok((found, false)) if machine.verified() => {
                        self.say_what_was_found(index, found.as_ref());
                        let end = self.end(index, End::StreamLost).await;
                        self.members[index].end = Some(end);
                    }
                    Ok((found, _)) => {
                        machine.fence_read(found.clone());
                        if let Todo::End(End::StreamLost | End::DatabaseWentBack) = machine.todo() {
                            self.say_what_was_found(index, found.as_ref());
                        }
                    }
                    Err(error) => self.pause_for_broker(index, &error),
                }
            }
        }
        for index in 0..self.members.len() {
            if self.members[index].end.is_none()
                && let Todo::End(end) = self.members[index].state.machine.todo()
            {
                let end = self.end(index, end).await;
                self.members[index].end = Some(end);
            }
        }
    }

    /// Who has to be handed over sends nothing any more.
    fn stop_leavers(&mut self) {
        for member in self.members.iter_mut() {
            let owes = matches!(member.state.machine.todo(), Todo::Settle(_) | Todo::End(_));
            if member.end.is_none() && member.stop.is_cancelled() && !owes {
                member.end = Some(JobEnd::Stopped);
            }
        }
    }

    /// The machine has come to an end. If the stream or the database went back, the generation goes
    /// up, so that no relay publishes before the shard is verified.
    async fn end(&self, index: usize, end: End) -> JobEnd {
        let (tools, state) = (self.tools, &self.members[index].state);
        let mut lost = end;
        if lost.remedy() == Remedy::AskForLease {
            let epoch = state.machine.epoch();
            match holds(&tools.pool, &tools.owner, state.shard, epoch).await {
                Ok(held) => lost = End::outrun(held),
                Err(error) => return self.database_away(state.shard, &error),
            }
        }
        if lost.remedy() == Remedy::LetGo {
            return JobEnd::Ended(lost);
        }
        let declared = declare(&tools.broker, &tools.pool, state.generation).await;
        tools.look_now.notify_one();
        match declared {
            Ok(first) => {
                if first {
                    tools.metrics.failed(FailureKind::StreamLost);
                    tracing::error!(
                        outbox.shard = %state.shard,
                        "{lost}; nothing is published before it is verified"
                    );
                }
                JobEnd::Ended(lost)
            }
            Err(error) => {
                tracing::warn!(outbox.shard = %state.shard, "{lost}, which could not be noted: {error}");
                JobEnd::Pause
            }
        }
    }

    /// Of a fence that shows a loss: where it stands in the stream, where its batch ends, and what the
    /// database has recorded.
    fn say_what_was_found(&self, index: usize, found: Option<&StoredFence>) {
        let state = &self.members[index].state;
        tracing::warn!(
            outbox.shard = %state.shard,
            fence.seq = found.map(|fence| fence.at.0),
            fence.end = found.map(|fence| fence.end().0),
            fence.epoch = found.map(|fence| fence.fence.epoch.0),
            lease.epoch = state.machine.epoch().0,
            recorded.seq = state.machine.recorded().0,
            "the shard's fence in the stream does not fit what the database has recorded"
        );
    }

    fn pause_for_broker(&mut self, index: usize, error: &BrokerError) {
        self.tools.metrics.failed(FailureKind::BrokerAway);
        tracing::warn!(outbox.shard = %self.members[index].state.shard, "{}", chain(error));
        self.members[index].end = Some(JobEnd::Pause);
    }

    fn database_away(&self, shard: Shard, error: &sqlx::Error) -> JobEnd {
        self.tools.metrics.failed(FailureKind::DatabaseAway);
        tracing::warn!(outbox.shard = %shard, "{}", database_sentence(error));
        JobEnd::Pause
    }
}

/// A shard's last fence, and whether all that its batch lists is behind it.
async fn read_back(
    broker: &Broker,
    shard: Shard,
    recorded: StreamSeq,
) -> Result<(Option<StoredFence>, bool), BrokerError> {
    let mut found = read_fence(broker, shard).await?;
    let whole = match &mut found {
        Some(fence) => {
            look_behind(broker, fence, recorded).await?;
            is_whole(broker, fence).await?
        }
        None => true,
    };
    Ok((found, whole))
}
