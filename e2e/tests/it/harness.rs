//! A stack for a test, with fresh binaries, and the verdict at its end.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use e2e::client::protocol::{Side, ViewClass, move_action};
use e2e::client::{Api, Follower, Happening, NewGame, Session, Transport, new_id};
use e2e::environment::{self, names};
use e2e::history::judge;
use e2e::load::GameRecord;
use e2e::provision::NatsServer;
use e2e::supervisor::{
    Durability, Nats, Ports, RunDir, ServiceBinaries, Stack, StackOptions, Staging,
};
use uuid::Uuid;

/// Nothing that these tests wait for takes longer, on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

static BINARIES: OnceLock<ServiceBinaries> = OnceLock::new();

/// The services' binaries: those that the caller vouches for, or built now.
pub(crate) fn binaries() -> ServiceBinaries {
    let built = BINARIES.get_or_init(|| {
        let dir = environment::read(names::BINARIES).unwrap_or_else(|| {
            let status =
                Command::new(environment::read("CARGO").unwrap_or_else(|| "cargo".to_owned()))
                    .args([
                        "build",
                        "--quiet",
                        "--package",
                        "game-api",
                        "--package",
                        "outbox-relay",
                    ])
                    .current_dir(environment::workspace_root())
                    .env("SQLX_OFFLINE", "true")
                    .status()
                    .expect("cargo");
            assert!(status.success(), "the services cannot be built");
            environment::target_dir()
                .join("debug")
                .display()
                .to_string()
        });
        ServiceBinaries::in_dir(dir.as_ref()).expect("binaries")
    });
    built.clone()
}

/// A directory for what a test's servers keep; it goes with what is returned.
pub(crate) fn run_dir() -> RunDir {
    RunDir::create(&environment::target_dir(), "e2e").expect("a run directory")
}

/// A nats-server by itself, and the directory that must outlive it.
pub(crate) async fn nats() -> (RunDir, Nats) {
    let run_dir = run_dir();
    let tools = environment::target_dir().join("tools");
    let server = NatsServer::provision(&tools).expect("nats-server");
    let ports = Ports::free(0, 0).expect("ports").of_nats();
    let nats = Nats::start(
        &server,
        &run_dir,
        ports,
        Durability::PowerCut,
        Staging::Disk,
    )
    .await;
    (run_dir, nats.expect("started"))
}

/// Starts two gateways and two relays, with further variables for all of them.
pub(crate) async fn stack(extra_env: Vec<(String, String)>) -> Stack {
    let mut env = vec![
        // All clients of a test have one address.
        ("RATE_REQUESTS_PER_S".to_owned(), "100000".to_owned()),
        ("RATE_REQUESTS_BURST".to_owned(), "100000".to_owned()),
    ];
    env.extend(extra_env);
    let options = StackOptions {
        name: "e2e",
        ports: Ports::free(2, 2).expect("free ports"),
        binaries: binaries(),
        durability: Durability::Kill,
        broker_durability: Durability::PowerCut,
        staging: Staging::Disk,
        database_url: None,
        nats_url: None,
        extra_env: env,
    };
    Stack::start(&environment::target_dir(), options)
        .await
        .expect("a stack")
}

/// The addresses of the gateways.
pub(crate) fn gateways(stack: &Stack) -> Vec<String> {
    (0..stack.gateways.len())
        .map(|nth| stack.gateway_address(nth))
        .collect()
}

/// Log, stream and frames of all games agree, and nothing is left in the outbox.
pub(crate) async fn assert_agreement(stack: &Stack, records: &[GameRecord]) {
    let verdict = judge(stack, records).await.expect("a verdict");
    let shown = verdict
        .faults
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        verdict.faults.is_empty(),
        "{} faults:\n{shown}",
        verdict.faults.len()
    );
    assert!(
        verdict.events > records.len() * 3,
        "only {} events",
        verdict.events
    );
}

/// A game of two players who move when the test says so, White by the first gateway and Black by
/// the second, both over WebSocket.
pub(crate) struct Duel {
    pub(crate) game: Uuid,
    pub(crate) apis: [Api; 2],
    pub(crate) sessions: [Session; 2],
    pub(crate) followers: [Follower; 2],
}

impl Duel {
    pub(crate) async fn start(stack: &Stack) -> Self {
        let gateways = gateways(stack);
        let apis = [0, 1].map(|nth| Api::new(&gateways[nth]));
        let white = apis[0].register("White").await.expect("registered");
        let black = apis[1].register("Black").await.expect("registered");
        let game = apis[0]
            .create_game(&white, &NewGame::default())
            .await
            .expect("created")
            .id;
        apis[1].join(&black, game).await.expect("joined");
        let follower = |home: usize, session: &Session, side| {
            let class = ViewClass::Seat(side);
            // One gateway each: a test that takes one away wants to see what the other does.
            let only = &gateways[home..=home];
            Follower::new(
                only,
                0,
                Some(session.clone()),
                game,
                class,
                Transport::WebSocket,
            )
        };
        let followers = [
            follower(0, &white, Side::White),
            follower(1, &black, Side::Black),
        ];
        let mut duel = Self {
            game,
            apis,
            sessions: [white, black],
            followers,
        };
        for nth in 0..2 {
            duel.frame_at(nth, 0).await;
        }
        duel
    }

    /// Waits until a player has been sent the frame of a half-move.
    pub(crate) async fn frame_at(&mut self, nth: usize, ply: usize) {
        let follower = &mut self.followers[nth];
        let joined = |follower: &Follower| follower.recording.frames.len() >= 2;
        let arrived = async {
            while !(joined(follower)
                && follower
                    .recording
                    .last()
                    .is_some_and(|frame| frame.view().ply >= ply))
            {
                follower.next().await.expect("followed");
            }
        };
        tokio::time::timeout(PATIENCE, arrived)
            .await
            .unwrap_or_else(|_| panic!("player {nth} never saw ply {ply}"));
    }

    /// Makes a move over the mover's WebSocket, and waits until both have its frame. Returns the
    /// trace id of its answer.
    pub(crate) async fn play(&mut self, uci: &str) -> Option<String> {
        let (nth, ply, at) = self.to_move();
        let follower = &mut self.followers[nth];
        follower
            .command(new_id(), Some(at), &move_action(uci))
            .await
            .expect("sent");
        let trace_id = loop {
            match follower.next().await.expect("answered") {
                Happening::Done { trace_id, .. } => break trace_id,
                Happening::Refused { reason, detail } => panic!("{uci}: {reason}: {detail}"),
                Happening::Frame | Happening::Connected => {}
            }
        };
        for nth in 0..2 {
            self.frame_at(nth, ply + 1).await;
        }
        trace_id
    }

    /// Who is to move, at which half-move, and at which of their frames.
    pub(crate) fn to_move(&self) -> (usize, usize, u64) {
        let ply = self.followers[0]
            .recording
            .last()
            .expect("a frame")
            .view()
            .ply;
        let nth = ply % 2;
        (
            nth,
            ply,
            self.followers[nth].recording.last().expect("a frame").n(),
        )
    }
}
