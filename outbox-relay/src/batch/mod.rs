//! A batch: which waiting rows travel together, and the messages they become.

pub mod entity;
pub mod message;
pub mod repo;
pub mod room;
pub mod way;
