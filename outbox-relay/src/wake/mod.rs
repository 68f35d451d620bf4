//! How the relay learns that rows wait: a hint on `outbox.wake`, `LISTEN outbox_wake` where it is
//! switched on, and polling that never stops. Hints only shorten the wait; what they say is not
//! looked at.

pub mod hint;
pub mod listen;
pub mod pace;
