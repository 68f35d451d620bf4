//! What waits, as numbers, and how far it surely does not: the gauges of the whole table, and the
//! ids below which no row can appear any more.

pub mod census;
pub mod floor;
pub mod horizon;
pub mod leaves;
pub mod observer;
pub mod repo;
