//! The WebSocket `/v1/ws`: one socket, many topics, and commands beside them.
//!
//! Every refusal is an `error` under the message's `ref` and leaves the socket usable; what ends a
//! socket has a close code (RFC 6455 §7.4): 1008 silent or stalled, 1009 too large, 1012 drain.

mod commands;
mod end;
pub mod inbound;
mod leave;
mod outbound;
mod requests;
mod session;
mod topics;
mod writer;

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use self::session::Session;
use crate::app::App;
use crate::http::caller::Caller;
use crate::http::extract::StrictQuery;
use crate::problem::{Problem, Reason};

/// Bytes of a client's message (DESIGN's contract). A `turn-log` payload near its own limit of
/// 4 KiB goes by `POST`.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The read buffer, allocated for every socket: a command is less than two hundred bytes. A longer
/// message gets the room that it needs.
const READ_BUFFER_BYTES: usize = 256;
/// What waits is written in pieces of this size: a few frames in one call of the kernel.
const WRITE_BUFFER_BYTES: usize = 4096;
/// What the library lets wait to be written, and so the longest message: it breaks the connection
/// over a longer one. While a client does not read, a piece and one message wait. Frames are a few
/// kilobytes, a full lobby fifty, and the games of somebody with very many of them more.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// The query of `/v1/ws`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketQuery {
    ticket: Option<String>,
}

/// A request to open a WebSocket, or what was wrong with it.
pub struct Upgrade(WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        upgrade
            .map(Self)
            .map_err(|rejection: WebSocketUpgradeRejection| {
                Problem::new(Reason::Invalid, rejection.body_text())
            })
    }
}

/// `GET /v1/ws?ticket=`
pub async fn open(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<SocketQuery>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    let opened = Caller::of_socket(&app, &headers, query.ticket.as_deref())
        .and_then(|caller| app.gateway.places().take(caller.player()));
    let place = match opened {
        Ok(place) => place,
        Err(problem) => {
            app.gateway.rejected(problem.reason);
            return problem.into_response();
        }
    };
    let Upgrade(upgrade) = upgrade;
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(|socket| async move {
            let life = app.life.clone();
            let session = Box::new(Session::new(app, socket, place));
            life.spawn_task("socket", Box::pin(session::run(session)));
        })
}
