//! Builds the services.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e::environment::{self, names};
use e2e::supervisor::ServiceBinaries;

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(environment::read("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    cargo
        .current_dir(environment::workspace_root())
        // Queries are checked against the committed data: no database is needed to compile.
        .env("SQLX_OFFLINE", "true")
        .env_remove("DATABASE_URL");
    cargo
}

/// Builds the two services, and says where they are.
pub(crate) fn services() -> Result<ServiceBinaries> {
    tracing::info!("building game-api and outbox-relay");
    let mut build = cargo();
    // The whole workspace, as in the tests: packages picked out would unify the features of their
    // dependencies differently, and everything would be compiled twice.
    build.args(["build", "--workspace", "--bins"]);
    run(&mut build)?;
    ServiceBinaries::in_dir(&binary_dir())
}

/// Builds game-api with the leaks that the gate must catch, as a program of its own, and says where
/// it is.
pub(crate) fn mutants() -> Result<PathBuf> {
    tracing::info!("building game-api-mutants");
    let mut build = cargo();
    // With --workspace the dependencies are those of the tests; only game-api is compiled again.
    build.args(["build", "--quiet", "--workspace"]);
    build.args(["--features", "game-api/mutants"]);
    build.args(["--bin", "game-api-mutants"]);
    run(&mut build)?;
    Ok(binary_dir().join("game-api-mutants"))
}

/// Builds the services and this program as they are released.
pub(crate) fn for_release() -> Result<()> {
    tracing::info!("building everything for release");
    run(cargo().args(["build", "--release", "--workspace", "--bins"]))
}

/// The services that the caller vouches for, or built now: as they are released unless the dev
/// profile will do.
pub(crate) fn services_of(dev: bool) -> Result<ServiceBinaries> {
    if let Some(dir) = environment::read(names::BINARIES) {
        return ServiceBinaries::in_dir(Path::new(&dir));
    }
    if dev {
        return services();
    }
    for_release()?;
    ServiceBinaries::in_dir(&release_dir())
}

/// Builds the relay and this program as they are released.
pub(crate) fn relay_for_release() -> Result<()> {
    tracing::info!("building outbox-relay and xtask for release");
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--bins"]);
    run(build.args(["--package", "outbox-relay", "--package", "xtask"]))
}

/// Builds the relay alone, as it is deployed unless the dev profile will do, and says where it is.
pub(crate) fn relay(dev: bool) -> Result<PathBuf> {
    if let Some(dir) = environment::read(names::BINARIES) {
        return Ok(Path::new(&dir).join("outbox-relay"));
    }
    let profile = if dev { "debug" } else { "release" };
    tracing::info!("building outbox-relay ({profile})");
    let mut build = cargo();
    build.arg("build");
    // With --workspace the dev build is the one of the tests.
    if dev {
        build.args(["--workspace", "--bins"]);
    } else {
        build.args(["--release", "--package", "outbox-relay"]);
    }
    run(&mut build)?;
    Ok(environment::target_dir().join(profile).join("outbox-relay"))
}

/// Where cargo puts the binaries: beside this one.
pub(crate) fn binary_dir() -> PathBuf {
    environment::target_dir().join("debug")
}

/// Where cargo puts what is built for release.
pub(crate) fn release_dir() -> PathBuf {
    environment::target_dir().join("release")
}

/// Runs a command with its output shown.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let status = command
        .status()
        .with_context(|| format!("{} cannot be run", words[0]))?;
    if !status.success() {
        bail!("`{}` failed: {status}", words.join(" "));
    }
    Ok(())
}
