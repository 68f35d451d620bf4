//! The verification of the shards that one instance holds and may not publish.

use std::collections::{BTreeMap, HashMap, HashSet};

use shared::shard::Shard;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::entity::{Placed, Report, compare};
use super::repo::{
    Lives, Missing, Walk, count, lives, next_missing, pass, place, recorded, waiting,
};
use super::scan::{Scan, Stretch};
use crate::batch::repo::{Debt, settle};
use crate::batch::room::Room;
use crate::error::chain;
use crate::metrics::FailureKind;
use crate::shard::fence::{EventRef, StreamSeq};
use crate::shard::job::{JobEnd, Member, Tools, Turn};
use crate::stream::error::BrokerError;
use crate::stream::publisher::Publisher;
use crate::stream::repo::info;
use crate::stream::watcher::Facts;

/// Events that should stand somewhere in the stream and do not, kept in memory, at most: 16 MB.
const ABSENT_MAX: usize = 1_000_000;

/// Why a verification ended early. It begins anew later.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("a shard was taken over or has to be handed over")]
    Stopped,
    #[error(
        "more than {ABSENT_MAX} events are missing in the midst of the stream; restore it from a \
         backup, or delete it and let everything be published again"
    )]
    TooMuch,
}

/// A verification of some shards.
pub struct Verification<'a> {
    /// The shards; each holds its take-over fence.
    pub members: &'a mut [Member],
    /// The way to the broker.
    pub publisher: &'a mut Publisher,
    /// What it works with.
    pub tools: &'a Tools,
    /// What is known of the stream.
    pub facts: &'a Facts,
    /// What a batch may hold.
    pub room: Room,
    /// Cancelled when shards have to be handed over.
    pub stop: &'a CancellationToken,
}

/// What the comparison of the whole stream came to.
struct Compared {
    lives: Lives,
    to: StreamSeq,
    max_age_ms: i64,
    absent: BTreeMap<Shard, HashSet<Uuid>>,
}

