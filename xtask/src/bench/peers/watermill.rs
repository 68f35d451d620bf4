//! Watermill: its Postgres subscriber and its JetStream publisher, in a program of a few lines.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use e2e::environment;

use super::peer::{Peer, Place, Start};
use crate::bench::event::{FILLING_BYTES, KEYS, TYPE};
use crate::build;

/// How it is tuned. Both have the queue of `watermill-sql` that deletes what was published: the other
/// schema, which keeps all and counts an offset on, waits for every older transaction to end, and was
/// slower with one lane, in both.
struct Tuning {
    name: &'static str,
    /// Topics that events are spread over by key, each with a table and a subscription. A subscription
    /// hands out a message only after the one before it was acknowledged, so more of them are the way
    /// to more publications in flight without losing the order of a key. A power of two.
    lanes: u32,
    /// Rows that are read, and deleted, at once.
    batch: u32,
    /// Pause after nothing was found.
    poll: &'static str,
}

/// For latency: one lane, since each polls, with the default batch and the shortest pause in use.
const FOR_LATENCY: Tuning = Tuning {
    name: "Watermill, one lane",
    lanes: 1,
    batch: 100,
    poll: "1ms",
};

/// For drain: from one lane to 32 each doubling was faster, the last by a twentieth. A larger batch
/// has fewer transactions, and a longer pause spares what many idle lanes would take.
const FOR_DRAIN: Tuning = Tuning {
    name: "Watermill, 32 lanes",
    lanes: 32,
    batch: 500,
    poll: "5ms",
};

/// The program, built, and how it is tuned.
pub(super) struct Watermill {
    program: PathBuf,
    tuning: Tuning,
}

impl Watermill {
    /// Builds it; gives it in both tunings.
    ///
    /// # Errors
    /// There is no Go, or it cannot build it.
    pub(super) fn build() -> Result<[Self; 2]> {
        let go = environment::on_path("go").context("there is no `go` on the PATH")?;
        let program = environment::target_dir().join("peers/watermill");
        tracing::info!("building Watermill");
        let mut build = Command::new(go);
        build.current_dir(environment::workspace_root().join("xtask/peers/watermill"));
        build::run(build.args(["build", "-o"]).arg(&program).arg("."))?;
        Ok([FOR_LATENCY, FOR_DRAIN].map(|tuning| Self {
            program: program.clone(),
            tuning,
        }))
    }
}

impl Peer for Watermill {
    fn name(&self) -> &'static str {
        self.tuning.name
    }

    fn reads_wal(&self) -> bool {
        false
    }

    fn producer(&self) -> String {
        let lanes = self.tuning.lanes;
        // A statement for each lane: one that names its table at run time would be planned each time.
        let inserts = (0..lanes).fold(String::new(), |mut inserts, lane| {
            let _ = write!(
                inserts,
                "if lane = {lane} then
                     insert into watermill_events_{lane} (uuid, payload, metadata)
                     values (new_event_id, payload::json,
                             json_build_object('subject', subject, 'key', key, 'type', type));
                 end if;
                 "
            );
            inserts
        });
        format!(
            "create or replace function outbox_append(
                 key text, subject text, type text, payload jsonb, carrier jsonb default '{{}}')
                 returns uuid language plpgsql volatile
             as $$
             declare
                 new_event_id uuid := gen_random_uuid();
                 lane integer := hashtext(key) & {};
             begin
                 {inserts}
                 return new_event_id;
             end
             $$",
            lanes - 1
        )
    }

    fn backlog(&self, events: u64) -> String {
        let lanes = self.tuning.lanes;
        (0..lanes).fold(String::new(), |mut inserts, lane| {
            let _ = write!(
                inserts,
                "insert into watermill_events_{lane} (uuid, payload, metadata)
                 select gen_random_uuid(),
                        json_build_object('n', n, 'filling', repeat('x', {FILLING_BYTES})),
                        json_build_object('subject', 'events.' || key, 'key', key, 'type', '{TYPE}')
                 from (select n, 'bench.' || n % {KEYS} as key
                       from generate_series(0, {events} - 1) n) event
                 where hashtext(key) & {} = {lane}
                 order by n;
                 ",
                lanes - 1
            );
            inserts
        })
    }

    fn start(&self, place: &Place) -> Result<Start> {
        let Tuning {
            lanes, batch, poll, ..
        } = self.tuning;
        let env = [
            ("DATABASE_URL", place.postgres_url.clone()),
            ("NATS_URL", place.nats_url.clone()),
            ("OPS_ADDR", place.ops.to_string()),
            ("LANES", lanes.to_string()),
            ("BATCH", batch.to_string()),
            ("POLL", poll.to_owned()),
        ];
        Ok(Start {
            program: self.program.clone(),
            args: vec![],
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            ready_path: "/readyz",
        })
    }
}
