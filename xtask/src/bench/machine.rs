//! What the machine is, and what processes have used of it, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Clock ticks a second in `/proc`: a constant of Linux's interface to user space (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Writes of which the median is taken.
const FSYNCS: usize = 101;

/// The machine's shape: figures mean nothing without it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory_mib: u64,
}

impl Machine {
    /// This machine.
    pub(crate) fn here() -> Self {
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            memory_mib: kib(&memory) / 1024,
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cores ({}), {} MiB",
            self.cores, self.processor, self.memory_mib
        )
    }
}

/// The processor time, user and system, that a process with all its descendants has used, the
/// ended and awaited ones included.
pub(crate) fn cpu_of_tree(root: i32) -> Duration {
    let stats = all_stats();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(
            stats
                .iter()
                .filter(|(_, stat)| stat.parent == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    let ticks: u64 = tree
        .iter()
        .filter_map(|pid| stats.get(pid))
        .map(|stat| stat.ticks)
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The resident memory of a process that is its own: file-backed pages, such as its program, are
/// shared and left out.
pub(crate) fn own_memory_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .map_or(0, |value| kib(value) * 1024)
}

/// The largest resident memory that a process has had, shared pages included.
pub(crate) fn peak_memory_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .map_or(0, |value| kib(value) * 1024)
}

/// How long this disk takes to have a small write safe: the median of some, in milliseconds. What
/// waits for the disk is a multiple of it.
pub(crate) fn fsync_ms(dir: &Path) -> std::io::Result<f64> {
    let path = dir.join("bench-fsync");
    let mut file = fs::File::create(&path)?;
    let mut taken = Vec::new();
    for _ in 0..FSYNCS {
        let begun = Instant::now();
        file.write_all(&[b'x'; 512])?;
        file.sync_data()?;
        taken.push(begun.elapsed());
    }
    fs::remove_file(&path)?;
    taken.sort_unstable();
    Ok(taken[FSYNCS / 2].as_secs_f64() * 1e3)
}

struct Stat {
    parent: i32,
    ticks: u64,
}

fn all_stats() -> HashMap<i32, Stat> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            let text = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parse_stat(&text)?))
        })
        .collect()
}

/// `proc_pid_stat(5)`: after the name in parentheses, which may hold anything, come the state (field
/// 3), the parent (4), and at 14 to 17 the ticks: user, system, and those of awaited children.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: field(14)? + field(15)? + field(16)? + field(17)?,
    })
}

/// `  123 kB` as 123.
fn kib(value: &str) -> u64 {
    value
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::parse_stat;

    #[test]
    fn reads_ticks_behind_a_name_that_looks_like_fields() {
        let text = "7 (a) S 9 (b) R 3 7 7 0 -1 4194560 1 2 0 0 11 22 33 44 20 0 1 0 5 1 1 18446744";
        let stat = parse_stat(text).expect("a stat");
        assert_eq!((stat.parent, stat.ticks), (3, 11 + 22 + 33 + 44));
    }
}
