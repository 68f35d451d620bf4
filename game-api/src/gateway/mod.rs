//! The gateway: pushes each viewer's own frames of a game over WebSocket, SSE and long poll.
//!
//! One room per watched game follows the log strictly by sequence number. A connection holds a
//! position in the room's ring of its view class; a cursor is such a position, good at any gateway.

pub mod clock;
pub mod config;
pub mod cursor;
pub mod frame;
mod hub;
pub mod link;
mod reconciler;
mod repo;
pub mod ring;
pub mod room;
pub mod subscription;

pub use hub::{Gateway, Parts};
