//! The shard of an aggregate's key: the relay's lease unit, and what Postgres can be distributed by.

use sha2::{Digest, Sha256};

/// How many shards there are. Fixed: rows carry their shard, and leases are one row a shard.
pub const SHARD_COUNT: i16 = 64;

/// A shard number, 0..64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Shard(i16);

impl Shard {
    /// The shard of an aggregate's key: the first byte of SHA-256 of its text, modulo 64. The SQL
    /// function `fogline_shard` is the same; a test compares the two.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        Self(i16::from(Sha256::digest(key.as_bytes())[0]) % SHARD_COUNT)
    }

    /// The shard of that number, if there is one.
    #[must_use]
    pub const fn new(number: i16) -> Option<Self> {
        if 0 <= number && number < SHARD_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All shards, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARD_COUNT).map(Self)
    }

    /// The number, as the database holds it.
    #[must_use]
    pub const fn number(self) -> i16 {
        self.0
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
