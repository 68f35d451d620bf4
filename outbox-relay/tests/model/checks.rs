//! The protocol as it is: no state violates anything, and every state was looked at.
//!
//! `cargo test -p outbox-relay --test model checks -- --nocapture` prints how many there were.

use stateright::{Checker, HasDiscoveries, Model};

use crate::faults::Faults;
use crate::mutant::Mutant;
use crate::scope::Scope;
use crate::setting::Setting;

/// Nothing is violated, whatever happens in whatever order.
pub(crate) fn holds(name: &str, setting: Setting) {
    let checker = setting
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{name}: {} states, {} steps, at most {} in a row",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
    assert!(checker.is_done());
}

/// One fault at any moment; and from every state, a relay left alone gets everything out.
fn holds_under_one(name: &str, kind: fn(&mut Faults)) {
    let mut faults = Faults {
        total: 1,
        ..Faults::default()
    };
    kind(&mut faults);
    let setting = Setting {
        faults,
        mutant: Mutant::None,
        scope: Scope::TwoKeys,
        drains: true,
    };
    holds(name, setting);
}

/// Two of these faults, at any moments.
fn holds_under_two(name: &str, scope: Scope, kinds: fn(&mut Faults)) {
    let mut faults = Faults {
        total: 2,
        ..Faults::default()
    };
    kinds(&mut faults);
    let setting = Setting {
        faults,
        mutant: Mutant::None,
        scope,
        drains: false,
    };
    holds(name, setting);
}

#[test]
fn nothing_is_violated_by_one_fault_of_a_relay_or_its_connections() {
    holds_under_one("nothing", |_| {});
    holds_under_one("crash", |faults| faults.crashes = 1);
    holds_under_one("freeze", |faults| faults.freezes = 1);
    holds_under_one("lost answer", |faults| faults.lost_answers = 1);
    holds_under_one("dead letter", |faults| faults.spoilings = 1);
}

#[test]
fn nothing_is_violated_by_one_loss_of_the_stream() {
    holds_under_one("eviction", |faults| faults.evictions = 1);
    holds_under_one("wipe", |faults| faults.wipes = 1);
    holds_under_one("stream restored", |faults| faults.stream_restores = 1);
    holds_under_one("verification", |faults| faults.verifications = 1);
}

#[test]
fn nothing_is_violated_by_a_restore_of_the_database() {
    holds_under_one("database restored", |faults| faults.database_restores = 1);
}

#[test]
fn nothing_is_violated_by_two_faults_of_relays_and_their_connections() {
    holds_under_two("relays", Scope::TwoKeys, |faults| {
        faults.crashes = 1;
        faults.freezes = 2;
        faults.lost_answers = 1;
        faults.spoilings = 1;
    });
}

#[test]
fn nothing_is_violated_by_a_loss_of_the_stream_and_another_fault() {
    holds_under_two("stream", Scope::OneKey, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.evictions = 1;
        faults.wipes = 1;
        faults.spoilings = 1;
    });
    holds_under_two("stream restored", Scope::OneKey, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.stream_restores = 1;
    });
}

#[test]
fn nothing_is_violated_by_a_restore_of_the_database_and_another_fault() {
    holds_under_two("database restored", Scope::OneKey, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.database_restores = 1;
    });
}

/// Two shards that share batches, whose ends are steps of their own.
fn holds_for_two_shards(name: &str, scope: Scope, drains: bool, total: u8, kinds: fn(&mut Faults)) {
    let mut faults = Faults {
        total,
        ..Faults::default()
    };
    kinds(&mut faults);
    let setting = Setting {
        faults,
        mutant: Mutant::None,
        scope,
        drains,
    };
    holds(&format!("two shards, {name}"), setting);
}

#[test]
fn nothing_is_violated_in_batches_of_two_shards_that_are_not_answered() {
    let holds = |name, kinds| holds_for_two_shards(name, Scope::TwoShards, true, 1, kinds);
    holds("nothing", |_| {});
    holds("lost answer", |faults| faults.lost_answers = 1);
    holds("restart", |faults| faults.restarts = 1);
    holds("abandoned", |faults| faults.abandonments = 1);
}

#[test]
fn nothing_is_violated_in_batches_of_two_shards_of_which_one_is_taken_over() {
    let holds = |name, kinds| holds_for_two_shards(name, Scope::TwoShards, true, 1, kinds);
    holds("freeze", |faults| faults.freezes = 1);
    holds("dead letter", |faults| faults.spoilings = 1);
}

#[test]
fn nothing_is_violated_in_batches_of_two_shards_whose_relay_dies() {
    holds_for_two_shards("crash", Scope::TwoShards, false, 1, |faults| {
        faults.crashes = 1;
    });
}

#[test]
fn nothing_is_violated_in_batches_of_two_shards_by_a_loss_of_the_stream() {
    holds_for_two_shards("wipe", Scope::TwoShards, false, 1, |faults| {
        faults.wipes = 1;
    });
}

#[test]
fn nothing_is_violated_in_batches_of_two_shards_by_a_freeze_and_a_fault_of_the_broker() {
    let holds = |name, kinds| {
        holds_for_two_shards(name, Scope::TwoShardsOneEach, false, 2, kinds);
    };
    holds("freeze, abandoned", |faults| {
        faults.freezes = 1;
        faults.abandonments = 1;
    });
    holds("freeze, lost answer", |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
    });
}

#[test]
fn nothing_is_violated_in_batches_of_two_shards_by_two_freezes() {
    let scope = Scope::TwoShardsOneEach;
    holds_for_two_shards("two freezes", scope, false, 2, |faults| faults.freezes = 2);
}
