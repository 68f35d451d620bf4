//! `cargo xtask bench gateway`: what sockets cost, and how soon they are told.

mod delivery;
mod failover;
mod ground;
mod history;
mod memory;
mod moves;
mod pairs;
mod room;
mod table;

use anyhow::Result;
use clap::ValueEnum;

use super::Load;
use super::report::Report;
use ground::Ground;

/// Arguments of `cargo xtask bench gateway`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only this; can be given several times
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Memory of idle subscribed sockets
    Memory,
    /// One game with 10,000 watchers
    Room,
    /// 5,000 games of two sockets
    Pairs,
    /// 10,000 sockets of a killed gateway
    Failover,
    /// From commit to the opponent's socket at 1,000 moves a second
    Delivery,
    /// Moves accepted through WebSocket, beside pgbench
    Moves,
    /// Moves at 10 million logged events, beside as many at 10 thousand
    History,
}

/// Measures.
///
/// # Errors
/// A part does not start, or something does not come.
pub(crate) async fn measure(args: &Args, load: Load) -> Result<Report> {
    let only: String = args.only.iter().fold(String::new(), |words, part| {
        let name = part
            .to_possible_value()
            .map(|value| value.get_name().to_owned());
        words + " --only " + &name.unwrap_or_default()
    });
    let mut report = Report::new(format!("gateway{only}"), load);
    let parts = match args.only.as_slice() {
        [] => Part::value_variants(),
        parts => parts,
    };
    for part in parts {
        // Each has a stack of its own: what one leaves behind is not the next one's.
        let (gateways, relays) = part.needs();
        let ground = Ground::start(gateways, relays).await?;
        let outcome = part.measure(&ground, load, &mut report).await;
        ground.stack.end().await;
        outcome?;
    }
    Ok(report)
}

impl Part {
    /// Gateways, and relays.
    const fn needs(self) -> (usize, usize) {
        match self {
            Self::Memory | Self::Room | Self::Pairs => (1, 0),
            Self::Moves => (1, 1),
            Self::Failover => (2, 0),
            Self::Delivery | Self::History => (2, 1),
        }
    }

    async fn measure(self, ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
        match self {
            Self::Memory => memory::measure(ground, load, report).await,
            Self::Room => room::measure(ground, load, report).await,
            Self::Pairs => pairs::measure(ground, load, report).await,
            Self::Failover => failover::measure(ground, load, report).await,
            Self::Delivery => delivery::measure(ground, load, report).await,
            Self::Moves => moves::measure(ground, load, report).await,
            Self::History => history::measure(ground, load, report).await,
        }
    }
}
