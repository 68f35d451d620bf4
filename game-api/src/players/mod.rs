//! Players: who they are, the secret that proves it, and the credentials made from that.

pub mod credentials;
pub mod entity;
pub mod handlers;
mod repo;
pub mod service;

pub use service::Players;
