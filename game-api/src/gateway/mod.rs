//! The gateway: pushes each viewer's own frames of a game over WebSocket, SSE and long poll.
//!
//! One room per watched game follows the log strictly by sequence number. A connection holds a
//! position in the room's ring of its view class; a cursor is such a position, good at any gateway.

pub mod boards;
pub mod clock;
pub mod config;
pub mod cursor;
mod departures;
pub mod frame;
pub mod heartbeat;
mod hub;
pub mod link;
pub mod places;
mod poll;
pub mod presence;
mod reconciler;
mod repo;
pub mod ring;
pub mod room;
pub mod socket;
mod sse;
pub mod subscription;
mod turns;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

pub use hub::{Gateway, Parts};

use crate::app::App;

/// Method, template and status of the gateway's calls.
pub const ROUTES: [(&str, &str, &str); 4] = [
    ("GET", "/v1/ws", "101"),
    ("GET", "/v1/games/{id}/events", "200"),
    ("GET", "/v1/games/{id}/stream", "200"),
    ("GET", "/v1/stats", "200"),
];

/// The gateway's calls.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/ws", any(socket::open))
        .route("/v1/games/{id}/events", get(poll::events))
        .route("/v1/games/{id}/stream", get(sse::stream))
        .route("/v1/stats", get(presence::stats))
}
