//! A client as a user of the protocol would write it: HTTP, WebSocket, and recordings of what came.
//!
//! Its types are its own: the services' could not tell when the protocol changes under the clients.

mod api;
mod follow;
mod passage;
pub mod protocol;
mod recording;
mod socket;

pub use api::{Answered, Api, NewGame, Refusal, Session};
pub use follow::{Follower, Happening, Manners, Transport};
pub use passage::{Advice, Departure, Passage};
pub use recording::{Recorded, Recording};
pub use socket::{Closed, Identity, Received, Socket};

/// A command id, or any other id that a client makes.
#[must_use]
pub fn new_id() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}
