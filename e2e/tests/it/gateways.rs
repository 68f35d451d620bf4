//! Gateways that go under load: `cargo xtask chaos gateway` in short, and a drain.

use std::time::Duration;

use e2e::client::{Departure, Passage};
use e2e::faults::any_seed;
use e2e::faults::gateway::{Plan, Progress, Rhythm, run};
use e2e::load::{GameRecord, Tournament, TournamentPlan};
use tokio::sync::watch;

use crate::harness::{assert_agreement, binaries, gateways, stack};

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

/// By default a drain spreads the return of its clients over this time.
const SPREAD: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_drained_under_load_sends_each_client_elsewhere_spread_over_time() {
    let stack = stack(vec![]).await;
    let mut tournament = Tournament::start(&TournamentPlan {
        at_once: 10,
        spectators: 4,
        ..TournamentPlan::new(gateways(&stack), usize::MAX, any_seed())
    });
    tournament.moves(300).await.expect("moves");
    let drained = &stack.gateways[0];
    let ended = drained.end().await.expect("it ran");
    assert!(ended.status.success() && !ended.killed, "{ended:?}");
    let log = std::fs::read_to_string(drained.log()).expect("its log");
    assert!(!log.contains("drain deadline passed"), "{log}");
    drained.start_again().await.expect("it is back");
    let moves = *tournament.progress.borrow();
    tournament.moves(moves + 100).await.expect("moves after it");
    tournament.wind_up();
    let records = tournament.finish().await.expect("all games played");
    assert_agreement(&stack, &records).await;
    stack.end().await;

    let passages: Vec<_> = records.iter().flat_map(GameRecord::passages).collect();
    // Of the ten games half have White there, half have Black and two of four spectators.
    assert!(passages.len() > 10, "only {} had to go", passages.len());
    for passage in &passages {
        let Departure {
            from,
            closed,
            advised,
            ..
        } = passage.departure;
        // Whoever came while it no longer listened got neither advice nor a code.
        assert_eq!((from, passage.to), (0, 1), "{passage:?}");
        assert_eq!(closed, Some(1012), "{passage:?}");
        let advised = advised.expect("told when to come back");
        assert!(
            advised <= SPREAD && passage.took() >= advised,
            "{passage:?}"
        );
    }
    let first = passages.iter().map(|passage| passage.departure.at).min();
    let is_early =
        |passage: &&&Passage| passage.arrived.duration_since(first.expect("some")) < SPREAD / 2;
    let early = passages.iter().filter(is_early).count();
    assert!(
        (1..passages.len()).contains(&early),
        "{early} of {} were back in the first half of the time",
        passages.len()
    );
}
