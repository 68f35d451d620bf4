//! `cargo xtask chaos relay` in short: the same scenarios and the same audit, with fewer events.

use std::time::Duration;

use e2e::faults::any_seed;
use e2e::faults::relay::{Outcome, Plan, Progress, Scenario, run};
use e2e::outbox::Pace;
use e2e::supervisor::Durability;
use tokio::sync::watch;

use crate::harness::binaries;

/// A plan of so many events at so many a second: the rate decides how long faults are put.
fn plan(events: u64, per_second: u32) -> Plan {
    Plan {
        name: "e2e",
        program: binaries().outbox_relay,
        events,
        keys: 500,
        pace: Pace::Rate { per_second },
        relays: 3,
        strikes: 1,
        freeze: Duration::from_secs(8),
        durability: Durability::Kill,
        seed: any_seed(),
        progress: watch::channel(Progress::default()).0,
    }
}

async fn run_sound(scenario: Scenario, plan: Plan) -> Outcome {
    let outcome = run(scenario, &plan).await.expect("an outcome");
    let verdict = &outcome.verdict;
    assert!(
        outcome.is_sound(),
        "seed {}: {}; {} relays exited; {:?}\n{}",
        plan.seed,
        verdict.faults,
        outcome.exits,
        outcome.breaches,
        verdict.examples.join("\n")
    );
    assert_eq!(verdict.committed, verdict.stored);
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_killed_every_second_and_zombies_publish_each_event_once_and_in_order() {
    let outcome = run_sound(Scenario::Kills, plan(20_000, 1500)).await;
    assert_eq!(outcome.verdict.committed, 20_000);
    assert!(outcome.strikes_of("kill -9 of a relay") >= 10);
    assert!(outcome.strikes_of("freeze of a relay past its lease") >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_events_one_by_one_survive_kills_of_relays_and_broker_once_and_in_order() {
    let outcome = run_sound(Scenario::Trickle, plan(4_000, 250)).await;
    assert_eq!(outcome.verdict.committed, 4_000);
    assert!(outcome.strikes_of("kill -9 of a relay") >= 10);
    assert!(outcome.strikes_of("kill -9 of the broker") >= 3);
    assert!(outcome.counters.announced > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_relays_away_for_longer_than_the_window_of_deduplication_double_nothing() {
    let mut plan = plan(6_000, 1500);
    plan.strikes = 2;
    run_sound(Scenario::Dedup, plan).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_frozen_under_load_ends_no_relay_and_costs_no_event() {
    run_sound(Scenario::FrozenBroker, plan(6_000, 1000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_its_leader_twice_loses_and_doubles_nothing() {
    let mut plan = plan(4_000, 400);
    plan.strikes = 2;
    let outcome = run_sound(Scenario::Cluster, plan).await;
    assert_eq!(outcome.strikes_of("kill -9 of the stream's leader"), 2);
}

/// Also that nothing was fenced and no duplicate had to be prevented: a drain hands over in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_restarted_in_turn_hand_over_without_fencing_or_repeating_anything() {
    let outcome = run_sound(Scenario::Rolling, plan(0, 200)).await;
    assert_eq!(outcome.strikes_of("SIGTERM to a relay"), 3);
    assert!(outcome.verdict.committed > 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_spread_when_relays_drain_crash_and_join_and_stay_where_they_are_in_between() {
    let outcome = run_sound(Scenario::Leases, plan(0, 200)).await;
    assert_eq!(outcome.strikes_of("crash of a relay"), 1);
    assert_eq!(outcome.strikes_of("join of a relay"), 2);
}
