//! `cargo xtask chaos gateway` in short.

use std::time::Duration;

use e2e::faults::any_seed;
use e2e::faults::gateway::{Plan, Progress, Rhythm, run};
use tokio::sync::watch;

use crate::harness::binaries;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_killed_in_turn_leave_every_client_each_frame_once_and_in_order() {
    let plan = Plan {
        name: "e2e",
        binaries: binaries(),
        clients: 32,
        gateways: 3,
        kills: 6,
        rhythm: Rhythm::Moves(120),
        pause: Duration::from_millis(55),
        seed: any_seed(),
        progress: watch::channel(Progress::default()).0,
    };
    let outcome = run(&plan).await.expect("an outcome");
    assert!(
        outcome.is_sound(),
        "seed {}: {} services exited, {} snapshots\n{}\n{}",
        plan.seed,
        outcome.exits,
        outcome.snapshots,
        outcome.broken_off.join("\n"),
        outcome.verdict.faults.join("\n")
    );
    assert_eq!(outcome.kills, plan.kills);
    assert!(outcome.games > 0 && outcome.verdict.frames > 1000);
    // Whoever was at a gateway that was killed had to go to another.
    let elsewhere = outcome.away.count() - outcome.returned;
    assert!(elsewhere > plan.clients, "only {elsewhere} went elsewhere");
}
