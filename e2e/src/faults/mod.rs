//! Faults: put between the moves of a running tournament (the condition is progress, not time), put
//! to gateways under a thousand clients, and put to relays that have no game to publish.

pub mod gateway;
pub mod relay;

use std::fmt;

use anyhow::Result;

use crate::load::Tournament;
use crate::supervisor::Child;

/// A seed for whoever names none.
#[must_use]
pub fn any_seed() -> u64 {
    rand::random::<u32>().into()
}

/// What is done to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`; the supervisor restarts it.
    Kill,
    /// SIGTERM, and started again.
    Restart,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill -9",
            Self::Restart => "restart",
        })
    }
}

impl Fault {
    /// Does it, and returns when the child is ready again.
    ///
    /// # Errors
    /// It does not become ready again.
    pub async fn strike(self, child: &Child) -> Result<()> {
        match self {
            Self::Kill => {
                child.kill().await;
                child.ready().await
            }
            Self::Restart => child.restart().await,
        }
    }
}

/// Strikes the children in turn, `times` in all, each time after `every` further moves.
///
/// # Errors
/// The games are over before the last fault, or a child does not come back.
pub async fn strike_by_progress(
    tournament: &mut Tournament,
    fault: Fault,
    children: &[&Child],
    times: usize,
    every: u64,
) -> Result<()> {
    let mut moves = *tournament.progress.borrow();
    for nth in 0..times {
        moves += every;
        tournament.moves(moves).await?;
        let child = children[nth % children.len()];
        tracing::info!("{fault} of {} after {moves} moves", child.name());
        fault.strike(child).await?;
    }
    Ok(())
}
