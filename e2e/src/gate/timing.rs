//! Does it take longer to be refused, depending on what is hidden? A number, not a verdict: the
//! times of a shared machine vary by more than any rule of thumb allows for.

use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::viewer::Gateways;
use crate::client::protocol::move_action;
use crate::client::{Api, NewGame, new_id};

/// Two moves of the first turn that the rules refuse. Neither square is seen: the pawn on a2 stands
/// before the rook.
const HIDDEN_PIECE: &str = "a1a7";
/// The same with nothing there.
const HIDDEN_NOTHING: &str = "a1a6";

/// Refusals of two kinds, in random order, and how long they took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Microseconds where a hidden piece stands.
    pub piece: Sample,
    /// Microseconds where nothing stands.
    pub nothing: Sample,
}

/// Some durations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// How many.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Their variance.
    pub variance: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        Self {
            count,
            mean,
            variance: squares.sum::<f64>() / (count - 1.0),
        }
    }
}

impl Timing {
    /// Welch's t: how many standard errors lie between the two means.
    #[must_use]
    pub fn t(&self) -> f64 {
        let Self { piece, nothing } = self;
        let error = piece.variance / piece.count + nothing.variance / nothing.count;
        (piece.mean - nothing.mean) / error.sqrt()
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a refusal takes {:.0} µs where a hidden piece stands ({}) and {:.0} µs where nothing \
             does ({}): Welch's t = {:.2} (reported, not judged)",
            self.piece.mean,
            self.piece.count,
            self.nothing.mean,
            self.nothing.count,
            self.t()
        )
    }
}

/// Measures, `count` refusals of both kinds together.
///
/// # Errors
/// A move was not refused, or no answer came.
pub async fn measure(gateways: &Gateways, seed: u64, count: usize) -> Result<Timing> {
    let api = Api::new(&gateways[0]);
    let player = api.register("Prober").await?;
    let opponent = api.register("Opponent").await?;
    let game = api.create_game(&player, &NewGame::default()).await?.id;
    api.join(&opponent, game).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let kind = usize::from(random.random::<bool>());
        let action = move_action([HIDDEN_PIECE, HIDDEN_NOTHING][kind]);
        let began = Instant::now();
        let answer = api.command(&player, game, new_id(), None, &action).await;
        let took = began.elapsed().as_secs_f64() * 1e6;
        match answer {
            Err(refusal) if refusal.reason() == Some("illegal_action") => times[kind].push(took),
            Err(refusal) => return Err(refusal).context("a move in vain"),
            Ok(_) => bail!("a move that is not there was made"),
        }
    }
    let [piece, nothing] = times.map(|times| Sample::of(&times));
    Ok(Timing { piece, nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number is that of another program for the same two samples.
    #[test]
    fn welchs_t_is_that_of_the_books() {
        let timing = Timing {
            piece: Sample::of(&[3.0, 4.0, 1.0, 2.1]),
            nothing: Sample::of(&[490.2, 340.0, 433.9]),
        };
        assert!(
            (timing.t() + 9.559_497_721_932_658).abs() < 1e-9,
            "{}",
            timing.t()
        );
    }
}
