//! Memory of an idle subscribed connection.

use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

use super::ground::{Ground, sockets};
use crate::bench::Load;
use crate::bench::machine::own_memory_bytes;
use crate::bench::report::{Bound, Budget, Report};
use crate::bench::swarm::{Manner, Swarm, Visitor, subscribe};

/// Sockets, as far as files allow.
const SOCKETS: u64 = 20_000;
/// How long they are idle before the memory is read: long enough for a ping of some of them.
const IDLE: Duration = Duration::from_secs(5);

/// Fills a gateway with idle sockets: first spectators of one game, then the two players of each of
/// many games.
pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let count = usize::try_from(sockets(load.of(SOCKETS))?)?;
    report.section(format!("memory of a gateway with {count} idle sockets"));
    let one = ground.games(0, "fog-chess", 1).await?;
    let per_socket = fill(ground, count, |_| (one[0], None)).await?;
    tell(report, "spectators of one game", per_socket);
    let many = ground.games(0, "fog-chess", count / 2).await?;
    let per_socket = fill(ground, count, |nth| {
        (many[nth / 2 % many.len()], Some(nth % 2))
    })
    .await?;
    tell(report, "the two players of each game", per_socket);
    Ok(())
}

fn tell(report: &mut Report, who: &str, per_socket: f64) {
    report.figure(format!("a socket, {who}"), per_socket, "bytes");
    report.budget(Budget {
        name: format!("memory of an idle socket, {who}"),
        value: per_socket / 1024.0,
        unit: "KiB",
        must: Bound::AtMost(8.0),
        aim: Bound::AtMost(4.0),
    });
}

/// Bytes of the gateway's own memory for each socket.
async fn fill(
    ground: &Ground,
    count: usize,
    watched: impl Fn(usize) -> (Uuid, Option<usize>) + Send + Sync,
) -> Result<f64> {
    // What games cost to make is not what sockets cost to hold.
    ground.stack.gateways[0].restart().await?;
    let pid = ground.pid(0)?;
    let before = own_memory_bytes(pid);
    let mut swarm = Swarm::default();
    let visitors = (0..count).map(|nth| {
        let (game, player) = watched(nth);
        Visitor {
            dial: ground.dial(0, nth, player),
            hello: subscribe(game, None),
            manner: Manner::Frames,
        }
    });
    swarm.join(visitors).await?;
    swarm.subscribed(count as u64).await?;
    tokio::time::sleep(IDLE).await;
    let after = own_memory_bytes(pid);
    Ok(after.saturating_sub(before) as f64 / count as f64)
}
