use super::*;

const OUTBOX: Uuid = Uuid::from_u128(1);

fn claim(epoch: i64, recorded: u64) -> Claim {
    Claim {
        outbox: OUTBOX,
        epoch: Epoch(epoch),
        recorded: StreamSeq(recorded),
        event: StreamSeq(0),
        generation: 0,
        verified: true,
    }
}

fn event(id: i64) -> EventRef {
    EventRef(id, Uuid::from_u128(u128::from(id.unsigned_abs())))
}

fn stored(at: u64, epoch: i64, settled: u64, ids: &[i64]) -> StoredFence {
    let fence = Fence {
        outbox: OUTBOX,
        epoch: Epoch(epoch),
        generation: 0,
        settled: StreamSeq(settled),
        events: ids.iter().copied().map(event).collect(),
        announced: Vec::new(),
        behind: StreamSeq(0),
        max_age_ms: 0,
    };
    StoredFence::new(StreamSeq(at), fence)
}

/// The same, of a fence that announces events.
fn announcing(at: u64, epoch: i64, ids: &[i64], behind: u64) -> StoredFence {
    let mut stored = stored(at, epoch, 0, &[]);
    stored.fence.announced = ids.iter().copied().map(event).collect();
    stored.fence.behind = StreamSeq(behind);
    stored
}

/// A machine that holds the shard with its own fence at `at`.
fn holding(epoch: i64, at: u64) -> Machine {
    let mut machine = Machine::new(claim(epoch, 0));
    machine.fence_read(None);
    machine.answered(Answer::Stored(StreamSeq(at)), Vec::new());
    assert_eq!(machine.todo(), Todo::Publish);
    machine
}

#[test]
fn a_take_over_settles_claims_and_only_then_publishes() {
    let mut machine = Machine::new(claim(5, 10));
    assert_eq!(machine.todo(), Todo::ReadFence);
    let found = stored(20, 4, 9, &[7, 8]);
    machine.fence_read(Some(found.clone()));
    assert_eq!(machine.todo(), Todo::Settle(found.owed()));
    machine.settled(true);
    let Todo::WriteFence { expect, fence } = machine.todo() else {
        panic!("{:?}", machine.todo());
    };
    assert_eq!((expect, fence.epoch), (StreamSeq(20), Epoch(5)));
    assert_eq!(fence.settled, StreamSeq(20));
    assert!(fence.events.is_empty());
    machine.answered(Answer::Stored(StreamSeq(30)), Vec::new());
    assert_eq!(machine.todo(), Todo::Publish);
    assert_eq!(machine.holding(), Some(StreamSeq(30)));
}

#[test]
fn what_was_published_is_settled_before_the_next_batch() {
    let mut machine = holding(1, 3);
    let (expect, fence) = machine.begin_batch(vec![event(1), event(2)]).unwrap();
    assert_eq!(expect, StreamSeq(3));
    machine.answered(Answer::Stored(StreamSeq(4)), fence.events);
    assert!(matches!(machine.todo(), Todo::Settle(found) if found.end() == StreamSeq(6)));
    assert!(machine.begin_batch(vec![event(3)]).is_none());
    machine.settled(true);
    assert_eq!(machine.begin_batch(vec![event(3)]).unwrap().0, StreamSeq(4));
}

#[test]
fn a_lost_answer_is_read_back_as_published() {
    let mut machine = holding(1, 3);
    machine.answered(Answer::Unclear, vec![event(1)]);
    assert_eq!(machine.todo(), Todo::ReadFence);
    machine.fence_read(Some(stored(4, 1, 3, &[1])));
    assert!(matches!(machine.todo(), Todo::Settle(_)));
    machine.settled(true);
    assert_eq!(machine.holding(), Some(StreamSeq(4)));
}

#[test]
fn a_refused_batch_is_read_back_as_not_published() {
    let mut machine = holding(1, 3);
    machine.answered(Answer::Refused, vec![event(1)]);
    assert_eq!(machine.todo(), Todo::ReadFence);
    machine.fence_read(Some(stored(3, 1, 0, &[])));
    assert_eq!(machine.begin_batch(vec![event(1)]).unwrap().0, StreamSeq(3));
}

