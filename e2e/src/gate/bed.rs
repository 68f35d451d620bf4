//! The stack that a run needs.

use anyhow::Result;

use crate::environment;
use crate::supervisor::{Durability, Ports, ServiceBinaries, Stack, StackOptions, Staging};

/// All viewers have one address, and a few accounts play a hundred games.
const UNLIMITED: [&str; 6] = [
    "RATE_COMMANDS_PER_S",
    "RATE_COMMANDS_BURST",
    "RATE_REQUESTS_PER_S",
    "RATE_REQUESTS_BURST",
    "RATE_REGISTRATIONS_PER_S",
    "RATE_REGISTRATIONS_BURST",
];

/// Two gateways and a relay; `mutant` is for the build that knows mutants.
///
/// # Errors
/// A missing tool, or a part that does not start.
pub async fn stack(binaries: ServiceBinaries, mutant: Option<&str>) -> Result<Stack> {
    let mut extra_env: Vec<(String, String)> = UNLIMITED
        .iter()
        .map(|name| ((*name).to_owned(), "100000".to_owned()))
        .collect();
    extra_env.push(("GATEWAY_SOCKETS_PER_PLAYER".to_owned(), "1000".to_owned()));
    // Every game waits at its end until all are counted.
    extra_env.push(("GATEWAY_PRESENCE_MS".to_owned(), "200".to_owned()));
    if let Some(mutant) = mutant {
        extra_env.push(("FOGLINE_MUTANT".to_owned(), mutant.to_owned()));
    }
    let options = StackOptions {
        name: "gate",
        ports: Ports::free(2, 1)?,
        binaries,
        durability: Durability::Kill,
        broker_durability: Durability::Kill,
        staging: Staging::Disk,
        database_url: None,
        nats_url: None,
        extra_env,
    };
    Stack::start(&environment::target_dir(), options).await
}

/// The addresses of both gateways.
#[must_use]
pub fn gateways(stack: &Stack) -> [String; 2] {
    [0, 1].map(|nth| stack.gateway_address(nth))
}