impl Verification<'_> {
    /// Compares, publishes again, and lets the shards pass. Gives whether it came to its end.
    pub async fn run(mut self) -> JobEnd {
        let mut report = Report::default();
        let shards = self.members.len();
        tracing::warn!(shards, "verifying the stream against the database");
        let outcome = self.verify(&mut report).await;
        let changed = report.republished + report.settled + report.moved;
        self.tools.metrics.reconciled.inc_by(changed);
        tracing::warn!(
            shards,
            stream.scanned = report.scanned,
            events.republished = report.republished,
            events.settled = report.settled,
            events.moved = report.moved,
            events.unknown = report.unknown,
            "verification {}",
            if outcome.is_ok() {
                "passed"
            } else {
                "ended early"
            }
        );
        match outcome {
            Ok(()) => JobEnd::More,
            Err(Trouble::Stopped) => JobEnd::Stopped,
            Err(trouble) => {
                if matches!(trouble, Trouble::Database(_)) {
                    self.tools.metrics.failed(FailureKind::DatabaseAway);
                } else {
                    self.tools.metrics.failed(FailureKind::BrokerAway);
                }
                tracing::warn!("verification will be tried again: {}", chain(&trouble));
                JobEnd::Pause
            }
        }
    }

    async fn verify(&mut self, report: &mut Report) -> Result<(), Trouble> {
        let compared = self.compare(report).await?;
        for index in 0..self.members.len() {
            self.republish(index, &compared, report).await?;
            if index + 1 == self.members.len() {
                // Before the last one passes: whoever waits for that can read it then.
                count(&self.tools.pool, *report).await?;
            }
            self.pass(index).await?;
        }
        Ok(())
    }

    /// Reads the stream up to the last of this instance's own fences.
    async fn compare(&mut self, report: &mut Report) -> Result<Compared, Trouble> {
        let lives = lives(&self.tools.pool).await?;
        if lives.generation != self.facts.generation {
            return Err(Trouble::Stopped);
        }
        let info = info(&self.tools.broker).await?;
        let to = self
            .members
            .iter()
            .filter_map(|member| member.state.machine.holding())
            .max()
            .ok_or(Trouble::Stopped)?;
        let mut compared = Compared {
            lives,
            to,
            max_age_ms: i64::try_from(info.config.max_age.as_millis()).unwrap_or(i64::MAX),
            absent: BTreeMap::new(),
        };
        let first = StreamSeq(info.state.first_sequence);
        let mut scan = Scan::begin(&self.tools.broker, first, to, Vec::new()).await?;
        while let Some(stretch) = scan.next().await? {
            self.heed_stop()?;
            report.scanned += stretch.messages;
            self.tools.metrics.verify_scanned.inc_by(stretch.messages);
            self.compare_stretch(&stretch, &mut compared, report)
                .await?;
        }
        Ok(compared)
    }

    async fn compare_stretch(
        &mut self,
        stretch: &Stretch,
        compared: &mut Compared,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let shards: Vec<i16> = self
            .members
            .iter()
            .map(|member| member.state.shard.number())
            .collect();
        let mine = |placed: &&Placed| shards.contains(&placed.shard.number());
        let found: Vec<Placed> = stretch.events.iter().filter(mine).copied().collect();
        let known = recorded(
            &self.tools.pool,
            &shards,
            compared.lives,
            stretch.from,
            stretch.to,
        )
        .await?;
        let difference = compare(&found, &known);
        for absent in difference.absent {
            compared
                .absent
                .entry(absent.shard)
                .or_default()
                .insert(absent.event_id);
        }
        if compared.absent.values().map(HashSet::len).sum::<usize>() > ABSENT_MAX {
            return Err(Trouble::TooMuch);
        }
        let mut by_shard: BTreeMap<Shard, Vec<Placed>> = BTreeMap::new();
        for placed in difference.unrecorded {
            by_shard.entry(placed.shard).or_default().push(placed);
        }
        for (shard, unrecorded) in by_shard {
            self.record(shard, &unrecorded, compared, report).await?;
        }
        Ok(())
    }

    /// Events that stand in the stream and are not recorded there: they wait still, or are recorded
    /// elsewhere, or are not known at all.
    async fn record(
        &mut self,
        shard: Shard,
        unrecorded: &[Placed],
        compared: &mut Compared,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let tools = self.tools;
        let Some(state) = self
            .members
            .iter()
            .map(|member| &member.state)
            .find(|state| state.shard == shard)
        else {
            return Ok(());
        };
        let writer = state.writer(tools);
        let places: HashMap<Uuid, StreamSeq> = unrecorded
            .iter()
            .map(|placed| (placed.event_id, placed.seq))
            .collect();
        let ids: Vec<Uuid> = places.keys().copied().collect();
        let still: Vec<(EventRef, StreamSeq)> = waiting(&tools.pool, shard, &ids)
            .await?
            .into_iter()
            .map(|event| (event, places[&event.1]))
            .collect();
        let debt = Debt {
            writer,
            placed: still,
        };
        let settlement = settle(&tools.pool, &[debt]).await?;
        let all: Vec<(Uuid, StreamSeq)> = places.iter().map(|(id, seq)| (*id, *seq)).collect();
        let moved = place(&tools.pool, writer, &all)
            .await?
            .filter(|_| settlement.held.contains(&shard))
            .ok_or(Trouble::Stopped)?;
        if let Some(absent) = compared.absent.get_mut(&shard) {
            absent.retain(|id| !places.contains_key(id));
        }
        report.settled += settlement.rows;
        report.moved += moved;
        report.unknown += (unrecorded.len() as u64).saturating_sub(settlement.rows + moved);
        Ok(())
    }

    async fn republish(
        &mut self,
        index: usize,
        compared: &Compared,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let (tools, shard) = (self.tools, self.members[index].state.shard);
        let absent: Vec<Uuid> = compared
            .absent
            .get(&shard)
            .map(|ids| ids.iter().copied().collect())
            .unwrap_or_default();
        let missing = Missing {
            lives: compared.lives,
            compared_to: compared.to,
            absent: &absent,
            max_age_ms: compared.max_age_ms,
        };
        let mut walk = Walk {
            generation: -1,
            seq: 0,
        };
        loop {
            self.heed_stop()?;
            let limit = tools.config.batch_max;
            let (rows, next) = next_missing(&tools.pool, shard, missing, walk, limit).await?;
            let Some(next) = next else { return Ok(()) };
            walk = next;
            for rows in self.room.cut(&rows) {
                let turn = Turn {
                    members: std::slice::from_mut(&mut self.members[index]),
                    publisher: self.publisher,
                    tools,
                    facts: self.facts,
                    room: self.room,
                };
                if !turn.republish(rows).await {
                    return Err(Trouble::Broker(BrokerError::Away(
                        "a batch was not stored".to_owned(),
                    )));
                }
                report.republished += rows.len() as u64;
            }
        }
    }

    async fn pass(&mut self, index: usize) -> Result<(), Trouble> {
        let (tools, state) = (self.tools, &mut self.members[index].state);
        let at = state.machine.holding().ok_or(Trouble::Stopped)?;
        if !pass(&tools.pool, state.writer(tools), at).await? {
            return Err(Trouble::Stopped);
        }
        state.machine.pass_verification();
        Ok(())
    }

    fn heed_stop(&self) -> Result<(), Trouble> {
        if self.stop.is_cancelled() {
            return Err(Trouble::Stopped);
        }
        Ok(())
    }
}
