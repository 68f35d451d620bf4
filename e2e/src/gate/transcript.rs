//! Everything that a viewer was sent, and the first difference between two such records.

use std::collections::BTreeMap;
use std::fmt;

use super::normalise::{Cursors, Known, normalise};
use super::pair::Pair;

/// Bytes shown before and after the first that differs.
const CONTEXT_BYTES: usize = 120;

/// One thing that was sent.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What it is, for people: what was asked, or what came by itself.
    pub(super) what: String,
    /// As it was sent.
    pub(super) text: String,
}

/// How a channel's name ends of which only one of two games may have something, by the clock: it is
/// compared if both have.
pub(super) const RACED: &str = ": raced";

/// One viewer's way to one game: a socket, a stream, or all its requests.
pub(super) type Channel = Vec<Entry>;

/// All that was sent in one game, by channel.
#[derive(Debug)]
pub(super) struct Transcript {
    /// What is random in it and known beforehand.
    pub(super) known: Known,
    /// The channels under their names.
    pub(super) channels: BTreeMap<String, Channel>,
    /// What somebody was told who may not know of it at all, whatever is hidden in the game.
    pub(super) breaches: Channel,
}

/// Where two games that must look the same do not.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The pair's number.
    pub pair: usize,
    /// The run's seed.
    pub seed: u64,
    /// Where: the channel, and what was sent.
    pub place: String,
    /// The same place in both games, around the first byte that differs.
    pub shown: [String; 2],
    /// What happened in both games.
    pub told: [String; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "pair {} of seed {}: {}",
            self.pair, self.seed, self.place
        )?;
        for (game, (shown, told)) in ["A", "B"].iter().zip(self.shown.iter().zip(&self.told)) {
            writeln!(f, "  {game}: … {shown} …")?;
            writeln!(f, "     {told}")?;
        }
        write!(
            f,
            "  again: cargo xtask gate --seed {} --only {}",
            self.seed, self.pair
        )
    }
}

/// The first difference, and the cursors of both games in the order in which they came. Of games
/// that were not played to the end, only what both have is compared.
pub(super) fn compare(
    seed: u64,
    pair: &Pair,
    transcripts: &[Transcript; 2],
    to_the_end: bool,
) -> (Option<Difference>, [Vec<String>; 2]) {
    let difference = |place: String, shown: [String; 2]| Difference {
        pair: pair.nth,
        seed,
        place,
        shown,
        told: [pair.told(0), pair.told(1)],
    };
    let mut cursors = [Cursors::default(), Cursors::default()];
    let breach = transcripts.iter().filter_map(|game| game.breaches.first());
    let mut first = breach.min_by_key(|breach| &breach.what).map(|breach| {
        let shown = [0, 1].map(|which: usize| match transcripts[which].breaches.first() {
            Some(breach) => breach.text.chars().take(4 * CONTEXT_BYTES).collect(),
            None => "nothing".to_owned(),
        });
        difference(breach.what.clone(), shown)
    });
    for (name, one) in &transcripts[0].channels {
        let none = Channel::new();
        let other = match transcripts[1].channels.get(name) {
            None if name.ends_with(RACED) => continue,
            other => other.unwrap_or(&none),
        };
        if to_the_end && one.len() != other.len() && first.is_none() {
            let counts = [one, other].map(|channel| {
                let kinds: Vec<&str> = channel.iter().map(|entry| entry.what.as_str()).collect();
                format!("{} in all: {}", kinds.len(), kinds.join(", "))
            });
            first = Some(difference(format!("{name}, how much was sent"), counts));
        }
        for (at, (a, b)) in one.iter().zip(other).enumerate() {
            // Where one game has ended and the other goes on, they are about different things.
            if !to_the_end && a.what != b.what {
                break;
            }
            let [known_a, known_b] = [0, 1].map(|which: usize| &transcripts[which].known);
            let a_text = normalise(&a.text, known_a, &mut cursors[0]);
            let b_text = normalise(&b.text, known_b, &mut cursors[1]);
            if first.is_none() && a_text != b_text {
                let place = format!("{name}, entry {at} ({})", a.what);
                first = Some(difference(place, around(&a_text, &b_text)));
            }
        }
    }
    (first, cursors.map(Cursors::into_list))
}

/// Both texts around their first difference; of two answers, their bodies if these differ, since
/// the header with their length says little.
fn around(one: &str, other: &str) -> [String; 2] {
    let bodies = one.split_once("\r\n\r\n").zip(other.split_once("\r\n\r\n"));
    let (one, other) = match bodies {
        Some(((_, one), (_, other))) if one != other => (one, other),
        _ => (one, other),
    };
    let same = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    [one, other].map(|text| {
        let from = same.saturating_sub(CONTEXT_BYTES);
        let to = (same + CONTEXT_BYTES).min(text.len());
        String::from_utf8_lossy(&text.as_bytes()[from.min(to)..to]).replace('\n', "⏎")
    })
}
