//! Load as players make it: bots that play random legal moves to the end, and spectators.

mod bot;
mod latency;
mod tournament;

pub use bot::{Bot, Played, watch};
pub use latency::{Latencies, LatencyBook};
pub use tournament::{GameRecord, Tournament, TournamentPlan};
