//! The gate: nobody can tell two games apart that differ only in what they may not see.

use e2e::faults::any_seed;
use e2e::gate::{AT_ONCE, Ending, Fact, Games, Plan, bed, run};

use crate::harness::binaries;

/// Pairs of games, each with whoever looks on.
const PAIRS: usize = 500;
/// In so many, a clock runs out.
const PAIRS_BY_FLAG: usize = 58;
/// Of so many pairs, each hidden fact differs in at least so many.
const PAIRS_OF_A_FACT_MIN: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn games_that_differ_in_the_fog_alone_look_the_same_to_the_last_byte() {
    // The ordinary build does not know mutants: this changes nothing.
    let stack = bed::stack(binaries(), Some("players-view"))
        .await
        .expect("a stack");
    let plan = Plan {
        gateways: bed::gateways(&stack),
        database_url: stack.postgres_addresses.owner_url.clone(),
        pairs: PAIRS,
        seed: any_seed(),
        at_once: AT_ONCE,
        games: Games::FogChess,
        only: None,
        until_first: false,
    };
    println!("seed {}", plan.seed);
    let report = run(&plan).await.expect("a run");
    println!("{report}");
    assert!(report.is_clean(), "{}", report.leak().unwrap_or_default());
    assert_eq!(report.pairs, PAIRS);
    for fact in Fact::OF_FOG_CHESS {
        let count = report.facts.get(&fact).copied().unwrap_or_default();
        assert!(count >= PAIRS_OF_A_FACT_MIN, "{fact:?} in {count} pairs");
    }
    let by_flag = report.endings.get(&Ending::ByFlag).copied();
    assert_eq!(by_flag, Some(PAIRS_BY_FLAG), "{:?}", report.endings);
    stack.end().await;
}