#[test]
fn a_batch_that_may_still_arrive_is_shut_out_before_its_events_can_be_given_up() {
    let mut machine = holding(1, 3);
    machine.answered(Answer::Unclear, vec![event(1)]);
    machine.fence_read(Some(stored(3, 1, 0, &[])));
    assert_eq!(machine.holding(), None);
    assert!(matches!(
        machine.todo(),
        Todo::WriteFence {
            expect: StreamSeq(3),
            ..
        }
    ));
    let mut late = machine.clone();
    machine.answered(Answer::Stored(StreamSeq(9)), Vec::new());
    assert_eq!(machine.holding(), Some(StreamSeq(9)));

    // It arrived before that fence, which is refused.
    late.answered(Answer::Refused, Vec::new());
    late.fence_read(Some(stored(5, 1, 3, &[1])));
    assert!(matches!(late.todo(), Todo::Settle(_)));
}

#[test]
fn anothers_fence_at_the_own_place_is_a_loss() {
    let mut machine = holding(1, 3);
    machine.answered(Answer::Refused, vec![event(1)]);
    machine.fence_read(Some(stored(3, 2, 0, &[])));
    assert_eq!(machine.todo(), Todo::End(End::StreamLost));
}

#[test]
fn a_zombie_finds_a_higher_epoch_and_ends() {
    let mut machine = holding(1, 3);
    machine.answered(Answer::Unclear, vec![event(1)]);
    machine.fence_read(Some(stored(5, 2, 0, &[])));
    assert_eq!(machine.todo(), Todo::End(End::Deposed));
}

#[test]
fn a_settlement_without_the_lease_ends() {
    let mut machine = holding(1, 3);
    machine.answered(Answer::Stored(StreamSeq(4)), vec![event(1)]);
    machine.settled(false);
    assert_eq!(machine.todo(), Todo::End(End::Deposed));
}

#[test]
fn a_predecessors_last_batch_that_came_between_is_settled_and_claimed_behind() {
    let mut machine = Machine::new(claim(2, 3));
    machine.fence_read(Some(stored(3, 1, 0, &[])));
    machine.answered(Answer::Unclear, Vec::new());
    machine.fence_read(Some(stored(8, 1, 3, &[1, 2])));
    assert!(matches!(machine.todo(), Todo::Settle(_)));
    machine.settled(true);
    assert!(matches!(
        machine.todo(),
        Todo::WriteFence {
            expect: StreamSeq(8),
            ..
        }
    ));
}

#[test]
fn what_the_stream_lost_is_noticed() {
    let mut gone = Machine::new(claim(2, 3));
    gone.fence_read(None);
    assert_eq!(gone.todo(), Todo::End(End::StreamLost));

    let mut back = Machine::new(claim(2, 30));
    back.fence_read(Some(stored(20, 1, 0, &[1, 2])));
    assert_eq!(back.todo(), Todo::End(End::StreamLost));

    let mut held = holding(1, 3);
    held.answered(Answer::Unclear, vec![event(1)]);
    let mut wiped = held.clone();
    wiped.fence_read(None);
    assert_eq!(wiped.todo(), Todo::End(End::StreamLost));
    held.fence_read(Some(stored(2, 1, 0, &[])));
    assert_eq!(held.todo(), Todo::End(End::StreamLost));
}

#[test]
fn another_fence_at_the_place_of_one_that_was_settled_is_a_loss() {
    let mut machine = Machine::new(claim(2, 0));
    machine.fence_read(Some(stored(2, 1, 0, &[1])));
    machine.settled(true);
    machine.answered(Answer::Unclear, Vec::new());
    machine.fence_read(Some(stored(2, 1, 0, &[])));
    assert_eq!(machine.todo(), Todo::End(End::StreamLost));
}

#[test]
fn what_the_database_lost_is_noticed() {
    let mut machine = Machine::new(claim(5, 10));
    machine.fence_read(Some(stored(40, 4, 30, &[9])));
    assert_eq!(machine.todo(), Todo::End(End::DatabaseWentBack));

    let mut outrun = Machine::new(claim(5, 40));
    outrun.fence_read(Some(stored(40, 5, 30, &[])));
    assert_eq!(outrun.todo(), Todo::End(End::Outrun));
}

#[test]
fn a_fence_of_another_outbox_is_refused() {
    let mut machine = Machine::new(claim(5, 0));
    let mut found = stored(4, 1, 0, &[]);
    found.fence.outbox = Uuid::from_u128(99);
    machine.fence_read(Some(found));
    assert_eq!(machine.todo(), Todo::End(End::Foreign(Uuid::from_u128(99))));
}

