//! Each known-bad variant of announcing events is caught, as those in `mutants.rs` are.

use crate::faults::Faults;
use crate::mutant::Mutant;
use crate::mutants::{is_caught_in, one};
use crate::properties::{IN_ORDER, NO_FALSE_ALARM, NOT_DEAD, ONCE, PUBLISHED};
use crate::scope::Scope;

#[test]
fn announced_events_without_a_condition_are_caught() {
    let faults = one(|faults| faults.freezes = 1);
    let mutant = Mutant::SinglyWithoutCondition;
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, ONCE);
}

#[test]
fn an_announcement_that_is_taken_for_proof_is_caught() {
    let faults = one(|faults| faults.crashes = 1);
    let mutant = Mutant::AnnouncedIsProof;
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, PUBLISHED);
}

#[test]
fn looking_before_the_rest_is_shut_out_is_caught() {
    let faults = one(|faults| faults.lost_answers = 1);
    let mutant = Mutant::SearchedTooEarly;
    is_caught_in(Scope::AnnouncedOneEach, mutant, faults, ONCE);
    let faults = Faults {
        total: 2,
        lost_answers: 1,
        spoilings: 1,
        ..Faults::default()
    };
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, NOT_DEAD);
}

#[test]
fn a_take_over_that_forgets_an_announcement_is_caught() {
    let faults = one(|faults| faults.crashes = 1);
    let mutant = Mutant::TakeOverForgets;
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, ONCE);
}

#[test]
fn announced_events_without_all_answers_that_are_taken_for_stored_are_caught() {
    let faults = one(|faults| faults.lost_answers = 1);
    let mutant = Mutant::UnansweredIsStored;
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, PUBLISHED);
}

#[test]
fn a_closing_fence_that_forgets_the_announcement_is_caught() {
    let faults = Faults {
        total: 2,
        crashes: 1,
        lost_answers: 1,
        ..Faults::default()
    };
    let mutant = Mutant::ClosingForgets;
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, ONCE);
}

#[test]
fn not_looking_behind_an_announcing_fence_is_caught() {
    let faults = one(|faults| faults.crashes = 1);
    let mutant = Mutant::NotLookedBehind;
    is_caught_in(Scope::AnnouncedOneKey, mutant, faults, NO_FALSE_ALARM);
}

#[test]
fn a_batch_behind_a_fence_that_events_stand_apart_from_is_caught() {
    let faults = one(|faults| {
        faults.stream_restores = 1;
    });
    is_caught_in(Scope::AnnouncedOneKey, Mutant::NotRenewed, faults, IN_ORDER);
}

#[test]
fn fences_that_do_not_name_their_generation_are_caught() {
    let faults = Faults {
        total: 2,
        freezes: 1,
        lost_answers: 1,
        database_restores: 1,
        ..Faults::default()
    };
    is_caught_in(
        Scope::AnnouncedOneKey,
        Mutant::NoGeneration,
        faults,
        IN_ORDER,
    );
}
