//! The audit finds what it is there to find.

use std::time::Duration;

use uuid::Uuid;

use super::{Audit, Entry, Faults, Message, MessageKind, Produced, Standing, Verdict};

/// Two keys, of which the first has the rows 1, 3 and 4, the second the row 2.
const ROWS: [(i64, u32, u32); 4] = [(1, 0, 1), (2, 1, 1), (3, 0, 2), (4, 0, 3)];

fn event_id(id: i64) -> Uuid {
    Uuid::from_u128(u128::from(id.unsigned_abs()))
}

fn ledger() -> Vec<Entry> {
    let entry = |(id, key, n): (i64, u32, u32)| Entry {
        event_id: event_id(id),
        id,
        key,
        n,
        created_us: id * 1000,
        standing: Standing::Published {
            stream_seq: id.unsigned_abs() + 1,
        },
    };
    ROWS.map(entry).into()
}

fn message(at: u64, id: i64) -> Message {
    let row = ROWS.iter().find(|row| row.0 == id);
    let (_, key, n) = row.copied().unwrap_or((id, 0, 1));
    Message {
        stream_seq: at,
        stored_us: i64::try_from(at).expect("small") * 10_000,
        kind: MessageKind::Event {
            event_id: event_id(id),
            key,
            n,
        },
    }
}

fn stream() -> Vec<Message> {
    let fence = Message {
        stream_seq: 1,
        stored_us: 1,
        kind: MessageKind::Fence,
    };
    std::iter::once(fence)
        .chain((1..=4_i64).map(|id| message(id.unsigned_abs() + 1, id)))
        .collect()
}

fn audit(ledger: Vec<Entry>, by_key: [u32; 2], stream: &[Message]) -> Verdict {
    let produced = Produced {
        by_key: by_key.into(),
    };
    let mut audit = Audit::new(ledger, &produced);
    for message in stream {
        audit.message(message);
    }
    audit.verdict()
}

fn faults_of(stream: &[Message]) -> Faults {
    audit(ledger(), [3, 1], stream).faults
}

#[test]
fn a_stream_that_holds_each_event_once_and_in_order_has_no_fault() {
    let verdict = audit(ledger(), [3, 1], &stream());
    assert_eq!(verdict.faults, Faults::default());
    assert_eq!(
        (verdict.committed, verdict.stored, verdict.fences),
        (4, 4, 1)
    );
    assert_eq!(verdict.longest_silence, Duration::from_millis(10));
    assert_eq!(verdict.waits[3].took, Duration::from_millis(46));
}

#[test]
fn other_keys_may_be_in_any_order() {
    let mut ledger = ledger();
    for (entry, place) in ledger.iter_mut().zip([3, 2, 4, 5]) {
        entry.standing = Standing::Published { stream_seq: place };
    }
    let stream = [(2, 2), (3, 1), (4, 3), (5, 4)].map(|(at, id)| message(at, id));
    assert_eq!(audit(ledger, [3, 1], &stream).faults, Faults::default());
}

#[test]
fn a_lost_event_is_found() {
    let mut stream = stream();
    stream.remove(2);
    let expected = Faults {
        lost: 1,
        ..Faults::default()
    };
    assert_eq!(faults_of(&stream), expected);
}

#[test]
fn a_doubled_event_is_found() {
    let mut stream = stream();
    stream.push(message(6, 2));
    let expected = Faults {
        doubled: 1,
        ..Faults::default()
    };
    assert_eq!(faults_of(&stream), expected);
}

#[test]
fn a_reordered_event_is_found() {
    let mut ledger = ledger();
    ledger[2].standing = Standing::Published { stream_seq: 5 };
    ledger[3].standing = Standing::Published { stream_seq: 4 };
    let stream = [(2, 1), (3, 2), (4, 4), (5, 3)].map(|(at, id)| message(at, id));
    let expected = Faults {
        reordered: 1,
        ..Faults::default()
    };
    assert_eq!(audit(ledger, [3, 1], &stream).faults, expected);
}

#[test]
fn what_nobody_committed_is_found() {
    let mut stream = stream();
    stream.push(message(6, 99));
    stream.push(Message {
        kind: MessageKind::Foreign("events.game.x".to_owned()),
        ..message(7, 99)
    });
    let expected = Faults {
        foreign: 2,
        ..Faults::default()
    };
    assert_eq!(faults_of(&stream), expected);
}

#[test]
fn an_event_with_other_contents_or_at_another_place_is_found() {
    let mut stream = stream();
    stream[1].kind = MessageKind::Event {
        event_id: event_id(1),
        key: 0,
        n: 7,
    };
    stream[4].stream_seq = 9;
    let expected = Faults {
        altered: 2,
        ..Faults::default()
    };
    assert_eq!(faults_of(&stream), expected);
}

#[test]
fn what_waits_or_is_dead_is_not_published() {
    let mut ledger = ledger();
    ledger[1].standing = Standing::Pending;
    ledger[3].standing = Standing::Dead;
    let verdict = audit(ledger, [3, 1], &stream()[..4]);
    assert_eq!((verdict.faults.unpublished, verdict.faults.lost), (2, 0));
}

#[test]
fn what_the_database_forgot_or_never_had_is_found() {
    let mut forgetful = ledger();
    forgetful.pop();
    assert_eq!(audit(forgetful, [3, 1], &stream()).faults.miscounted, 1);
    assert_eq!(audit(ledger(), [3, 0], &stream()).faults.miscounted, 1);
    let mut shuffled = ledger();
    shuffled[2].n = 3;
    shuffled[3].n = 2;
    assert!(audit(shuffled, [3, 1], &stream()).faults.miscounted > 0);
}
