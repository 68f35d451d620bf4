//! The protocol as it is: no state violates anything, and every state was looked at.
//!
//! `cargo test -p outbox-relay --test model checks -- --nocapture` prints how many there were.

use stateright::{Checker, HasDiscoveries, Model};

use crate::faults::Faults;
use crate::mutant::Mutant;
use crate::setting::Setting;

/// Nothing is violated, whatever happens in whatever order.
fn holds(name: &str, setting: Setting) {
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
        two_keys: true,
        drains: true,
    };
    holds(name, setting);
}

/// Two of these faults, at any moments.
fn holds_under_two(name: &str, two_keys: bool, kinds: fn(&mut Faults)) {
    let mut faults = Faults {
        total: 2,
        ..Faults::default()
    };
    kinds(&mut faults);
    let setting = Setting {
        faults,
        mutant: Mutant::None,
        two_keys,
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
    holds_under_two("relays", true, |faults| {
        faults.crashes = 1;
        faults.freezes = 2;
        faults.lost_answers = 1;
        faults.spoilings = 1;
    });
}

#[test]
fn nothing_is_violated_by_a_loss_of_the_stream_and_another_fault() {
    holds_under_two("stream", false, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.evictions = 1;
        faults.wipes = 1;
        faults.spoilings = 1;
    });
    holds_under_two("stream restored", false, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.stream_restores = 1;
    });
}

#[test]
fn nothing_is_violated_by_a_restore_of_the_database_and_another_fault() {
    holds_under_two("database restored", false, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.database_restores = 1;
    });
}
