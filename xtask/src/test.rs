//! `cargo xtask test`: everything that CI runs, in order, until the first failure.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;
use e2e::environment::{self, names};
use e2e::supervisor::{Durability, Ports, ServiceBinaries, Stack, StackOptions, Staging};

use crate::build::{self, cargo};
use crate::console::say;
use crate::page;
use crate::workbench::Workbench;
use crate::{dependencies, sqlx};

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Run everything that CI runs: the page, format, clippy, rustdoc, dependencies, query data, unit, \
integration, black-box and browser tests, the gate against deliberate leaks, and the checks of the \
deploy files.

Steps run in this order and stop at the first that fails. A step whose tools are missing is \
skipped with a word why; with CI=true that is a failure. Needs no database to be running: a \
private Postgres is started for the steps that need one.";

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these steps alone, in their usual order
    #[arg(value_enum, value_name = "STEP")]
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The page: type check, build and tests
    Web,
    /// rustfmt
    Format,
    /// clippy over everything, warnings denied
    Clippy,
    /// rustdoc, warnings denied
    Docs,
    /// Licences, sources and use of what is depended on
    Dependencies,
    /// The committed query data
    Sqlx,
    /// Unit tests, and the model of the relay's protocol
    Unit,
    /// Integration tests, on a real Postgres and nats-server
    Integration,
    /// Black-box tests of the whole stack
    BlackBox,
    /// The gate must find every deliberate leak
    Mutants,
    /// Two real browsers on two gateways
    Browser,
    /// The deploy files
    Deploy,
}