#[test]
fn an_unverified_shard_takes_the_stream_as_it_is() {
    let unverified = |recorded| Claim {
        verified: false,
        ..claim(5, recorded)
    };
    let mut wiped = Machine::new(unverified(50));
    wiped.fence_read(None);
    assert!(matches!(
        wiped.todo(),
        Todo::WriteFence {
            expect: StreamSeq(0),
            ..
        }
    ));
    let mut ahead = Machine::new(unverified(5));
    ahead.fence_read(Some(stored(40, 9, 30, &[1])));
    assert!(matches!(ahead.todo(), Todo::Settle(_)));
}

#[test]
fn a_renewed_fence_stands_behind_the_old_one() {
    let mut machine = holding(1, 3);
    machine.renew_fence();
    assert!(matches!(
        machine.todo(),
        Todo::WriteFence {
            expect: StreamSeq(3),
            ..
        }
    ));
    machine.answered(Answer::Stored(StreamSeq(90)), Vec::new());
    assert_eq!(machine.holding(), Some(StreamSeq(90)));
}

/// A machine whose announcement of events 1 and 2 is stored at 4.
fn announced() -> Machine {
    let mut machine = holding(1, 3);
    let (expect, fence) = machine
        .begin_announcement(vec![event(1), event(2)])
        .unwrap();
    assert_eq!((expect, fence.events.len()), (StreamSeq(3), 0));
    machine.announced(Answer::Stored(StreamSeq(4)), fence.announced);
    machine
}

#[test]
fn announced_events_that_are_all_stored_are_settled_where_they_stand() {
    let mut machine = announced();
    let placed = vec![(event(2), StreamSeq(6)), (event(1), StreamSeq(9))];
    machine.stored_singly(StreamSeq(4), placed.clone());
    let at = StreamSeq(4);
    assert_eq!(machine.todo(), Todo::Settle(Owed { at, placed }));
    assert!(machine.begin_batch(vec![event(3)]).is_none());
    machine.settled(true);
    assert_eq!(machine.holding(), Some(StreamSeq(4)));
    assert_eq!(machine.recorded(), StreamSeq(9));
}

#[test]
fn what_was_announced_and_not_answered_is_shut_out_and_then_looked_for() {
    for placed in [vec![], vec![(event(1), StreamSeq(5))]] {
        let mut machine = announced();
        machine.stored_singly(StreamSeq(4), placed);
        let Todo::WriteFence { expect, fence } = machine.todo() else {
            panic!("{:?}", machine.todo());
        };
        assert_eq!((expect, fence.behind), (StreamSeq(4), StreamSeq(4)));
        assert_eq!(fence.announced, [event(1), event(2)]);
        assert!(machine.holding().is_none());
        machine.answered(Answer::Stored(StreamSeq(8)), Vec::new());
        let Todo::Search { announced, to } = machine.todo() else {
            panic!("{:?}", machine.todo());
        };
        assert_eq!((announced.behind, to), (StreamSeq(4), StreamSeq(8)));
        let mut empty = machine.clone();
        machine.found(vec![(event(1), StreamSeq(5))]);
        assert!(matches!(machine.todo(), Todo::Settle(owed) if owed.end() == StreamSeq(5)));
        machine.settled(true);
        assert_eq!(machine.holding(), Some(StreamSeq(8)));
        // Above what the database has recorded, it would say that the database went back.
        assert_eq!(machine.fence(Vec::new()).settled, StreamSeq(4));
        empty.found(Vec::new());
        assert_eq!(empty.holding(), Some(StreamSeq(8)));
    }
}

#[test]
fn before_a_batch_the_fence_is_renewed_that_events_stand_apart_from() {
    let mut machine = announced();
    let placed = vec![(event(1), StreamSeq(5)), (event(2), StreamSeq(6))];
    machine.stored_singly(StreamSeq(4), placed);
    machine.settled(true);
    assert!(machine.is_apart());
    assert!(machine.begin_batch(vec![event(3)]).is_none());
    assert!(machine.begin_announcement(vec![event(3)]).is_some());
    machine.renew_fence();
    // The stream went back to the fence, and gives the position of event 1 again.
    let mut torn = machine.clone();
    torn.answered(Answer::Stored(StreamSeq(5)), Vec::new());
    assert_eq!(torn.todo(), Todo::End(End::StreamLost));
    machine.answered(Answer::Stored(StreamSeq(9)), Vec::new());
    assert!(!machine.is_apart());
    assert!(machine.begin_batch(vec![event(3)]).is_some());
}

