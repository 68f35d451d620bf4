//! Load as players make it: bots that play random legal moves to the end, and spectators.

mod bot;
mod hand;
mod latency;
mod tables;
mod tournament;

pub use bot::{Bot, Played, Watched, watch};
pub use latency::{Latencies, LatencyBook};
pub use tournament::{Conclusion, GameRecord, Tournament, TournamentPlan};
