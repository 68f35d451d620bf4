//! The two services, as this stack starts them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::child::ChildSpec;
use super::nats::NatsAddresses;
use super::ports::loopback;
use super::postgres::{PostgresAddresses, RolePasswords};
use super::process::Launch;
use super::readiness::Readiness;
use super::run_dir::RunDir;
use crate::provision::RunAs;

/// A service connects to Postgres and NATS, and answers.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// A service drains within 20 s by itself.
const END_DEADLINE: Duration = Duration::from_secs(25);

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
    pub fn in_dir(dir: &Path) -> Result<Self> {
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

    /// Applies the migrations, and makes the services' roles where their passwords are given.
    ///
    /// # Errors
    /// With what `game-api migrate` said, where it failed.
    pub fn migrate(&self, owner_url: &str, roles: Option<&RolePasswords>) -> Result<()> {
        let mut migrate = Command::new(&self.game_api);
        migrate.arg("migrate").env("DATABASE_URL", owner_url);
        if let Some(roles) = roles {
            migrate
                .arg("--roles")
                .env("FOGLINE_API_PASSWORD", &roles.api)
                .env("FOGLINE_RELAY_PASSWORD", &roles.relay);
        }
        let output = migrate.output().context("game-api migrate cannot be run")?;
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

/// A service as it is started: what is its own, and what it shares with the others of a stack.
pub(super) struct Service<'a> {
    /// Its name in messages, such as `relay 2`.
    pub(super) name: String,
    pub(super) program: &'a Path,
    pub(super) env: &'a [(&'a str, &'a str)],
    pub(super) ops_port: u16,
    pub(super) run_dir: &'a RunDir,
    /// Further variables.
    pub(super) extra_env: &'a [(String, String)],
}

impl Service<'_> {
    pub(super) fn spec(self) -> ChildSpec {
        let own = self
            .env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let ops = ("OPS_ADDR".to_owned(), loopback(self.ops_port).to_string());
        let dashed = self.name.replace(' ', "-");
        let instance = (
            "OTEL_RESOURCE_ATTRIBUTES".to_owned(),
            format!("service.instance.id={dashed}"),
        );
        ChildSpec {
            launch: Launch {
                program: self.program.to_path_buf(),
                args: vec!["run".to_owned()],
                env: own
                    .chain([ops, instance])
                    .chain(self.extra_env.iter().cloned())
                    .collect(),
                env_prefixes_removed: vec![],
                dir: self.run_dir.path().to_path_buf(),
                log: self.run_dir.logs().join(format!("{dashed}.log")),
                run_as: RunAs::Caller,
            },
            name: self.name,
            readiness: Readiness::Readyz(loopback(self.ops_port)),
            ready_deadline: READY_DEADLINE,
            end_signal: Signal::TERM,
            end_deadline: END_DEADLINE,
        }
    }
}

/// How this stack starts its services.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    pub(super) binaries: &'a ServiceBinaries,
    pub(super) run_dir: &'a RunDir,
    pub(super) postgres: &'a PostgresAddresses,
    pub(super) nats: &'a NatsAddresses,
    /// `FOGLINE_KEYS`: the same on every gateway.
    pub(super) keys: String,
    /// `ALLOWED_ORIGINS`.
    pub(super) allowed_origins: String,
    /// Further variables for all of them.
    pub(super) extra_env: &'a [(String, String)],
}

impl Recipe<'_> {
    pub(super) fn gateway(&self, nth: usize, port: u16, ops_port: u16) -> ChildSpec {
        let env = [
            ("DATABASE_URL", self.postgres.api_url.as_str()),
            ("NATS_URL", &self.nats.gateway_url),
            ("LISTEN_ADDR", &loopback(port).to_string()),
            ("FOGLINE_KEYS", &self.keys),
            ("ALLOWED_ORIGINS", &self.allowed_origins),
        ];
        self.service(
            format!("gateway {}", nth + 1),
            &self.binaries.game_api,
            &env,
            ops_port,
        )
    }

    pub(super) fn relay(&self, nth: usize, ops_port: u16) -> ChildSpec {
        let mut env = vec![
            ("DATABASE_URL", self.postgres.relay_url.as_str()),
            ("NATS_URL", self.nats.relay_url.as_str()),
        ];
        env.extend(self.nats.monitoring_env());
        self.service(
            format!("relay {}", nth + 1),
            &self.binaries.outbox_relay,
            &env,
            ops_port,
        )
    }

    fn service(
        &self,
        name: String,
        program: &Path,
        env: &[(&str, &str)],
        ops_port: u16,
    ) -> ChildSpec {
        let service = Service {
            name,
            program,
            env,
            ops_port,
            run_dir: self.run_dir,
            extra_env: self.extra_env,
        };
        service.spec()
    }
}
