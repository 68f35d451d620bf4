//! Do log, stream and frames tell the same story?

use uuid::Uuid;

use super::board::Position;
use super::log::LogRow;
use super::stream::StreamEvent;
use crate::client::Recording;
use crate::client::protocol::{Event, Frame, Side, View, ViewClass};

/// One game from every side.
#[derive(Debug)]
pub struct Story<'a> {
    /// Which game.
    pub game: Uuid,
    /// The database's log.
    pub log: &'a [LogRow],
    /// What the stream holds.
    pub stream: &'a [StreamEvent],
    /// What clients were sent, from the first frame on.
    pub recordings: &'a [&'a Recording],
}

/// Compares all sides of one game; empty if they agree, else one sentence a difference.
#[must_use]
pub fn check_game(story: &Story<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    check_log(story.log, &mut faults);
    check_stream(story.log, story.stream, &mut faults);
    for recording in story.recordings {
        check_against_log(story.log, recording, &mut faults);
    }
    let moves: Vec<&str> = story
        .log
        .iter()
        .filter_map(|row| row.uci.as_deref())
        .collect();
    for recording in story.recordings {
        faults.extend(check_frames(&moves, recording));
    }
    faults
        .into_iter()
        .map(|fault| format!("game {}: {fault}", story.game))
        .collect()
}

fn check_log(log: &[LogRow], faults: &mut Vec<String>) {
    let mut before = [0; 3];
    for (row, expected) in log.iter().zip(1..) {
        if row.seq != expected {
            faults.push(format!(
                "the log has seq {} where {expected} belongs",
                row.seq
            ));
            return;
        }
        for (now, then) in row.numbers.iter().zip(before) {
            if *now != then && *now != then + 1 {
                faults.push(format!(
                    "seq {}: a class goes from frame {then} to {now}",
                    row.seq
                ));
            }
        }
        before = row.numbers;
    }
    let mut commands: Vec<_> = log.iter().map(|row| row.command_id).collect();
    commands.sort_unstable();
    commands.dedup();
    if commands.len() != log.len() {
        faults.push("one command made two events".to_owned());
    }
}

fn check_stream(log: &[LogRow], stream: &[StreamEvent], faults: &mut Vec<String>) {
    let logged = log
        .iter()
        .map(|row| (row.seq, row.event_id.to_string(), row.kind.as_str()));
    let streamed = stream
        .iter()
        .map(|event| (event.seq, event.ce_id.clone(), event.kind.as_str()));
    if logged.eq(streamed) {
        return;
    }
    let seqs: Vec<i64> = stream.iter().map(|event| event.seq).collect();
    let wanted: Vec<i64> = log.iter().map(|row| row.seq).collect();
    if seqs == wanted {
        faults.push("the stream holds other events than the log under the same numbers".to_owned());
    } else {
        faults.push(format!("the log has {wanted:?}, the stream has {seqs:?}"));
    }
}

/// Every row that a class was sent a frame of, against the frame of that number.
fn check_against_log(log: &[LogRow], recording: &Recording, faults: &mut Vec<String>) {
    let class = class_index(recording.class);
    let mut before = 0;
    for row in log {
        let n = row.numbers[class];
        if n == before {
            continue;
        }
        before = n;
        let mut frames = recording.frames.iter().map(|recorded| &recorded.frame);
        match frames.find(|frame| u64::try_from(n) == Ok(frame.n()) && frame.event().is_some()) {
            Some(frame) => faults.extend(differs(row, frame, recording.class)),
            None if covered_by_snapshot(recording, n) => {}
            None => faults.push(format!(
                "{:?} was never sent frame {n} (seq {})",
                recording.class, row.seq
            )),
        }
    }
    let last = recording.last().map_or(0, Frame::n);
    if u64::try_from(before) != Ok(last) {
        faults.push(format!(
            "{:?} was sent {last} frames, the log says {before}",
            recording.class
        ));
    }
}

/// A client that was far behind was sent a snapshot instead.
fn covered_by_snapshot(recording: &Recording, n: i64) -> bool {
    let frames = recording.frames.iter().map(|recorded| &recorded.frame);
    frames
        .filter(|frame| frame.event().is_none())
        .any(|frame| i64::try_from(frame.n()).is_ok_and(|at| at >= n))
}

