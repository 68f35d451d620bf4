//! What an idle socket costs the instance that holds it, all in all (DESIGN §12).

use serde_json::json;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, Program, Socket};

/// So many that what an allocator takes at once, some MiB, hardly counts.
const SOCKETS: usize = 1500;
/// What is there before: pools, and threads with what each keeps for itself.
const SOCKETS_BEFORE: usize = 300;
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

/// Bytes of each of [`SOCKETS`] that come after [`SOCKETS_BEFORE`].
async fn bytes_of_each(program: &Program, viewers: &[(Option<&Player>, &str)]) -> usize {
    let mut sockets = Vec::new();
    let mut before = 0;
    for (nth, (player, game)) in viewers.iter().enumerate() {
        if nth == SOCKETS_BEFORE {
            before = program.memory_bytes();
        }
        sockets.push(viewer(program, *player, game).await);
    }
    (program.memory_bytes() - before) / (viewers.len() - SOCKETS_BEFORE)
}

#[sqlx::test(migrations = "../migrations")]
async fn an_idle_socket_takes_no_more_memory_than_it_may(pool: PgPool) {
    let nats = NatsServer::start().await;
    let other = Instance::start(&pool, &nats, &[]).await;
    let (white, black) = (other.register().await, other.register().await);
    let mut games = Vec::new();
    while games.len() * 2 < SOCKETS_BEFORE + SOCKETS {
        let game = other.create(&white, &json!({})).await;
        let game = game["id"].as_str().unwrap().to_owned();
        other.join(&black, &game).await;
        games.push(game);
    }

    let program = Program::start(&pool, &nats).await;
    let spectators = vec![(None, games[0].as_str()); SOCKETS_BEFORE + SOCKETS];
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
