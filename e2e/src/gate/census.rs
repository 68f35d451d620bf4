//! What the cursors of a whole run show to whoever compares them.
//!
//! A cursor is sealed together with its game's id, so that two games never share one, and the
//! comparison of two transcripts says nothing about what a cursor shows. Over many cursors it
//! can be seen: sealed bytes take every value equally often, and a number in clear does not.

/// Characters at the beginning that are the same in every cursor: the key's fingerprint, of two
/// bytes, reaches into the third.
const FINGERPRINT_CHARS: usize = 3;
/// Characters of a sealed cursor: 50 bytes. What stands behind them is not sealed.
const SEALED_CHARS: usize = 67;
/// Fewer cursors than this tell nothing.
pub(super) const CURSORS_MIN: usize = 300;
/// Bits of entropy of a character of base64 that is sealed: 6, less what a small count makes of
/// it. The last character of a cursor has four bits of data.
const SEALED_BITS_MIN: f64 = 5.2;
/// The same for the last character.
const LAST_BITS_MIN: f64 = 3.5;

/// The cursors of one pair: those of the two games beside each other.
#[derive(Clone, Debug)]
pub(super) struct PairCursors {
    pub(super) pair: usize,
    pub(super) of_games: [Vec<String>; 2],
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too few cursors to tell.
    TooFew(usize),
    /// All of them are sealed as a whole.
    Sealed(usize),
    /// Some characters are in clear, but do not differ between the games of any pair.
    InClear(Vec<usize>),
    /// Characters in clear differ between the games of this pair.
    Leak {
        /// The pair's number.
        pair: usize,
        /// Two cursors of the same place.
        cursors: [String; 2],
        /// Which characters of them are in clear.
        in_clear: Vec<usize>,
    },
}

/// Looks at all cursors of a run.
pub(super) fn judge(pairs: &[PairCursors]) -> Verdict {
    let all: Vec<&str> = pairs
        .iter()
        .flat_map(|pair| pair.of_games.iter().flatten())
        .map(String::as_str)
        .filter(|cursor| *cursor != "0")
        .collect();
    if all.len() < CURSORS_MIN {
        return Verdict::TooFew(all.len());
    }
    let length = all.iter().map(|cursor| cursor.len()).max().unwrap_or(0);
    let in_clear: Vec<usize> = (FINGERPRINT_CHARS..length)
        .filter(|at| {
            let is_last = at + 1 == SEALED_CHARS;
            let bits_min = if is_last {
                LAST_BITS_MIN
            } else {
                SEALED_BITS_MIN
            };
            *at >= SEALED_CHARS || entropy_bits(&all, *at) < bits_min
        })
        .collect();
    if in_clear.is_empty() {
        return Verdict::Sealed(all.len());
    }
    let shown = |cursor: &str| -> Vec<Option<u8>> {
        let bytes = cursor.as_bytes();
        in_clear.iter().map(|at| bytes.get(*at).copied()).collect()
    };
    for pair in pairs {
        let [one, other] = &pair.of_games;
        for (a, b) in one.iter().zip(other) {
            if shown(a) != shown(b) {
                return Verdict::Leak {
                    pair: pair.pair,
                    cursors: [a.clone(), b.clone()],
                    in_clear,
                };
            }
        }
    }
    Verdict::InClear(in_clear)
}

/// Fewer traces than this tell nothing.
const TRACES_MIN: usize = 200;
/// Bits of entropy of a hexadecimal digit that is random: 4, less what a small count makes of it.
const RANDOM_DIGIT_BITS_MIN: f64 = 3.7;
/// The same for one that has four values: both ids are made of a random UUID, whose variant it is.
const VARIANT_BITS_MIN: f64 = 1.8;
/// How a `traceparent` is written: `*` is random, `v` a variant, all else is the same in each.
const TRACEPARENT: &str = "00-************4***v***************-v***************-0.";
/// The same for the id alone.
const TRACE_ID: &str = "************4***v***************";

/// The traces of one game, which are random and so not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Traces {
    /// Of headers.
    parents: Vec<String>,
    /// Of answers to commands on a socket.
    ids: Vec<String>,
}