fn differs(row: &LogRow, frame: &Frame, class: ViewClass) -> Option<String> {
    let event = frame.event()?;
    let by = event.by.map(side_name);
    if event.kind != row.kind || by != row.by.as_deref() {
        return Some(format!(
            "frame {} of {class:?} is {} by {by:?}, the log's seq {} is {} by {:?}",
            frame.n(),
            event.kind,
            row.seq,
            row.kind,
            row.by
        ));
    }
    let is_own = class == event.by.map_or(ViewClass::Public, ViewClass::Seat);
    let over = frame.view().result.is_some();
    match (&event.uci, &row.uci) {
        (Some(shown), Some(logged)) if shown == logged && (is_own || over) => None,
        (None, Some(_)) if !is_own => None,
        (None, None) => None,
        (shown, logged) => Some(format!(
            "frame {} shows {class:?} the move {shown:?} of {by:?}, the log has {logged:?}",
            frame.n()
        )),
    }
}

/// Every view of a recording against the rules, given the true moves. One sentence a leak or lie.
#[must_use]
pub fn check_frames(moves: &[&str], recording: &Recording) -> Vec<String> {
    let mut faults = Vec::new();
    let mut positions = vec![Position::default()];
    for uci in moves {
        let mut next = positions[positions.len() - 1].clone();
        if let Err(error) = next.play(uci) {
            return vec![format!("the log's moves break the rules: {error}")];
        }
        positions.push(next);
    }
    for recorded in &recording.frames {
        let frame = &recorded.frame;
        let Some(position) = positions.get(frame.view().ply) else {
            faults.push(format!(
                "frame {} is at ply {}, which was never played",
                frame.n(),
                frame.view().ply
            ));
            continue;
        };
        let what = frame
            .event()
            .map_or("a snapshot", |event: &Event| &event.kind);
        // Before the second seat is taken nobody is to move.
        let is_open = frame.event().is_some_and(|event| event.kind == "created");
        for fault in view_faults(position, frame.view(), recording.class, is_open) {
            faults.push(format!(
                "frame {} ({what}) of {:?}: {fault}",
                frame.n(),
                recording.class
            ));
        }
    }
    faults
}

fn view_faults(position: &Position, view: &View, class: ViewClass, is_open: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let over = view.result.is_some();
    let expected = match class {
        _ if over => position.board(),
        ViewClass::Seat(side) => position.seen_by(side),
        ViewClass::Public => "?".repeat(64),
    };
    if view.board != expected {
        faults.push(format!(
            "the board is {}, the rules show {expected}",
            view.board
        ));
    }
    if !over && view.turn.is_some_and(|turn| turn != position.turn()) {
        faults.push(format!(
            "it is {:?}'s turn, not {:?}'s",
            position.turn(),
            view.turn
        ));
    }
    faults.extend(own_faults(position, view, class, is_open));
    faults
}

/// What only a seat is shown, and some of it only while that seat is to move.
fn own_faults(position: &Position, view: &View, class: ViewClass, is_open: bool) -> Vec<String> {
    let over = view.result.is_some();
    let to_move = !over && !is_open && view.turn.map(ViewClass::Seat) == Some(class);
    let seat = match class {
        ViewClass::Seat(side) => Some(side),
        ViewClass::Public => None,
    };
    let mut faults = Vec::new();
    let mut compare = |what: &str, shown: Option<String>, expected: Option<String>| {
        if shown != expected {
            faults.push(format!("{what} is {shown:?}, the rules give {expected:?}"));
        }
    };
    let joined = |moves: &[String]| {
        let mut moves = moves.to_vec();
        moves.sort();
        moves.join(" ")
    };
    compare(
        "moves",
        view.moves.as_deref().map(joined),
        to_move.then(|| joined(&position.moves())),
    );
    compare(
        "ep",
        view.ep.clone(),
        position.en_passant().filter(|_| to_move),
    );
    compare(
        "castling",
        view.castling.clone(),
        seat.filter(|_| !over).map(|side| position.castling(side)),
    );
    compare(
        "last",
        view.last.clone(),
        seat.and_then(|side| position.last_of(side).map(str::to_owned)),
    );
    compare(
        "lost",
        view.lost.clone(),
        seat.and_then(|side| position.lost_by(side)),
    );
    faults
}

const fn class_index(class: ViewClass) -> usize {
    match class {
        ViewClass::Seat(Side::White) => 0,
        ViewClass::Seat(Side::Black) => 1,
        ViewClass::Public => 2,
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::White => "white",
        Side::Black => "black",
    }
}
