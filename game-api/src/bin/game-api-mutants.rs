//! `game-api` with one deliberate leak, chosen by `FOGLINE_MUTANT`: what the gate must catch.
//! `game-api-mutants list` prints which there are, one a line, with the games that can show it.

use std::io::Write as _;
use std::process::ExitCode;

use game_api::mutants::{Mutant, arm};
use shared::env::{EXIT_BAD_CONFIGURATION, Env as _, ProcessEnv};

#[path = "../main.rs"]
mod production;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("list") {
        return list();
    }
    let name = ProcessEnv.get("FOGLINE_MUTANT");
    let name = name.as_deref().unwrap_or("none");
    let Some(mutant) = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name) else {
        eprintln!("game-api-mutants: FOGLINE_MUTANT: there is no {name}");
        return EXIT_BAD_CONFIGURATION.into();
    };
    arm(mutant);
    production::main()
}

fn list() -> ExitCode {
    let mut out = std::io::stdout();
    for mutant in Mutant::ALL {
        let games = if mutant.needs_private_events() {
            "private-notes"
        } else {
            "fog-chess"
        };
        if writeln!(out, "{} {games}", mutant.name()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
