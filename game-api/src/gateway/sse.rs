//! Server-sent events `GET /v1/games/{id}/stream`: each frame under its type, with its cursor as
//! the event's id, so that a browser's `EventSource` resumes by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use shared::ids::GameId;
use tokio::time::sleep;

use super::Gateway;
use super::departures::Departure;
use super::frame::Frame;
use super::places::Place;
use super::subscription::{Manner, Opened, Subscription, Wanted};
use crate::app::App;
use crate::http::caller::Caller;
use crate::http::extract::{PathId, StrictQuery};
use crate::http::transport::Fate;
use crate::problem::{Problem, Reason};

/// Between two attempts to read what a viewer is owed while the database is away.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// When a browser is to come back after a drain has ended its stream. Each stream ends at its own
/// time, so it need not wait; but it keeps to this after other losses too, and must not storm then.
const COME_BACK_AFTER: Duration = Duration::from_millis(250);

/// The query of the stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    after: Option<String>,
    code: Option<String>,
}

/// `GET /v1/games/{id}/stream?after=&code=`: the frames after `Last-Event-ID`, else after `after`,
/// else from n = 1, and then as they come.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathId(game): PathId<GameId>,
    StrictQuery(query): StrictQuery<StreamQuery>,
    fate: Option<Extension<Fate>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let gateway = app.gateway.clone();
    let place = gateway
        .places()
        .take(caller.player())
        .inspect_err(|problem| {
            gateway.rejected(problem.reason);
        })?;
    let wanted = Wanted {
        game,
        player: caller.player(),
        code: query.code,
        cursor: last_event_id(&headers)?.or(query.after),
        manner: Manner::Log,
    };
    let Opened {
        mut subscription,
        snapshot,
    } = Subscription::open(&gateway, wanted).await?;
    subscription.arrive();
    let first: Vec<_> = snapshot
        .iter()
        .map(|frame| Ok(sent(&gateway, frame, false)))
        .collect();
    let viewer = Viewer {
        gateway,
        subscription,
        fate: fate.map(|Extension(fate)| fate).unwrap_or_default(),
        drained: false,
        _place: place,
    };
    let departure = Departure::new(&app.gateway);
    let events = stream::iter(first).chain(viewer.events(departure));
    let keep_alive = KeepAlive::new().interval(app.gateway.config().heartbeat);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// What a browser was given as the last event's id; an empty one is none.
fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str();
    let text = text.map_err(|_| Problem::new(Reason::Invalid, "Last-Event-ID is no cursor"))?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

struct Viewer {
    gateway: Gateway,
    subscription: Subscription,
    /// How the connection ends, if the client does not end it.
    fate: Fate,
    drained: bool,
    _place: Place,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let reason = match self.fate.reason() {
            _ if self.drained => "drain",
            Some(reason) => reason,
            None => "closed",
        };
        let disconnects = &self.gateway.metrics().gateway_disconnects_total;
        disconnects.with_label_values(&[reason]).inc();
    }
}

impl Viewer {
    fn events(self, departure: Departure) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        let batches = stream::unfold(Some((self, departure)), async |open| {
            let (mut viewer, mut departure) = open?;
            let batch = tokio::select! {
                batch = viewer.batch() => batch,
                () = departure.due() => return Some((vec![Ok(viewer.goodbye())], None)),
            };
            Some((batch, Some((viewer, departure))))
        });
        batches.flat_map(stream::iter)
    }

    async fn batch(&mut self) -> Vec<Result<Event, Infallible>> {
        loop {
            let Ok(frames) = self.subscription.next().await else {
                // The client waits a little longer; what is committed comes when it can be read.
                sleep(RETRY_EVERY).await;
                continue;
            };
            let events = frames.iter().map(|frame| {
                let live = self.subscription.saw_live(frame);
                Ok(sent(&self.gateway, frame, live))
            });
            return events.collect();
        }
    }

    /// Ends the stream and tells the browser when to come back.
    fn goodbye(&mut self) -> Event {
        self.drained = true;
        Event::default().retry(COME_BACK_AFTER)
    }
}

fn sent(gateway: &Gateway, frame: &Frame, live: bool) -> Event {
    let kind = frame.kind.as_str();
    gateway.metrics().frame_sent(kind);
    if live {
        gateway.observe_delivery(frame.at_ms, Instant::now());
    }
    Event::default()
        .event(kind)
        .id(&frame.cursor)
        .data(frame.text.as_str())
}
