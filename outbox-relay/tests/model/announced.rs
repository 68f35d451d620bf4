//! As `checks.rs`, where rows are sent in batches or one by one behind a fence that announces them.

use crate::checks::holds;
use crate::faults::Faults;
use crate::mutant::Mutant;
use crate::scope::Scope;
use crate::setting::Setting;

fn holds_announced(name: &str, scope: Scope, total: u8, kinds: fn(&mut Faults)) {
    check(name, scope, total < 2, total, kinds);
}

/// From every state, a relay left alone gets everything out, too.
fn holds_and_drains(name: &str, scope: Scope, total: u8, kinds: fn(&mut Faults)) {
    check(&format!("{name}, drains"), scope, true, total, kinds);
}

fn check(name: &str, scope: Scope, drains: bool, total: u8, kinds: fn(&mut Faults)) {
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
    holds(&format!("announced, {name}"), setting);
}

fn holds_under_one(name: &str, kind: fn(&mut Faults)) {
    holds_announced(name, Scope::Announced, 1, kind);
}

#[test]
fn nothing_is_violated_in_announcements_by_one_fault_of_a_relay_or_its_connections() {
    holds_under_one("nothing", |_| {});
    holds_under_one("crash", |faults| faults.crashes = 1);
    holds_under_one("freeze", |faults| faults.freezes = 1);
    holds_under_one("lost answer", |faults| faults.lost_answers = 1);
    holds_under_one("dead letter", |faults| faults.spoilings = 1);
}

#[test]
fn nothing_is_violated_in_announcements_by_one_loss_of_the_stream() {
    holds_under_one("eviction", |faults| faults.evictions = 1);
    holds_under_one("wipe", |faults| faults.wipes = 1);
    holds_under_one("stream restored", |faults| {
        faults.stream_restores = 1;
    });
    holds_under_one("verification", |faults| faults.verifications = 1);
}

#[test]
fn nothing_is_violated_in_announcements_by_a_restore_of_the_database() {
    holds_under_one("database restored", |faults| faults.database_restores = 1);
}

#[test]
fn nothing_is_violated_in_announcements_by_two_faults_of_relays_and_their_connections() {
    holds_announced("relays", Scope::AnnouncedThere, 2, |faults| {
        faults.crashes = 1;
        faults.freezes = 2;
        faults.lost_answers = 1;
        faults.spoilings = 1;
    });
}

#[test]
fn nothing_is_violated_in_announcements_by_three_faults_of_relays_and_their_connections() {
    holds_announced("three", Scope::AnnouncedOneEach, 3, |faults| {
        faults.crashes = 1;
        faults.freezes = 1;
        faults.lost_answers = 1;
    });
}

#[test]
fn a_relay_gets_everything_out_after_two_faults_and_announcements() {
    holds_and_drains("relays", Scope::AnnouncedOneKey, 2, |faults| {
        faults.crashes = 1;
        faults.freezes = 2;
        faults.lost_answers = 2;
        faults.spoilings = 1;
    });
    holds_and_drains("verification", Scope::AnnouncedOneEach, 2, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.verifications = 1;
        faults.wipes = 1;
    });
}

#[test]
fn nothing_is_violated_in_announcements_by_two_lost_answers() {
    holds_announced("two answers", Scope::AnnouncedThere, 2, |faults| {
        faults.lost_answers = 2;
    });
}

#[test]
fn nothing_is_violated_in_announcements_by_a_loss_of_the_stream_and_another_fault() {
    holds_announced("stream", Scope::AnnouncedOneKey, 2, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.evictions = 1;
        faults.wipes = 1;
        faults.spoilings = 1;
    });
    holds_announced("stream restored", Scope::AnnouncedOneKey, 2, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.stream_restores = 1;
    });
}

#[test]
fn nothing_is_violated_in_announcements_by_a_restore_of_the_database_and_another_fault() {
    holds_announced("database restored", Scope::AnnouncedOneKey, 2, |faults| {
        faults.freezes = 1;
        faults.lost_answers = 1;
        faults.database_restores = 1;
    });
}