impl Traces {
    /// Takes in what an answer or a message says.
    pub(super) fn take(&mut self, text: &str) {
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let lines = head.split("\r\n");
            let parents = lines.filter_map(|line| line.strip_prefix("traceparent: "));
            self.parents.extend(parents.map(str::to_owned));
        }
        let id = text.split_once("\"trace_id\":\"");
        if let Some((id, _)) = id.and_then(|(_, after)| after.split_once('"')) {
            self.ids.push(id.to_owned());
        }
    }

    /// Takes in those of another game.
    pub(super) fn extend(&mut self, other: Self) {
        self.parents.extend(other.parents);
        self.ids.extend(other.ids);
    }

    /// What they show, if they are not random where they must be, or not the same elsewhere.
    pub(super) fn leak(&self) -> Option<String> {
        let form = [
            ("traceparent", &self.parents, TRACEPARENT),
            ("trace_id", &self.ids, TRACE_ID),
        ];
        form.into_iter().find_map(|(name, all, form)| {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let of_other_length = all.iter().find(|text| text.len() != form.len());
            if let Some(other) = of_other_length {
                return Some(format!("a {name} is {other}"));
            }
            if all.len() < TRACES_MIN {
                return None;
            }
            let wrong = form.bytes().enumerate().filter(|(at, kind)| {
                let bits = entropy_bits(&all, *at);
                match kind {
                    b'*' => bits < RANDOM_DIGIT_BITS_MIN,
                    b'v' => bits < VARIANT_BITS_MIN,
                    _ => bits > 0.0,
                }
            });
            let wrong: Vec<usize> = wrong.map(|(at, _)| at).collect();
            (!wrong.is_empty()).then(|| {
                format!(
                    "characters {wrong:?} of {name} are not as random as they must be, as in {}",
                    all[0]
                )
            })
        })
    }
}

/// Shannon's entropy of the characters at one place, in bits.
fn entropy_bits(texts: &[&str], at: usize) -> f64 {
    let mut counts = [0_u32; 256];
    for text in texts {
        let character = text.as_bytes().get(at).copied().unwrap_or_default();
        counts[usize::from(character)] += 1;
    }
    let total = texts.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0);
    shares
        .map(|count| f64::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Pairs of which game B has one event more, and what a cursor is made of it.
    fn pairs(cursor: impl Fn(&mut StdRng, u8) -> Vec<u8>) -> Vec<PairCursors> {
        let mut random = StdRng::seed_from_u64(3);
        let pairs = (0..24).map(|pair| PairCursors {
            pair,
            of_games: [0, 1].map(|more| {
                let cursors = (0..10).map(|n| {
                    let bytes = cursor(&mut random, n + more);
                    URL_SAFE_NO_PAD.encode(bytes)
                });
                cursors.collect()
            }),
        });
        pairs.collect()
    }

    fn sealed(random: &mut StdRng) -> Vec<u8> {
        let mut bytes = vec![7, 7];
        bytes.extend((0..48).map(|_| random.random::<u8>()));
        bytes
    }

    #[test]
    fn sealed_cursors_show_nothing() {
        let verdict = judge(&pairs(|random, _| sealed(random)));
        assert_eq!(verdict, Verdict::Sealed(480));
    }

    #[test]
    fn a_number_in_clear_is_found_wherever_it_stands() {
        for place in [2, 20, 49] {
            let verdict = judge(&pairs(|random, seq| {
                let mut bytes = sealed(random);
                bytes[place] = seq;
                bytes
            }));
            assert!(
                matches!(verdict, Verdict::Leak { pair: 0, .. }),
                "{place}: {verdict:?}"
            );
        }
    }

    /// Traces of 300 commands, changed on their way.
    fn traces(change: impl Fn(u8, String) -> String) -> Traces {
        let mut random = StdRng::seed_from_u64(3);
        let mut traces = Traces::default();
        for nth in 0..300_u32 {
            let id = uuid::Builder::from_random_bytes(random.random()).into_uuid();
            let span = uuid::Builder::from_random_bytes(random.random()).into_uuid();
            let few = u8::try_from(nth % 11).expect("small");
            let (id, span) = (
                change(few, id.simple().to_string()),
                span.simple().to_string(),
            );
            let span = &span[16..];
            traces.take(&format!(
                "HTTP/1.1 200 OK\r\ntraceparent: 00-{id}-{span}-01\r\n\r\n{{\"trace_id\":\"{id}\"}}"
            ));
        }
        traces
    }

    #[test]
    fn a_trace_that_carries_a_number_is_found() {
        assert_eq!(traces(|_, id| id).leak(), None);
        for digits in [1, 2, 8] {
            let leak = traces(|few, id| format!("{}{few:0digits$x}", &id[..32 - digits])).leak();
            assert!(leak.is_some(), "{digits} digits");
        }
        assert!(traces(|few, id| format!("{id}{few:x}")).leak().is_some());
    }

    #[test]
    fn what_is_in_clear_and_the_same_in_both_games_is_no_leak() {
        let verdict = judge(&pairs(|random, _| {
            let mut bytes = sealed(random);
            // Four whole characters.
            bytes[30..33].fill(5);
            bytes
        }));
        assert!(matches!(verdict, Verdict::InClear(_)), "{verdict:?}");
    }
}
