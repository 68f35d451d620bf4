//! Version numbers, as far as "new enough" needs them.

use std::fmt;

/// A major and a minor version number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// What stands before the first dot.
    pub major: u32,
    /// What stands after it; 0 where nothing does.
    pub minor: u32,
}

impl Version {
    /// A version number.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The first version number in what a program says of itself: `nats-server: v2.15.1`,
    /// `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`.
    #[must_use]
    pub fn find_in(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.strip_prefix('v').unwrap_or(word);
        let (major, rest) = leading_number(word)?;
        let minor = rest
            .strip_prefix('.')
            .and_then(leading_number)
            .map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn reads_what_the_programs_say() {
        for (said, expected) in [
            ("nats-server: v2.15.1", Some(Version::new(2, 15))),
            ("nats-server: v2.9.10\n", Some(Version::new(2, 9))),
            (
                "postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)",
                Some(Version::new(15, 8)),
            ),
            ("postgres (PostgreSQL) 18beta1", Some(Version::new(18, 0))),
            ("postgres (PostgreSQL) 16", Some(Version::new(16, 0))),
            ("usage: nothing", None),
        ] {
            assert_eq!(Version::find_in(said), expected, "{said}");
        }
    }

    #[test]
    fn compares_by_number_and_not_by_text() {
        assert!(Version::new(2, 9) < Version::new(2, 12));
        assert!(Version::new(15, 0) > Version::new(9, 6));
    }
}
