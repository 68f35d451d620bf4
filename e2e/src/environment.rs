//! The process's environment: the one place where the developer's tools read it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names of the variables that the tools read, each with what it means.
pub mod names {
    /// Directory of the Postgres binaries (or the path of `postgres` in it) to use.
    pub const POSTGRES_BIN: &str = "FOGLINE_POSTGRES_BIN";
    /// Path of the nats-server to use.
    pub const NATS_SERVER: &str = "FOGLINE_NATS_SERVER";
    /// Path of a Jaeger (v2) for the test that looks at a trace in one.
    pub const JAEGER: &str = "FOGLINE_JAEGER";
    /// A running Postgres to use instead of a private one.
    pub const DATABASE_URL: &str = "DATABASE_URL";
    /// A running nats-server to use instead of a private one.
    pub const NATS_URL: &str = "NATS_URL";
    /// Directory of service binaries that are known to be fresh; without it, tests build them first.
    pub const BINARIES: &str = "FOGLINE_BINARIES";
    /// `true` where a skipped check counts as a failed one.
    pub const CI: &str = "CI";
    /// `1` keeps the directory of a run, with its logs, for a look after a failure.
    pub const KEEP_RUN: &str = "FOGLINE_KEEP_RUN";
}

/// The value of a variable, or `None` where it is unset, empty or not UTF-8.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the tools' one reader of the environment; the services have their own in shared"
)]
pub fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a variable is set to `1` or `true`.
#[must_use]
pub fn is_on(name: &str) -> bool {
    read(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// The names of the variables that are set and begin with one of the prefixes.
#[must_use]
pub fn set_with_prefix(prefixes: &[&str]) -> Vec<OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| {
            let name = name.to_string_lossy();
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect()
}

/// The directories of `PATH`.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    read("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect())
}

/// The first executable of that name on `PATH`.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    search_path()
        .into_iter()
        .map(|dir| dir.join(program))
        .find(|path| is_executable(path))
}

/// Whether a path is a file that someone may execute.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The root of the workspace: where `Cargo.lock` stands.
#[must_use]
pub fn workspace_root() -> PathBuf {
    // Cargo says where it runs this from; else it is where it was compiled.
    let this_crate =
        read("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
    let this_crate = Path::new(&this_crate);
    this_crate.parent().unwrap_or(this_crate).to_path_buf()
}

/// Cargo's target directory: the one that this very program was built into.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| {
            exe.ancestors()
                .find(|dir| dir.join("CACHEDIR.TAG").is_file())
                .map(Path::to_path_buf)
        })
        .unwrap_or_else(|| workspace_root().join("target"))
}
