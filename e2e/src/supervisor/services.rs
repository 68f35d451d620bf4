//! The two services, as this stack starts them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::child::ChildSpec;
use super::ports::loopback;
use super::process::Launch;
use super::readiness::Readiness;
use super::run_dir::RunDir;
use crate::provision::RunAs;

/// A service connects to Postgres and NATS, and answers.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// A gateway tells its clients to reconnect, with a spread, before it goes.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// The services' binaries.
#[derive(Clone, Debug)]
pub struct ServiceBinaries {
    /// game-api.
    pub game_api: PathBuf,
    /// outbox-relay.
    pub outbox_relay: PathBuf,
}

impl ServiceBinaries {
    /// The binaries that cargo built into a directory.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn in_dir(dir: &std::path::Path) -> Result<Self> {
        let [game_api, outbox_relay] = ["game-api", "outbox-relay"].map(|name| dir.join(name));
        for program in [&game_api, &outbox_relay] {
            if !program.is_file() {
                bail!(
                    "{} is not built: cargo build --package game-api --package outbox-relay",
                    program.display()
                );
            }
        }
        Ok(Self {
            game_api,
            outbox_relay,
        })
    }

    /// Applies the migrations.
    ///
    /// # Errors
    /// With what `game-api migrate` said, where it failed.
    pub fn migrate(&self, database_url: &str) -> Result<()> {
        let output = Command::new(&self.game_api)
            .arg("migrate")
            .env("DATABASE_URL", database_url)
            .output()
            .context("game-api migrate cannot be run")?;
        if !output.status.success() {
            bail!(
                "game-api migrate: {}\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// What all services of a stack share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) database_url: String,
    pub(super) keys: String,
    pub(super) allowed_origins: String,
    pub(super) extra_env: Vec<(String, String)>,
}

pub(super) fn gateway(
    nth: usize,
    binaries: &ServiceBinaries,
    run_dir: &RunDir,
    common: &Common,
    nats_url: &str,
    (port, ops_port): (u16, u16),
) -> ChildSpec {
    let env = vec![
        ("NATS_URL".to_owned(), nats_url.to_owned()),
        ("LISTEN_ADDR".to_owned(), loopback(port).to_string()),
        ("FOGLINE_KEYS".to_owned(), common.keys.clone()),
        ("ALLOWED_ORIGINS".to_owned(), common.allowed_origins.clone()),
    ];
    service(
        format!("gateway {}", nth + 1),
        binaries.game_api.clone(),
        run_dir,
        common,
        env,
        ops_port,
    )
}

pub(super) fn relay(
    nth: usize,
    binaries: &ServiceBinaries,
    run_dir: &RunDir,
    common: &Common,
    nats_url: &str,
    ops_port: u16,
) -> ChildSpec {
    let env = vec![("NATS_URL".to_owned(), nats_url.to_owned())];
    service(
        format!("relay {}", nth + 1),
        binaries.outbox_relay.clone(),
        run_dir,
        common,
        env,
        ops_port,
    )
}

fn service(
    name: String,
    program: PathBuf,
    run_dir: &RunDir,
    common: &Common,
    mut env: Vec<(String, String)>,
    ops_port: u16,
) -> ChildSpec {
    env.push(("DATABASE_URL".to_owned(), common.database_url.clone()));
    env.push(("OPS_ADDR".to_owned(), loopback(ops_port).to_string()));
    env.extend(common.extra_env.iter().cloned());
    let log = run_dir
        .logs()
        .join(format!("{}.log", name.replace(' ', "-")));
    ChildSpec {
        launch: Launch {
            program,
            args: vec!["run".to_owned()],
            env,
            env_prefixes_removed: vec![],
            dir: run_dir.path().to_path_buf(),
            log,
            run_as: RunAs::Caller,
        },
        name,
        readiness: Readiness::Readyz(loopback(ops_port)),
        ready_deadline: READY_DEADLINE,
        end_signal: Signal::TERM,
        end_deadline: END_DEADLINE,
    }
}