/// How a step that did not fail ended.
enum Done {
    Passed,
    Skipped(String),
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .filter(|step| match args.steps.as_slice() {
            [] => true,
            named => named.contains(step),
        })
        .copied()
        .collect();
    let mut bench = Workbench::new()?;
    let (mut passed, mut skipped, started) = (0, 0, Instant::now());
    let mut failed = None;
    for (nth, step) in steps.iter().enumerate() {
        say(format!("\n── {}/{} {}", nth + 1, steps.len(), name(*step)));
        let began = Instant::now();
        let outcome = step.run(&mut bench).await.and_then(refuse_skips_in_ci);
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Ok(Done::Passed) => {
                passed += 1;
                say(format!("ok      {} ({seconds:.1} s)", name(*step)));
            }
            Ok(Done::Skipped(why)) => {
                skipped += 1;
                say(format!("skipped {}: {why}", name(*step)));
            }
            Err(error) => {
                say(format!(
                    "FAILED  {} ({seconds:.1} s): {error:#}",
                    name(*step)
                ));
                failed = Some(*step);
                break;
            }
        }
    }
    bench.end().await;
    say(format!(
        "\n{:.0} s in all, {skipped} skipped",
        started.elapsed().as_secs_f32()
    ));
    say(format!(
        "{passed} passed, {} failed",
        u8::from(failed.is_some())
    ));
    Ok(if failed.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn refuse_skips_in_ci(done: Done) -> Result<Done> {
    match done {
        Done::Skipped(why) if environment::is_on(names::CI) => {
            anyhow::bail!("skipped, which CI does not allow: {why}")
        }
        done => Ok(done),
    }
}

fn name(step: Step) -> String {
    step.to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

impl Step {
    async fn run(self, bench: &mut Workbench) -> Result<Done> {
        match self {
            Self::Web => return web(bench).await,
            Self::Format => bench.run(cargo_with(&["fmt", "--all", "--check"])).await?,
            Self::Clippy => {
                let all = [
                    "clippy",
                    "--quiet",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ];
                bench.run(cargo_with(&all)).await?;
            }
            Self::Docs => {
                let mut docs = cargo_with(&["doc", "--quiet", "--workspace", "--no-deps"]);
                docs.env("RUSTDOCFLAGS", "-D warnings");
                bench.run(docs).await?;
            }
            Self::Dependencies => return dependencies_step(bench).await,
            Self::Sqlx => sqlx::check(bench).await?,
            Self::Unit => tests(bench, &["--lib", "--bins", "--test", "model"]).await?,
            Self::Integration => tests(bench, &["--test", "it"]).await?,
            Self::BlackBox => tests(bench, &["--test", "black_box"]).await?,
            Self::Mutants => mutants(bench).await?,
            Self::Browser => return browser(bench).await,
            Self::Deploy => return deploy(bench).await,
        }
        Ok(Done::Passed)
    }
}

fn cargo_with(args: &[&str]) -> Command {
    let mut cargo = cargo();
    cargo.args(args);
    cargo
}

async fn web(bench: &mut Workbench) -> Result<Done> {
    if !page::sources().join("package.json").is_file() {
        return Ok(Done::Skipped("there is no web/".to_owned()));
    }
    if environment::on_path("npm").is_none() {
        return Ok(Done::Skipped(
            "npm is not on PATH: install Node 20 or later".to_owned(),
        ));
    }
    page::install()?;
    page::build()?;
    for script in ["check", "test"] {
        let mut command = page::npm();
        command.args(["run", "--silent", script]);
        bench.run(command).await?;
    }
    Ok(Done::Passed)
}

async fn dependencies_step(bench: &mut Workbench) -> Result<Done> {
    dependencies::check()?;
    if environment::on_path("cargo-deny").is_some() {
        bench
            .run(cargo_with(&[
                "deny", "check", "bans", "licenses", "sources",
            ]))
            .await?;
    }
    Ok(Done::Passed)
}

/// One selection of packages and one profile for all tests, so that nothing is built twice.
async fn tests(bench: &mut Workbench, which: &[&str]) -> Result<()> {
    let mut test = cargo_with(&["test", "--quiet", "--workspace"]);
    test.args(which)
        .env("DATABASE_URL", bench.database_url().await?);
    test.envs(bench.server_variables()?);
    test.env(names::BINARIES, build::binary_dir());
    bench.run(test).await
}

/// The services' binaries as the tests' own build leaves them.
async fn fresh_binaries(bench: &mut Workbench) -> Result<ServiceBinaries> {
    bench
        .run(cargo_with(&[
            "test",
            "--quiet",
            "--workspace",
            "--no-run",
            "--test",
            "it",
        ]))
        .await?;
    ServiceBinaries::in_dir(&build::binary_dir())
}

/// The code of the leaks is linted here, since no other step compiles it.
async fn mutants(bench: &mut Workbench) -> Result<()> {
    let mut clippy = cargo_with(&["clippy", "--quiet", "--workspace", "--lib", "--bins"]);
    clippy.args(["--features", "game-api/mutants", "--", "-D", "warnings"]);
    bench.run(clippy).await?;
    fresh_binaries(bench).await?;
    let mut gate = Command::new(std::env::current_exe().context("this program's path")?);
    gate.args(["gate", "--mutant", "all"])
        .env(names::BINARIES, build::binary_dir());
    gate.envs(bench.server_variables()?);
    bench.run(gate).await
}

async fn browser(bench: &mut Workbench) -> Result<Done> {
    let script = page::workshop().join("e2e/two-players.mjs");
    if environment::on_path("npm").is_none() {
        return Ok(Done::Skipped(
            "npm is not on PATH: install Node 20 or later".to_owned(),
        ));
    }
    let Some(chromium) = chromium() else {
        return Ok(Done::Skipped(
            "no chromium was found (Debian: apt-get install chromium)".to_owned(),
        ));
    };
    page::install()?;
    page::build()?;
    let binaries = fresh_binaries(bench).await?;
    let options = StackOptions {
        name: "test",
        ports: Ports::free(2, 2)?,
        binaries,
        durability: Durability::Kill,
        broker_durability: Durability::PowerCut,
        staging: Staging::Disk,
        database_url: None,
        nats_url: None,
        extra_env: vec![],
    };
    let stack = Stack::start(&environment::target_dir(), options).await?;
    let mut node = Command::new("node");
    node.arg(script)
        .args([0, 1].map(|nth| format!("http://{}", stack.gateway_address(nth))))
        .env("CHROMIUM", chromium);
    let outcome = bench.run(node).await.context("two players in two browsers");
    stack.end().await;
    outcome.map(|()| Done::Passed)
}

fn chromium() -> Option<std::path::PathBuf> {
    environment::read("CHROMIUM").map(Into::into).or_else(|| {
        ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find_map(environment::on_path)
    })
}

async fn deploy(bench: &mut Workbench) -> Result<Done> {
    let script = environment::workspace_root().join("deploy/check.sh");
    if !script.is_file() {
        return Ok(Done::Skipped("there is no deploy/check.sh".to_owned()));
    }
    let mut check = Command::new("sh");
    check
        .arg(script)
        .current_dir(environment::workspace_root())
        .envs(bench.server_variables()?);
    bench.run(check).await?;
    Ok(Done::Passed)
}
