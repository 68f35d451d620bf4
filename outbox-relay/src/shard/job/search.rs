//! Looks up which of the events that a fence announced stand in the stream. It is done once a later
//! fence has shut out those that had not come: what is found then stays true.

use std::collections::HashMap;

use shared::shard::Shard;
use shared::subjects::fence;

use super::Turn;
use super::member::JobEnd;
use super::tools::Tools;
use crate::batch::repo::subjects_of;
use crate::shard::fence::{Announced, EventRef, StreamSeq};
use crate::shard::machine::Todo;
use crate::stream::error::BrokerError;
use crate::verify::scan::Scan;

/// Why a search came to no end.
enum Trouble {
    Broker(BrokerError),
    Database(sqlx::Error),
}

impl Turn<'_> {
    /// Searches for the shards that have to, one after the other: that a shard has to is rare. Once
    /// broker or database does not do its part, none of them is searched for in this turn.
    pub(super) async fn search_all(&mut self) {
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            let Todo::Search { announced, to } = member.state.machine.todo() else {
                continue;
            };
            if member.end.is_some() {
                continue;
            }
            if !member.state.machine.verified() {
                // The verification looks at each event itself.
                member.state.machine.found(Vec::new());
                continue;
            }
            let shard = member.state.shard;
            match search(self.tools, shard, &announced, to).await {
                Ok(placed) => self.members[index].state.machine.found(placed),
                Err(trouble) => return self.pause_searches(index, trouble),
            }
        }
    }

    fn pause_searches(&mut self, index: usize, trouble: Trouble) {
        match trouble {
            Trouble::Broker(error) => self.pause_for_broker(index, &error),
            Trouble::Database(error) => {
                let shard = self.members[index].state.shard;
                self.members[index].end = Some(self.database_away(shard, &error));
            }
        }
        for member in self.members.iter_mut() {
            if matches!(member.state.machine.todo(), Todo::Search { .. }) {
                // By the next turn its fence may have been evicted, or be another's.
                member.state.machine.search_failed();
                member.end.get_or_insert(JobEnd::Pause);
            }
        }
    }
}

/// Those of the events that still wait in the outbox and stand between the two fences.
async fn search(
    tools: &Tools,
    shard: Shard,
    announced: &Announced,
    to: StreamSeq,
) -> Result<Vec<(EventRef, StreamSeq)>, Trouble> {
    let waiting = subjects_of(&tools.pool, shard, &announced.events)
        .await
        .map_err(Trouble::Database)?;
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let mut subjects: Vec<String> = waiting.iter().map(|(_, subject)| subject.clone()).collect();
    // The later fence is the end.
    subjects.push(fence(shard));
    subjects.sort_unstable();
    subjects.dedup();
    let by_id: HashMap<_, EventRef> = waiting.iter().map(|(event, _)| (event.1, *event)).collect();
    let from = announced.behind.after(1);
    let mut scan = Scan::begin(&tools.broker, from, to, subjects)
        .await
        .map_err(Trouble::Broker)?;
    let mut placed = Vec::new();
    while let Some(stretch) = scan.next().await.map_err(Trouble::Broker)? {
        let between = |seq: StreamSeq| seq > announced.behind && seq < to;
        let found = stretch.events.iter().filter(|found| between(found.seq));
        placed.extend(found.filter_map(|found| Some((*by_id.get(&found.event_id)?, found.seq))));
    }
    tracing::info!(
        outbox.shard = %shard,
        events.announced = announced.events.len(),
        events.waiting = waiting.len(),
        events.found = placed.len(),
        "looked up which announced events are in the stream"
    );
    Ok(placed)
}
