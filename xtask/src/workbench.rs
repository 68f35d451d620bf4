//! What checks run on: a runtime, private servers that are started when a check first needs them,
//! and commands that end when the developer says so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::environment::{self, names};
use e2e::provision::{NatsServer, PostgresBinaries};
use e2e::supervisor::{Durability, Interrupts, Ports, Postgres, RunDir};
use tokio::process::Command;

/// How long an interrupted command may take to end.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// The workbench of one run of checks.
#[derive(Debug)]
pub(crate) struct Workbench {
    interrupts: Interrupts,
    postgres: Option<Postgres>,
    nats_server: Option<NatsServer>,
    postgres_binaries: Option<PostgresBinaries>,
    // Last: its files go when the servers are gone.
    run_dir: RunDir,
}

impl Workbench {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupts: Interrupts::listen()?,
            postgres: None,
            nats_server: None,
            postgres_binaries: None,
            run_dir: RunDir::create(&environment::target_dir(), "test")?,
        })
    }

    /// A directory for this run's own files.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let dir = self.run_dir.path().join(name);
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("{} cannot be made", dir.display()))?;
        Ok(dir)
    }

    /// Runs a command with its output shown; ends it when this program is asked to end.
    pub(crate) async fn run(&mut self, command: std::process::Command) -> Result<()> {
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be run", words[0]))?;
        let status = tokio::select! {
            status = child.wait() => status.context("a command's end")?,
            () = self.interrupts.next() => {
                // Ctrl-C reached it too; a signal to this program alone did not.
                if let Some(pid) = child.id() {
                    e2e::supervisor::terminate(pid);
                }
                let _ = tokio::time::timeout(END_DEADLINE, child.wait()).await;
                bail!("interrupted");
            }
        };
        if !status.success() {
            bail!("`{}` failed: {status}", words.join(" "));
        }
        Ok(())
    }

    /// The owner's URL of a private Postgres, which is started now if it does not run yet.
    pub(crate) async fn database_url(&mut self) -> Result<String> {
        if let Some(postgres) = &self.postgres {
            return Ok(postgres.addresses.owner_url.clone());
        }
        let binaries = self.postgres_binaries()?.clone();
        let port = Ports::free(0, 0)?.postgres;
        let postgres = Postgres::start(&binaries, &self.run_dir, port, Durability::Kill).await?;
        let url = postgres.addresses.owner_url.clone();
        self.postgres = Some(postgres);
        Ok(url)
    }

    /// What tests need to find their servers without looking for them again.
    pub(crate) fn server_variables(&mut self) -> Result<Vec<(&'static str, PathBuf)>> {
        let bin_dir = self.postgres_binaries()?.bin_dir.clone();
        if self.nats_server.is_none() {
            self.nats_server = Some(NatsServer::provision(&tools_dir())?);
        }
        let nats_server = self
            .nats_server
            .as_ref()
            .context("no nats-server")?
            .program
            .clone();
        Ok(vec![
            (names::POSTGRES_BIN, bin_dir),
            (names::NATS_SERVER, nats_server),
        ])
    }

    fn postgres_binaries(&mut self) -> Result<&PostgresBinaries> {
        if self.postgres_binaries.is_none() {
            self.postgres_binaries = Some(PostgresBinaries::provision(&tools_dir())?);
        }
        self.postgres_binaries.as_ref().context("no Postgres")
    }

    /// Ends the servers in order.
    pub(crate) async fn end(self) {
        if let Some(postgres) = &self.postgres {
            postgres.child.end().await;
        }
    }
}

/// Where provisioned tools are kept.
pub(crate) fn tools_dir() -> PathBuf {
    environment::target_dir().join("tools")
}
