//! Typed ids. Each is a UUIDv7 (RFC 9562) under a name of its own, so that one cannot be passed
//! for another.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// A UUID in its usual form alone: `Uuid` itself also takes braces, URNs and bare digits.
pub(crate) fn hyphenated(text: &str) -> Option<Uuid> {
    const HYPHENATED_CHARS: usize = 36;
    (text.len() == HYPHENATED_CHARS)
        .then(|| text.parse().ok())
        .flatten()
}

/// Reads an id in its usual form, without a copy of its text.
struct IdText;

impl Visitor<'_> for IdText {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID in its usual form of 36 characters")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Uuid, E> {
        hyphenated(text)
            .ok_or_else(|| E::custom("an id must be a UUID in its usual form of 36 characters"))
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, time-ordered by this machine's clock (no rule depends on that clock).
            #[must_use]
            #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdText).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

typed_id!(
    /// A player.
    PlayerId
);
typed_id!(
    /// A game, the aggregate of this service.
    GameId
);
typed_id!(
    /// An event: `ce-id` on the stream, what consumers de-duplicate on.
    EventId
);
typed_id!(
    /// A client's name for one command; sent again, it is the same command.
    CommandId
);
