//! What an idle socket costs the instance that holds it, all in all (DESIGN §12).

use serde_json::json;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, Program, Socket};

/// Sockets that are measured together, so many that what an allocator takes at once hardly counts.
const SOCKETS: usize = 600;
/// How often. What the process takes once, for a pool that grows or a thread that has its first
/// work, falls into one of them; what a socket takes is in all, and the one in the middle counts.
const GROUPS: usize = 3;
/// What is there before: pools, and threads with what each keeps for itself.
const SOCKETS_BEFORE: usize = 300;
/// All of them.
const SOCKETS_IN_ALL: usize = SOCKETS_BEFORE + GROUPS * SOCKETS;
/// Bytes of a spectator. A gateway with 20,000 of them is measured to take less of each, since what
/// is thrown away when a socket opens is then used again more often (`docs/benchmarks.md`).
const SPECTATOR_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one of the two players of a game, of whom each has half a room.
const PLAYER_BYTES_MAX: usize = 12 * 1024;

/// A subscribed socket.
async fn viewer(program: &Program, player: Option<&Player>, game: &str) -> Socket {
    let mut socket = Socket::open(program.address(), player).await;
    let subscribed = socket.subscribe(game, None).await;
    assert_eq!(subscribed["type"], "subscribed");
    socket.frames(1).await;
    socket
}

/// Bytes of each socket, as of the middle one of [`GROUPS`].
async fn bytes_of_each(program: &Program, viewers: &[(Option<&Player>, &str)]) -> usize {
    let mut sockets = Vec::new();
    let (before, measured) = viewers.split_at(SOCKETS_BEFORE);
    for (player, game) in before {
        sockets.push(viewer(program, *player, game).await);
    }
    let mut of_groups = Vec::new();
    for group in measured.chunks_exact(SOCKETS) {
        let at_first = program.memory_bytes();
        for (player, game) in group {
            sockets.push(viewer(program, *player, game).await);
        }
        of_groups.push(program.memory_bytes().saturating_sub(at_first) / SOCKETS);
    }
    of_groups.sort_unstable();
    of_groups[GROUPS / 2]
}

#[sqlx::test(migrations = "../migrations")]
async fn an_idle_socket_takes_no_more_memory_than_it_may(pool: PgPool) {
    let nats = NatsServer::start().await;
    let other = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (other.register().await, other.register().await);
    let mut games = Vec::new();
    while games.len() * 2 < SOCKETS_IN_ALL {
        let game = other.create(&white, &json!({})).await;
        let game = game["id"].as_str().unwrap().to_owned();
        other.join(&black, &game).await;
        games.push(game);
    }

    let program = Program::start(&pool, &nats).await;
    let spectators = vec![(None, games[0].as_str()); SOCKETS_IN_ALL];
    let spectator = bytes_of_each(&program, &spectators).await;
    drop(program);

    let program = Program::start(&pool, &nats).await;
    let seats = [Some(&white), Some(&black)];
    let players: Vec<_> = games
        .iter()
        .flat_map(|game| seats.map(|player| (player, game.as_str())))
        .collect();
    let player = bytes_of_each(&program, &players).await;
    assert!(
        spectator <= SPECTATOR_BYTES_MAX && player <= PLAYER_BYTES_MAX,
        "{spectator} bytes a spectator, {player} bytes a player"
    );
}
