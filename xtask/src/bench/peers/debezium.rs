//! Debezium Server as it is distributed: Postgres connector, outbox event router, JetStream sink.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use e2e::environment;
use e2e::provision::Version;
use sqlx::ConnectOptions as _;

use super::peer::{Peer, Place, Start};
use crate::bench::event::{FILLING_BYTES, KEYS, TYPE};
use crate::build;

/// What Maven unpacks: the release whose distribution is to be had whole.
const RUNNER: &str = "debezium-server/debezium-server-dist-3.6.0.Final-runner.jar";

/// What it is compiled for.
const JAVA_MIN: Version = Version::new(21, 0);

/// Twice as much, and another collector, made neither quicker; without a limit it takes a quarter of
/// the machine.
const HEAP: &str = "-Xmx512m";

/// What does not depend on where it runs, with the reasons.
const SETTINGS: &str = r"
# The chain: outbox table, write-ahead log, event router, JetStream.
debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector
debezium.source.plugin.name=pgoutput
debezium.source.topic.prefix=bench
debezium.source.table.include.list=public.outboxevent
debezium.source.publication.autocreate.mode=filtered
debezium.source.offset.storage.file.filename=offsets.dat
debezium.transforms=outbox
debezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter
debezium.transforms.outbox.route.topic.replacement=events.\\${routedByValue}
debezium.sink.type=nats-jetstream
debezium.sink.nats-jetstream.create-stream=false
# Nothing waits when it starts, and a snapshot is not what is measured.
debezium.source.snapshot.mode=no_data
# The payload goes through as text: it is neither parsed nor wrapped in a schema.
debezium.format.key=simplestring
debezium.format.value=simplestring
debezium.format.header=json
debezium.format.header.schemas.enable=false
# A whole batch is published before its acknowledgements are awaited.
debezium.sink.nats-jetstream.async.enabled=true
# The default, half a second, is what an event would wait for. Batches stay at the default of 2,048
# events, queues at 8,192: four times as much made neither quicker.
debezium.source.poll.interval.ms=1
# Its log is read by people, where it fails.
quarkus.log.console.json.enabled=false
";

/// Debezium Server, unpacked.
pub(super) struct Debezium {
    java: PathBuf,
    runner: PathBuf,
}

impl Debezium {
    /// Downloads and unpacks it, where that has not been done.
    ///
    /// # Errors
    /// There is no Java or no Maven, or Maven cannot download it.
    pub(super) fn assemble() -> Result<Self> {
        let java = java()?;
        let home = environment::target_dir().join("peers/debezium");
        let runner = home.join(RUNNER);
        let maven = environment::on_path("mvn").context("there is no `mvn` on the PATH")?;
        tracing::info!("unpacking Debezium Server");
        let mut unpack = Command::new(maven);
        unpack.current_dir(environment::workspace_root().join("xtask/peers/debezium"));
        unpack.args(["--quiet", "--batch-mode", "dependency:unpack"]);
        build::run(unpack.arg(format!("-DunpackTo={}", home.display())))?;
        Ok(Self { java, runner })
    }
}

/// The Java of `JAVA_HOME` or of the `PATH`, as Debezium's own start script has it.
fn java() -> Result<PathBuf> {
    let java = match environment::read("JAVA_HOME") {
        Some(home) => PathBuf::from(home).join("bin/java"),
        None => environment::on_path("java").context("there is no `java` on the PATH")?,
    };
    let output = Command::new(&java).arg("--version").output();
    let output = output.with_context(|| format!("{} cannot be run", java.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match Version::find_in(&said) {
        Some(version) if version >= JAVA_MIN => Ok(java),
        _ => bail!("it needs Java {JAVA_MIN} or newer in JAVA_HOME or on the PATH"),
    }
}

impl Peer for Debezium {
    fn name(&self) -> &'static str {
        "Debezium Server"
    }

    fn reads_wal(&self) -> bool {
        true
    }

    fn producer(&self) -> String {
        // The columns that the event router expects. Rows stay: to delete them would be more to decode.
        "create table outboxevent (
             id uuid primary key, aggregatetype varchar(255) not null,
             aggregateid varchar(255) not null, type varchar(255) not null, payload jsonb);
         create or replace function outbox_append(
             key text, subject text, type text, payload jsonb, carrier jsonb default '{}')
             returns uuid language plpgsql volatile
         as $$
         declare
             new_event_id uuid := gen_random_uuid();
         begin
             insert into outboxevent (id, aggregatetype, aggregateid, type, payload)
             values (new_event_id, key, key, type, payload);
             return new_event_id;
         end
         $$"
        .to_owned()
    }

    fn backlog(&self, events: u64) -> String {
        format!(
            "insert into outboxevent (id, aggregatetype, aggregateid, type, payload)
             select gen_random_uuid(), 'bench.' || n % {KEYS}, 'bench.' || n % {KEYS}, '{TYPE}',
                    jsonb_build_object('n', n, 'filling', repeat('x', {FILLING_BYTES}))
             from generate_series(0, {events} - 1) n order by n"
        )
    }

    fn start(&self, place: &Place) -> Result<Start> {
        let config = place.dir.join("config");
        fs::create_dir_all(&config).context("a directory for Debezium's configuration")?;
        let text = SETTINGS.to_owned() + &addresses(place)?;
        fs::write(config.join("application.properties"), text)
            .context("Debezium's configuration cannot be written")?;
        let lib = self.runner.with_file_name("lib");
        // For what Quarkus does with threads on a Java of today.
        let mut args = vec!["--add-opens=java.base/java.lang=ALL-UNNAMED".to_owned()];
        args.extend([
            HEAP.to_owned(),
            "-cp".to_owned(),
            format!("{}:{}/*", self.runner.display(), lib.display()),
            "io.debezium.server.Main".to_owned(),
        ]);
        Ok(Start {
            program: self.java.clone(),
            args,
            env: vec![],
            ready_path: "/q/health/ready",
        })
    }
}

/// The settings that name servers and ports.
fn addresses(place: &Place) -> Result<String> {
    let postgres: sqlx::postgres::PgConnectOptions = place.postgres_url.parse()?;
    let postgres = postgres.to_url_lossy();
    let nats: async_nats::ServerAddr = place.nats_url.parse()?;
    let mut text = String::new();
    for (name, value) in [
        (
            "source.database.hostname",
            postgres.host_str().unwrap_or_default().to_owned(),
        ),
        (
            "source.database.port",
            postgres.port().unwrap_or(5432).to_string(),
        ),
        ("source.database.user", postgres.username().to_owned()),
        (
            "source.database.password",
            postgres.password().unwrap_or_default().to_owned(),
        ),
        (
            "source.database.dbname",
            postgres.path().trim_start_matches('/').to_owned(),
        ),
        (
            "sink.nats-jetstream.url",
            format!("nats://{}:{}", nats.host(), nats.port()),
        ),
        (
            "sink.nats-jetstream.auth.user",
            nats.username().unwrap_or_default().to_owned(),
        ),
        (
            "sink.nats-jetstream.auth.password",
            nats.password().unwrap_or_default().to_owned(),
        ),
    ] {
        let _ = writeln!(text, "debezium.{name}={value}");
    }
    let _ = writeln!(text, "quarkus.http.host={}", place.ops.ip());
    let _ = writeln!(text, "quarkus.http.port={}", place.ops.port());
    Ok(text)
}
