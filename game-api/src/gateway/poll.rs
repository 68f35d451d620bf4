//! The long poll `GET /v1/games/{id}/events?after=&limit=&wait_ms=&code=`: `{frames, cursor, reset}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::ids::GameId;
use tokio::time::{Instant, sleep_until};

use super::departures::Departure;
use super::frame::{Frame, FrameKind};
use super::subscription::{Manner, Opened, Subscription, Wanted};
use crate::app::App;
use crate::http::caller::Caller;
use crate::http::extract::{PathId, StrictQuery};
use crate::mutants;
use crate::problem::{Problem, Reason};

/// Frames of one answer, unless asked for another number.
const LIMIT_DEFAULT: usize = 100;
/// The most frames of one answer: about half a megabyte.
const LIMIT_MAX: usize = 500;
/// The longest wait, milliseconds: under the minute at which proxies cut a quiet request.
const WAIT_MS_MAX: u64 = 30_000;

/// The query of the long poll.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PollQuery {
    after: Option<String>,
    limit: Option<usize>,
    wait_ms: Option<u64>,
    code: Option<String>,
}

/// `GET /v1/games/{id}/events`: the frames after the cursor, from n = 1 without one. If there are
/// none, waits for up to `wait_ms` (0 by default) for the first.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(game): PathId<GameId>,
    StrictQuery(query): StrictQuery<PollQuery>,
) -> Result<Response, Problem> {
    let (limit, wait) = bounds(&query)?;
    // A request that waits holds what a stream holds.
    let place = (!wait.is_zero()).then(|| app.gateway.places().take(caller.player()));
    let _place = place.transpose().inspect_err(|problem| {
        app.gateway.rejected(problem.reason);
    })?;
    let wanted = Wanted {
        game,
        player: caller.player(),
        code: query.code,
        cursor: query.after,
        manner: Manner::Log,
    };
    let Opened {
        mut subscription,
        snapshot,
    } = Subscription::open(&app.gateway, wanted).await?;
    if !wait.is_zero() {
        subscription.arrive();
    }
    let until = Instant::now() + wait;
    let mut frames: Vec<Frame> = snapshot.into_iter().collect();
    let mut departure = Departure::new(&app.gateway);
    loop {
        fill(&mut subscription, &mut frames, limit).await?;
        if !frames.is_empty() {
            break;
        }
        tokio::select! {
            () = subscription.changed() => if mutants::answers_whatever_happens() {
                fill(&mut subscription, &mut frames, limit).await?;
                break;
            },
            () = sleep_until(until) => break,
            () = departure.due() => break,
        }
    }
    for frame in &frames {
        app.metrics.frame_sent(frame.kind.as_str());
    }
    Ok(answer(&frames, &subscription.cursor()))
}

fn bounds(query: &PollQuery) -> Result<(usize, Duration), Problem> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit: a whole number from 1 to {LIMIT_MAX}");
        return Err(Problem::new(Reason::Invalid, detail));
    }
    let wait_ms = query.wait_ms.unwrap_or(0);
    if wait_ms > WAIT_MS_MAX {
        let detail = format!("wait_ms: a whole number from 0 to {WAIT_MS_MAX}");
        return Err(Problem::new(Reason::Invalid, detail));
    }
    Ok((limit, Duration::from_millis(wait_ms)))
}

/// Takes what is there. A snapshot replaces what was taken before it.
async fn fill(
    subscription: &mut Subscription,
    frames: &mut Vec<Frame>,
    limit: usize,
) -> Result<(), Problem> {
    while frames.len() < limit {
        let more = subscription.ready(limit - frames.len()).await?;
        match more.first() {
            None => break,
            Some(first) if first.kind == FrameKind::Snapshot => *frames = more,
            Some(_) => frames.extend(more),
        }
    }
    Ok(())
}

fn answer(frames: &[Frame], cursor: &str) -> Response {
    let reset = frames
        .first()
        .is_some_and(|frame| frame.kind == FrameKind::Snapshot);
    let texts: Vec<&str> = frames.iter().map(|frame| frame.text.as_str()).collect();
    let texts = texts.join(",");
    // A cursor is base64url: it needs no escape.
    let body = format!(r#"{{"frames":[{texts}],"cursor":"{cursor}","reset":{reset}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
