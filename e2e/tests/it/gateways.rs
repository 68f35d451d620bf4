//! Gateways that go under load: `cargo xtask chaos gateway` in short, and a drain.

use std::time::{Duration, Instant};

use e2e::client::{Manners, Passage, Recorded};
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

/// By default a drain spreads the departure of its clients over this time.
const SPREAD: Duration = Duration::from_secs(3);
/// A socket is closed so long after the time at which its client was asked to go.
const OVERLAP: Duration = Duration::from_secs(1);
/// A client that goes from one gateway to the other is without one for less.
const GAP_MAX: Duration = Duration::from_secs(1);
/// The clients of one game.
const TOO_LATE_MAX: usize = 6;

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
    let begun = Instant::now();
    let ended = drained.end().await.expect("it ran");
    assert!(ended.status.success() && !ended.killed, "{ended:?}");
    let log = std::fs::read_to_string(drained.log()).expect("its log");
    assert!(!log.contains("drain deadline passed"), "{log}");
    drained.start_again().await.expect("it is back");
    let moves = *tournament.progress.borrow();
    tournament.moves(moves + 100).await.expect("moves after it");
    tournament.wind_up();
    let records = tournament.finish().await.expect("all games played");
    // Nobody missed a frame.
    assert_agreement(&stack, &records).await;
    stack.end().await;

    let passages = records.iter().flat_map(GameRecord::passages);
    // Who was about to come when it began to drain found that it no longer listened.
    let (passages, too_late): (Vec<Passage>, Vec<Passage>) =
        passages.partition(|passage| passage.departure.advice.is_some());
    assert!(too_late.len() <= TOO_LATE_MAX, "{too_late:?}");
    // Of the ten games half have White there, half have Black and two of four spectators.
    assert!(passages.len() > 10, "only {} had to go", passages.len());
    for passage in &passages {
        assert_farewell(passage, begun);
    }
    assert_spread(&passages, begun);
    let spectators = records.iter().flat_map(|record| &record.spectators);
    let stayed = spectators.filter(|watched| watched.manners == Manners::Stays);
    for watched in stayed {
        let departures = watched.passages.iter().map(|passage| passage.departure);
        for departure in departures.filter(|departure| departure.advice.is_some()) {
            // Until it was closed it was served as ever.
            let told = departure.advice.expect("told").told;
            let meanwhile = |frame: &&Recorded| (told..departure.at).contains(&frame.at);
            let frames = watched.recording.frames.iter().filter(meanwhile).count();
            assert!(frames > 0, "nothing came after the farewell: {departure:?}");
            assert_eq!(departure.closed, Some(1012), "{departure:?}");
        }
    }
}

/// It was told when to go, went then and not before, and was taken in elsewhere at once.
fn assert_farewell(passage: &Passage, begun: Instant) {
    let departure = passage.departure;
    assert_eq!((departure.from, passage.to), (0, 1), "{passage:?}");
    let after = departure.advice.expect("told when to go").after;
    assert!(after <= SPREAD, "{passage:?}");
    let stayed = departure.at.duration_since(begun);
    let least = match departure.closed {
        None => after,
        Some(code) => {
            assert_eq!(code, 1012, "{passage:?}");
            after + OVERLAP
        }
    };
    assert!(stayed >= least, "gone after {stayed:?}: {passage:?}");
    assert!(passage.took() < GAP_MAX, "{passage:?}");
}

/// They were told to go over the whole time, and did.
fn assert_spread(passages: &[Passage], begun: Instant) {
    let went = passages.iter().map(|passage| passage.departure);
    let mut afters: Vec<_> = went
        .clone()
        .map(|went| went.advice.expect("told").after)
        .collect();
    afters.sort_unstable();
    let gaps = afters.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
    let widest = gaps.max().expect("several");
    assert!(widest < SPREAD / 4, "they bunch: {afters:?}");
    let (early, late): (Vec<_>, Vec<_>) = went.partition(|went| went.at < begun + SPREAD / 2);
    assert!(
        early.len() > 2 && late.len() > 2,
        "{} left early and {} late",
        early.len(),
        late.len()
    );
}
