//! One process of the operating system: started, signalled, waited for, and never left behind.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::watch;

use crate::environment;
use crate::provision::RunAs;

/// How long a dropped process may take to be gone after SIGKILL.
const DROP_DEADLINE: Duration = Duration::from_secs(3);

/// How to start a program.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set beside those of the caller.
    pub env: Vec<(String, String)>,
    /// Variables of the caller that must not reach it, by prefix.
    pub env_prefixes_removed: Vec<&'static str>,
    /// Its working directory.
    pub dir: PathBuf,
    /// The file that its output is appended to.
    pub log: PathBuf,
    /// Who it runs as.
    pub run_as: RunAs,
}

impl Launch {
    /// Starts the program in a process group of its own.
    ///
    /// # Errors
    /// It cannot be started, or its log cannot be written.
    pub fn start(&self) -> Result<Process> {
        let mut command = self.command()?;
        let name = self.program.display().to_string();
        let exit = Arc::new(Exit::default());
        let (exited, watcher) = watch::channel(None);
        let (started, pid) = mpsc::sync_channel(1);
        let record = Arc::clone(&exit);
        // The kernel's "kill me when my parent dies" means the thread that started the process: so
        // each has a thread that does nothing but wait for it.
        thread::Builder::new()
            .name("child".to_owned())
            .spawn(move || {
                let mut child = match command.spawn() {
                    Ok(child) => child,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                let _ = started.send(Ok(child.id()));
                let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1));
                record.set(status);
                exited.send_replace(Some(status));
            })
            .context("no thread for a child process")?;
        let pid = pid
            .recv()
            .map_err(|_| anyhow!("{name} was not started"))?
            .with_context(|| format!("{name} cannot be started"))?;
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("a strange process id")?;
        Ok(Process {
            killer: Killer { pid, exit },
            watcher,
        })
    }

    fn command(&self) -> Result<std::process::Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("{} cannot be written", self.log.display()))?;
        let mut command = self.run_as.command(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("a log file")?)
            .stderr(log);
        for name in environment::set_with_prefix(&self.env_prefixes_removed) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log_tail(&self, lines_max: usize) -> String {
        log_tail(&self.log, lines_max)
    }
}

/// The last lines of a log file, indented.
fn log_tail(log: &Path, lines_max: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(lines_max);
    lines[from..].iter().fold(String::new(), |mut tail, line| {
        let _ = writeln!(tail, "    | {line}");
        tail
    })
}

/// How a process ended, for those who wait without a runtime.
#[derive(Debug, Default)]
struct Exit {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Exit {
    fn set(&self, status: ExitStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        self.changed.notify_all();
    }

    fn get(&self) -> Option<ExitStatus> {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, deadline: Duration) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.changed
                .wait_timeout_while(status, deadline, |status| status.is_none()),
        );
    }
}

/// What it takes to kill a process from anywhere, without a runtime.
#[derive(Clone, Debug)]
pub(super) struct Killer {
    pid: Pid,
    exit: Arc<Exit>,
}

impl Killer {
    /// Sends a signal to the process, its group and all its descendants.
    fn signal_all(&self, signal: Signal) {
        if self.exit.get().is_some() {
            return;
        }
        let descendants = descendants(self.pid.as_raw_nonzero().get());
        let _ = kill_process_group(self.pid, signal);
        for pid in descendants.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills the process with all that it started, and waits until it is dead.
    pub(super) fn kill(&self) {
        if self.exit.get().is_none() {
            self.signal_all(Signal::KILL);
            self.exit.wait(DROP_DEADLINE);
        }
    }
}

/// A running process. Dropping it kills it and its group.
#[derive(Debug)]
pub struct Process {
    killer: Killer,
    watcher: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.killer.pid.as_raw_nonzero().get()
    }

    /// What it takes to kill it from anywhere.
    pub(super) fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Sends a signal to the process alone: a server tells its own children what they need to know.
    pub fn signal(&self, signal: Signal) {
        if self.killer.exit.get().is_none() {
            let _ = kill_process(self.killer.pid, signal);
        }
    }

    /// Sends a signal to the process, its group and all its descendants: to freeze a server whose
    /// workers lead groups of their own, as those of Postgres do.
    pub fn signal_all(&self, signal: Signal) {
        self.killer.signal_all(signal);
    }

    /// Waits until the process has ended. Cancel safe.
    pub async fn exited(&mut self) -> ExitStatus {
        match self.watcher.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // The waiting thread is gone, which it is only after the process.
            Err(_) => self.killer.exit.get().unwrap_or_default(),
        }
    }

    /// Asks the process to end, and kills it if it has not by the deadline.
    pub async fn end(mut self, ask: Signal, deadline: Duration) -> Ended {
        self.signal(ask);
        if let Ok(status) = tokio::time::timeout(deadline, self.exited()).await {
            return Ended {
                status,
                killed: false,
            };
        }
        self.signal_all(Signal::KILL);
        Ended {
            status: self.exited().await,
            killed: true,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.killer.kill();
    }
}

/// Asks a process to end that was started elsewhere.
pub fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// How a process that was asked to end did so.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Whether it had to be killed.
    pub killed: bool,
}

/// An exit status in words.
pub(super) struct InWords(pub(super) ExitStatus);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "ended with status {code}"),
            (None, Some(signal)) => write!(f, "was killed by signal {signal}"),
            (None, None) => write!(f, "ended"),
        }
    }
}

/// The processes below one, from the kernel's list; empty where there is no `/proc`.
fn descendants(root: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything; the parent is the second field after it.
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::{Launch, Process};
    use crate::provision::RunAs;
    use rustix::process::{Pid, Signal, test_kill_process};
    use std::time::Duration;

    fn shell(dir: &std::path::Path, script: &str) -> Process {
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            env_prefixes_removed: vec![],
            dir: dir.to_path_buf(),
            log: dir.join("log"),
            run_as: RunAs::Caller,
        };
        launch.start().expect("started")
    }

    #[tokio::test]
    async fn reports_the_status_and_keeps_the_output() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = shell(dir.path(), "echo $GREETING; exit 3");
        assert_eq!(process.exited().await.code(), Some(3));
        assert_eq!(super::log_tail(&dir.path().join("log"), 5), "    | hello\n");
    }

    #[tokio::test]
    async fn kills_what_does_not_end_when_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let process = shell(
            dir.path(),
            "trap '' TERM; echo up; while :; do sleep 0.05; done",
        );
        let log = dir.path().join("log");
        while super::log_tail(&log, 1).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(
            process
                .end(Signal::TERM, Duration::from_millis(200))
                .await
                .killed
        );
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let process = shell(dir.path(), "sleep 600 & echo $!; wait");
        let log = dir.path().join("log");
        let child = loop {
            if let Some(pid) = super::log_tail(&log, 1)
                .trim_start_matches([' ', '|'])
                .trim()
                .parse()
                .ok()
                .and_then(Pid::from_raw)
            {
                break pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(test_kill_process(child).is_ok());
        drop(process);
        // Gone, or a zombie that waits for whoever adopted it.
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()));
            stat.is_ok_and(|stat| !stat.contains(") Z ")) && test_kill_process(child).is_ok()
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while lives() {
            assert!(std::time::Instant::now() < deadline, "still alive");
            std::thread::yield_now();
        }
    }
}
