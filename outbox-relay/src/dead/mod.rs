//! Dead letters: events that cannot be published, kept with the reason until an operator decides.

pub mod repo;
