//! The build with mutants: what it can leak, and whether the gate notices.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::bed;
use super::run::{Games, Plan, Report, run};
use crate::supervisor::{ServiceBinaries, Stack};

/// The mutant that leaks nothing.
pub const NONE: &str = "none";

/// One way to leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// The games that can show it.
    pub games: Games,
}

/// What the program knows.
///
/// # Errors
/// It cannot be run, or says what this does not understand.
pub fn list(program: &Path) -> Result<Vec<Mutant>> {
    let output = Command::new(program).arg("list").output();
    let output = output.with_context(|| format!("{} cannot be run", program.display()))?;
    let text = String::from_utf8(output.stdout)?;
    let mutants = text.lines().map(|line| {
        let (name, games) = line.split_once(' ').context("a mutant without games")?;
        let games = match games {
            "fog-chess" => Games::FogChess,
            "private-notes" => Games::PrivateNotes,
            other => bail!("the games {other} are unknown"),
        };
        Ok(Mutant {
            name: name.to_owned(),
            games,
        })
    });
    mutants.collect()
}

/// A stack of the build with mutants, with one of them armed.
///
/// # Errors
/// A missing tool, or a part that does not start.
pub async fn armed(program: &Path, outbox_relay: PathBuf, mutant: &Mutant) -> Result<Stack> {
    let binaries = ServiceBinaries {
        game_api: program.to_path_buf(),
        outbox_relay,
    };
    let stack = bed::stack(binaries, Some(&mutant.name)).await;
    stack.with_context(|| format!("with the mutant {}", mutant.name))
}

/// Runs a gate against such a stack, and ends it.
///
/// # Errors
/// The stack did not do what it must.
pub async fn run_armed(stack: Stack, mutant: &Mutant, pairs: usize, seed: u64) -> Result<Report> {
    let plan = Plan {
        gateways: bed::gateways(&stack),
        database_url: stack.postgres_addresses.owner_url.clone(),
        pairs,
        seed,
        at_once: super::AT_ONCE_UNTIL_FIRST,
        games: mutant.games,
        only: None,
        until_first: true,
    };
    let report = run(&plan).await;
    stack.end().await;
    report.with_context(|| format!("with the mutant {}", mutant.name))
}