#[test]
fn an_announcement_that_comes_to_stand_where_an_event_stood_is_a_loss() {
    let mut machine = announced();
    machine.stored_singly(
        StreamSeq(4),
        vec![(event(1), StreamSeq(5)), (event(2), StreamSeq(6))],
    );
    machine.settled(true);
    let sent = machine.announced(Answer::Stored(StreamSeq(5)), vec![event(3)]);
    assert_eq!(sent, None);
    assert_eq!(machine.todo(), Todo::End(End::StreamLost));

    // Its writer dies before it can say so.
    let mut heir = Machine::new(Claim {
        event: StreamSeq(5),
        ..claim(2, 5)
    });
    heir.fence_read(Some(stored(5, 1, 4, &[])));
    assert_eq!(heir.todo(), Todo::End(End::StreamLost));
}

#[test]
fn a_fence_of_a_generation_not_heard_of_is_a_loss() {
    let mut found = stored(4, 1, 0, &[]);
    found.fence.generation = 1;
    let mut machine = Machine::new(claim(2, 0));
    machine.fence_read(Some(found));
    assert_eq!(machine.todo(), Todo::End(End::DatabaseWentBack));
}

#[test]
fn a_search_that_came_to_no_end_begins_with_the_fence_again() {
    let mut machine = announced();
    machine.answered(Answer::Stored(StreamSeq(8)), Vec::new());
    machine.search_failed();
    assert_eq!(machine.todo(), Todo::ReadFence);
    let mut evicted = machine.clone();
    evicted.fence_read(None);
    assert_eq!(evicted.todo(), Todo::End(End::StreamLost));
    machine.fence_read(Some(announcing(8, 1, &[1, 2], 4)));
    machine.answered(Answer::Stored(StreamSeq(11)), Vec::new());
    assert!(matches!(
        machine.todo(),
        Todo::Search { announced, to: StreamSeq(11) } if announced.behind == StreamSeq(4)
    ));
}

#[test]
fn an_announcement_is_carried_on_until_somebody_has_looked() {
    let mut machine = Machine::new(claim(2, 0));
    machine.fence_read(Some(announcing(4, 1, &[1, 2], 0)));
    let Todo::WriteFence { fence, .. } = machine.todo() else {
        panic!("{:?}", machine.todo());
    };
    assert_eq!((fence.epoch, fence.behind), (Epoch(2), StreamSeq(4)));
    // It is stored, and its writer dies.
    let mut third = Machine::new(claim(3, 0));
    third.fence_read(Some(announcing(7, 2, &[1, 2], 4)));
    third.answered(Answer::Stored(StreamSeq(9)), Vec::new());
    assert!(matches!(
        third.todo(),
        Todo::Search { announced, to: StreamSeq(9) } if announced.behind == StreamSeq(4)
    ));
    // It is not known whether it is stored: it is, or may be yet.
    for (at, behind) in [(7, 4), (4, 0)] {
        let mut doubting = machine.clone();
        doubting.answered(Answer::Unclear, Vec::new());
        let epoch = if at == 7 { 2 } else { 1 };
        doubting.fence_read(Some(announcing(at, epoch, &[1, 2], behind)));
        let Todo::WriteFence { expect, fence } = doubting.todo() else {
            panic!("{:?}", doubting.todo());
        };
        assert_eq!((expect, fence.behind), (StreamSeq(at), StreamSeq(4)));
    }
}

#[test]
fn a_zombie_that_finds_its_announcement_carried_on_ends() {
    let mut machine = announced();
    machine.answered(Answer::Refused, Vec::new());
    machine.fence_read(Some(announcing(6, 2, &[1, 2], 4)));
    assert_eq!(machine.todo(), Todo::End(End::Deposed));
}

#[test]
fn an_announcement_proves_no_more_than_was_seen_behind_it() {
    let found = announcing(4, 1, &[1, 2], 0);
    let mut lost = Machine::new(claim(2, 6));
    lost.fence_read(Some(found.clone()));
    assert_eq!(lost.todo(), Todo::End(End::StreamLost));

    let mut there = Machine::new(claim(2, 6));
    let seen = StreamSeq(6);
    there.fence_read(Some(StoredFence { seen, ..found }));
    assert!(matches!(there.todo(), Todo::WriteFence { .. }));
}
