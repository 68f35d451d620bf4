//! Builds and checks the page, in a copy of `web/` below the target directory: nothing is left
//! elsewhere. game-api embeds `target/web/dist`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use e2e::environment;

use crate::build::run;

/// What Node and the build put into the copy, or a developer's own into `web/`.
const MADE: [&str; 2] = ["node_modules", "dist"];

/// Builds the page where Node is and the sources are newer; game-api compiles without it too.
pub(crate) fn build() -> Result<()> {
    if !sources().join("package.json").is_file() {
        tracing::info!("there is no web/: game-api serves a page that says so");
        return Ok(());
    }
    // An untouched page keeps its files, and game-api, which embeds them, is not compiled again.
    let built = modified(&workshop().join("dist/index.html"));
    if built.is_some() && built > newest(&sources()) {
        return Ok(());
    }
    if environment::on_path("npm").is_none() {
        tracing::warn!(
            "npm is not on PATH, so the page is not built: install Node 20 or later for it"
        );
        return Ok(());
    }
    tracing::info!("building the page");
    install()?;
    run(npm().args(["run", "--silent", "build"]))
}

/// Brings the copy up to date, and installs exactly what `package-lock.json` names, unless it is
/// installed already.
pub(crate) fn install() -> Result<()> {
    let workshop = workshop();
    mirror(&sources(), &workshop)
        .with_context(|| format!("web/ cannot be copied to {}", workshop.display()))?;
    let installed = modified(&workshop.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(&sources().join("package-lock.json")) {
        return Ok(());
    }
    run(npm().args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
}

/// npm, in the copy.
pub(crate) fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(workshop()).env(
        "npm_config_cache",
        environment::target_dir().join("npm-cache"),
    );
    npm
}

/// Where the page's sources are.
pub(crate) fn sources() -> PathBuf {
    environment::workspace_root().join("web")
}

/// Where the page is built. Not where `CARGO_TARGET_DIR` says: game-api looks here.
pub(crate) fn workshop() -> PathBuf {
    environment::workspace_root().join("target/web")
}

/// Makes `copy` hold what `from` holds, what is [`MADE`] aside. Files that are alike stay untouched.
fn mirror(from: &Path, copy: &Path) -> std::io::Result<()> {
    fs::create_dir_all(copy)?;
    for entry in fs::read_dir(copy)? {
        let entry = entry?;
        let source = from.join(entry.file_name());
        if is_made(&entry.path()) || source.is_dir() == entry.path().is_dir() && source.exists() {
            continue;
        }
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    for entry in fs::read_dir(from)? {
        let (source, target) = (entry?.path(), copy);
        let Some(name) = source.file_name() else {
            continue;
        };
        let target = target.join(name);
        if is_made(&source) {
            continue;
        }
        if source.is_dir() {
            mirror(&source, &target)?;
        } else if fs::read(&target).ok() != Some(fs::read(&source)?) {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn is_made(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| MADE.iter().any(|made| name == *made))
}

/// When a file, or the newest file below a directory, was modified; what is [`MADE`] does not count.
fn newest(path: &Path) -> Option<SystemTime> {
    if path.is_file() {
        return modified(path);
    }
    fs::read_dir(path)
        .ok()?
        .flatten()
        .filter(|entry| !is_made(&entry.path()))
        .filter_map(|entry| newest(&entry.path()))
        .max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, read_to_string, write};

    use super::mirror;

    #[test]
    fn a_copy_follows_its_source_and_keeps_what_was_made() {
        let place = std::env::temp_dir().join(format!("fogline-mirror-{}", std::process::id()));
        let (from, copy) = (place.join("from"), place.join("copy"));
        create_dir_all(from.join("src")).expect("writable");
        create_dir_all(from.join("node_modules")).expect("writable");
        create_dir_all(copy.join("dist")).expect("writable");
        write(from.join("src/a.ts"), "new").expect("writable");
        write(from.join("node_modules/own"), "").expect("writable");
        write(copy.join("dist/index.html"), "built").expect("writable");
        write(copy.join("stale.ts"), "").expect("writable");
        mirror(&from, &copy).expect("copied");
        let text = |name: &str| read_to_string(copy.join(name)).ok();
        let found = (text("src/a.ts"), text("dist/index.html"), text("stale.ts"));
        let taken = copy.join("node_modules").exists();
        std::fs::remove_dir_all(&place).expect("removed");
        assert_eq!(found, (Some("new".into()), Some("built".into()), None));
        assert!(!taken);
    }
}
