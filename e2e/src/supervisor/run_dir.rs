//! The directory of one run: under `target`, and gone when the run is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::environment::{self, names};

/// Prefixes of run directories, for the one that looks for leftovers.
const PREFIXES: [&str; 5] = ["play", "test", "e2e", "bench", "chaos"];
/// A server that was just killed may still be writing its last file when the directory goes.
const REMOVE_ATTEMPTS_MAX: u32 = 40;
/// Pause between those attempts.
const REMOVE_PAUSE: Duration = Duration::from_millis(50);

/// How many runs this process has made directories for.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep: bool,
}

impl RunDir {
    /// Makes `target/<prefix>-<pid>-<n>`, and removes what runs that no longer live left behind.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create(target: &Path, prefix: &str) -> Result<Self> {
        remove_leftovers(target);
        let nth = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = target.join(format!("{prefix}-{}-{nth}", std::process::id()));
        fs::create_dir_all(path.join("logs"))
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self {
            path,
            keep: environment::is_on(names::KEEP_RUN),
        })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the children's logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.keep {
            tracing::info!("kept {}", self.path.display());
            return;
        }
        for _ in 0..REMOVE_ATTEMPTS_MAX {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => thread::sleep(REMOVE_PAUSE),
            }
        }
        tracing::warn!("{} could not be removed", self.path.display());
    }
}

/// A run that was killed with -9 could not remove its directory; the next one does.
fn remove_leftovers(target: &Path) {
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if owner_of(&name.to_string_lossy())
            .is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process that a run directory belongs to.
fn owner_of(name: &str) -> Option<Pid> {
    let mut parts = name.split('-');
    PREFIXES.contains(&parts.next()?).then_some(())?;
    let pid = parts.next()?.parse().ok()?;
    parts.next()?.parse::<u32>().ok()?;
    parts.next().is_none().then_some(())?;
    Pid::from_raw(pid)
}

#[cfg(test)]
mod tests {
    use super::{RunDir, owner_of};

    #[test]
    fn takes_nothing_else_for_a_run_directory() {
        assert!(owner_of("play-123-0").is_some());
        for other in [
            "play",
            "play-x-0",
            "debug",
            "play-123",
            "play-123-0-1",
            "tools-123-0",
        ] {
            assert!(owner_of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn removes_its_own_and_leftovers_of_the_dead_but_not_of_the_living() {
        let target = tempfile::tempdir().expect("a directory");
        let dead = target.path().join("play-4194303-0");
        let living = target
            .path()
            .join(format!("play-{}-77", std::process::id()));
        std::fs::create_dir_all(&dead).expect("made");
        std::fs::create_dir_all(&living).expect("made");
        let run = RunDir::create(target.path(), "play").expect("made");
        let path = run.path().to_path_buf();
        assert!(path.is_dir() && living.is_dir() && !dead.exists());
        drop(run);
        assert!(!path.exists());
    }
}
