//! Builds what runs: the page first, since game-api embeds it, then the services.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use e2e::environment::{self, names};
use e2e::supervisor::ServiceBinaries;

/// What the page is built from, below `web/`.
const PAGE_SOURCES: [&str; 7] = [
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
];

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

/// Builds the page into `web/dist`, where Node is; game-api compiles without it too.
pub(crate) fn page() -> Result<()> {
    let web = web_dir();
    if !web.join("package.json").is_file() {
        tracing::info!("there is no web/: game-api serves a page that says so");
        return Ok(());
    }
    // An untouched page keeps its files, and game-api, which embeds them, is not compiled again.
    if is_page_fresh(&web) {
        return Ok(());
    }
    if environment::on_path("npm").is_none() {
        tracing::warn!(
            "npm is not on PATH, so the page is not built: install Node 20 or later for it"
        );
        return Ok(());
    }
    tracing::info!("building the page");
    npm_ci()?;
    run(npm().args(["run", "--silent", "build"]))
}

/// Whether `web/dist` is newer than everything that it is built from.
fn is_page_fresh(web: &Path) -> bool {
    let built = modified(&web.join("dist/index.html"));
    let sources = PAGE_SOURCES
        .iter()
        .filter_map(|source| newest(&web.join(source)))
        .max();
    built.is_some() && built > sources
}

/// When a file, or the newest file below a directory, was modified.
fn newest(path: &Path) -> Option<SystemTime> {
    if path.is_file() {
        return modified(path);
    }
    std::fs::read_dir(path)
        .ok()?
        .flatten()
        .filter_map(|entry| newest(&entry.path()))
        .max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// Installs exactly what `package-lock.json` names, unless it is installed already.
pub(crate) fn npm_ci() -> Result<()> {
    let web = web_dir();
    let installed = modified(&web.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(&web.join("package-lock.json")) {
        return Ok(());
    }
    run(npm().args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
}

/// npm, in `web/`.
pub(crate) fn npm() -> Command {
    let mut npm = Command::new("npm");
    // Nothing outside target/ and web/.
    npm.current_dir(web_dir()).env(
        "npm_config_cache",
        environment::target_dir().join("npm-cache"),
    );
    npm
}

/// Where the page's sources are.
pub(crate) fn web_dir() -> PathBuf {
    environment::workspace_root().join("web")
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
