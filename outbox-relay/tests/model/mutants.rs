//! Each known-bad variant of the protocol is caught, with a counterexample.
//!
//! `cargo test -p outbox-relay --test model mutants -- --nocapture` prints the shortest way into
//! each.

use stateright::{Checker, HasDiscoveries, Model};

use crate::faults::Faults;
use crate::mutant::Mutant;
use crate::properties::{DRAINS, IN_ORDER, NOT_DEAD, ONCE, PUBLISHED};
use crate::scope::Scope;
use crate::setting::Setting;
use crate::world::Step;

/// The mutant violates a property under those faults, with one shard.
fn is_caught(mutant: Mutant, faults: Faults, property: &'static str) {
    is_caught_in(Scope::TwoKeys, mutant, faults, property);
}

/// The mutant violates a property under those faults.
pub(crate) fn is_caught_in(scope: Scope, mutant: Mutant, faults: Faults, property: &'static str) {
    let setting = Setting {
        faults,
        mutant,
        scope,
        drains: property == DRAINS,
    };
    is_violated(&format!("{mutant:?}"), setting, property);
}

/// Prints the shortest way into a violation.
pub(crate) fn is_violated(name: &str, setting: Setting, property: &'static str) {
    let shorter_than = |steps| counterexample(setting, property, steps);
    let Some(mut shortest) = shorter_than(usize::MAX) else {
        panic!("{name} is not caught");
    };
    while let Some(shorter) = shorter_than(shortest.len()) {
        shortest = shorter;
    }
    println!("{name} violates “{property}”:");
    for step in shortest {
        println!("    {step:?}");
    }
}

/// A way into a violation, of fewer steps than that.
fn counterexample(setting: Setting, property: &'static str, steps: usize) -> Option<Vec<Step>> {
    let checker = setting
        .checker()
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .target_max_depth(steps.saturating_add(1))
        .spawn_bfs()
        .join();
    let path = checker.discovery(property)?;
    Some(path.into_actions())
}

pub(crate) fn one(kind: fn(&mut Faults)) -> Faults {
    let mut faults = Faults {
        total: 1,
        ..Faults::default()
    };
    kind(&mut faults);
    faults
}

#[test]
fn recording_before_the_answer_is_caught() {
    is_caught(Mutant::MarkBeforeAck, Faults::default(), PUBLISHED);
}

#[test]
fn writing_without_asking_for_the_lease_is_caught() {
    let faults = Faults {
        total: 3,
        freezes: 2,
        spoilings: 1,
        ..Faults::default()
    };
    is_caught(Mutant::NoEpochGuard, faults, NOT_DEAD);
}

#[test]
fn reading_without_asking_for_the_lease_is_caught() {
    let faults = Faults {
        total: 2,
        freezes: 1,
        wipes: 1,
        ..Faults::default()
    };
    is_caught(Mutant::NoReadGuard, faults, IN_ORDER);
}

#[test]
fn publishing_without_a_fence_is_caught() {
    let faults = one(|faults| faults.lost_answers = 1);
    is_caught(Mutant::NoFence, faults, ONCE);
}

#[test]
fn a_take_over_without_a_fence_of_its_own_is_caught() {
    let faults = Faults {
        total: 2,
        freezes: 1,
        spoilings: 1,
        ..Faults::default()
    };
    is_caught(Mutant::NoTakeOverFence, faults, NOT_DEAD);
}

#[test]
fn a_take_over_that_settles_nothing_is_caught() {
    let faults = one(|faults| faults.crashes = 1);
    is_caught(Mutant::NoReadBack, faults, ONCE);
}

#[test]
fn a_next_batch_before_the_delete_is_caught() {
    is_caught(Mutant::NextBatchBeforeDelete, Faults::default(), ONCE);
}

#[test]
fn deleting_up_to_the_highest_id_is_caught() {
    let faults = Faults::default();
    is_caught(Mutant::DeleteUpToMaxId, faults, PUBLISHED);
}

#[test]
fn deleting_by_row_id_after_a_restore_is_caught() {
    let faults = one(|faults| faults.database_restores = 1);
    is_caught(Mutant::DeleteByRowId, faults, PUBLISHED);
}

#[test]
fn publishing_before_the_verification_is_caught() {
    let faults = one(|faults| faults.wipes = 1);
    is_caught(Mutant::NoVerify, faults, IN_ORDER);
}

#[test]
fn guessing_what_became_of_a_batch_is_caught() {
    let faults = one(|faults| faults.lost_answers = 1);
    is_caught(Mutant::GuessNotStored, faults, DRAINS);
    is_caught(Mutant::GuessStored, faults, PUBLISHED);
}

#[test]
fn forgetting_what_may_still_arrive_is_caught() {
    let faults = Faults {
        total: 2,
        lost_answers: 1,
        spoilings: 1,
        ..Faults::default()
    };
    is_caught(Mutant::NothingIsLate, faults, NOT_DEAD);
}

#[test]
fn not_looking_for_lost_commits_is_caught() {
    let faults = one(|faults| faults.database_restores = 1);
    is_caught(Mutant::NoLookForLostCommits, faults, ONCE);
}

#[test]
fn a_refused_batch_of_which_half_is_taken_for_stored_is_caught() {
    let faults = one(|faults| faults.freezes = 1);
    is_caught_in(
        Scope::TwoShards,
        Mutant::RefusedForItself,
        faults,
        PUBLISHED,
    );
}

#[test]
fn reading_back_one_of_two_fences_is_caught() {
    let faults = Faults {
        total: 2,
        freezes: 1,
        lost_answers: 1,
        ..Faults::default()
    };
    is_caught_in(
        Scope::TwoShards,
        Mutant::OneFenceReadBack,
        faults,
        PUBLISHED,
    );
}

#[test]
fn a_second_fence_without_a_condition_is_caught() {
    let faults = one(|faults| faults.freezes = 1);
    is_caught_in(Scope::TwoShards, Mutant::FirstFenceAlone, faults, ONCE);
}

#[test]
fn looking_at_fences_before_the_end_of_the_batch_is_caught() {
    let faults = one(|faults| faults.freezes = 1);
    is_caught_in(Scope::TwoShards, Mutant::FencesLookedAtEarly, faults, ONCE);
}
