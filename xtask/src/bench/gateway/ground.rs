//! What the gateway's benchmarks stand on: a stack with its limits raised, two players, and games.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use e2e::client::{Answered, Api, NewGame, Session, new_id};
use e2e::supervisor::{Durability, Stack, Staging, loopback};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bench::rig::{self, RigOptions};
use crate::bench::swarm::wire::Dial;

/// Calls in flight while games are made.
const CALLS_AT_ONCE: usize = 64;
/// Limits that stand in the way of a load that comes from few addresses and two players.
const LIMITS: [(&str, &str); 7] = [
    ("RATE_REQUESTS_PER_S", "1000000"),
    ("RATE_REQUESTS_BURST", "1000000"),
    ("RATE_REGISTRATIONS_PER_S", "100000"),
    ("RATE_REGISTRATIONS_BURST", "100000"),
    ("RATE_COMMANDS_PER_S", "100000"),
    ("RATE_COMMANDS_BURST", "100000"),
    ("GATEWAY_SOCKETS_PER_PLAYER", "10000"),
];
/// File descriptors of a gateway beside those of its sockets, and of this program.
const OTHER_FILES: u64 = 600;

/// A stack, and who plays on it.
pub(super) struct Ground {
    pub(super) stack: Stack,
    /// White and Black of every game.
    pub(super) players: [Session; 2],
}

impl Ground {
    pub(super) async fn start(gateways: usize, relays: usize) -> Result<Self> {
        let env = LIMITS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let stack = rig::start(RigOptions {
            gateways,
            relays,
            broker: Durability::PowerCut,
            // As docker-compose.yml mounts it.
            staging: Staging::Memory,
            env: env.into(),
        })
        .await?;
        let api = Api::new(stack.gateway_address(0));
        let players = [api.register("White").await?, api.register("Black").await?];
        Ok(Self { stack, players })
    }

    /// A gateway's calls.
    pub(super) fn api(&self, gateway: usize) -> Api {
        Api::new(self.stack.gateway_address(gateway))
    }

    /// A gateway's process id.
    pub(super) fn pid(&self, gateway: usize) -> Result<i32> {
        self.stack.gateways[gateway]
            .pid()
            .context("the gateway runs")
    }

    /// Games in which both players are seated, made through a gateway.
    pub(super) async fn games(
        &self,
        gateway: usize,
        ruleset: &'static str,
        count: usize,
    ) -> Result<Vec<Uuid>> {
        let api = self.api(gateway);
        let [white, black] = &self.players;
        let made = stream::iter(0..count).map(|_| async {
            let wanted = NewGame {
                ruleset,
                ..NewGame::default()
            };
            let game = api.create_game(white, &wanted).await?;
            api.join(black, game.id).await?;
            anyhow::Ok(game.id)
        });
        made.buffer_unordered(CALLS_AT_ONCE).try_collect().await
    }

    /// A socket to a gateway, as one of the players or as a spectator.
    pub(super) fn dial(&self, gateway: usize, nth: usize, player: Option<usize>) -> Dial {
        Dial {
            to: self.address(gateway),
            nth,
            path: Some("/v1/ws".into()),
            bearer: player.map(|player| Arc::from(self.players[player].token.as_str())),
        }
    }

    pub(super) fn address(&self, gateway: usize) -> SocketAddr {
        loopback(self.stack.ports.gateways[gateway])
    }

    /// Makes the `ply`-th half-move of a game: by the player whose turn it is.
    pub(super) async fn act(
        &self,
        api: &Api,
        game: Uuid,
        ply: usize,
        action: &Value,
    ) -> Result<()> {
        // The frame of a turn log is none of chess, and is looked at on the wire.
        let body = json!({ "command_id": new_id(), "action": action });
        let path = format!("/v1/games/{game}/commands");
        let player = &self.players[ply % 2];
        let _: Answered<Value> = api
            .call(Method::POST, &path, Some(player), Some(&body))
            .await?;
        Ok(())
    }
}

/// An append of a turn log.
pub(super) fn append(payload: &str) -> Value {
    json!({ "type": "append", "payload": payload })
}

/// As many sockets as are wanted, or as this process and a gateway may have open.
pub(super) fn sockets(wanted: u64) -> Result<u64> {
    let limit =
        rlimit::increase_nofile_limit(wanted + OTHER_FILES).context("the limit of open files")?;
    Ok(wanted.min(limit.saturating_sub(OTHER_FILES)))
}
