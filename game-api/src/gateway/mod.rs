//! The gateway: pushes each viewer's own frames of a game over WebSocket, SSE and long poll.
//!
//! One room per watched game follows the log strictly by sequence number. A connection holds a
//! position in the room's ring of its view class; a cursor is such a position, good at any gateway.

pub mod clock;
pub mod cursor;
pub mod frame;
pub mod ring;
