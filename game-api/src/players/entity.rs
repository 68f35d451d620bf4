//! A player: a name that others see, and a secret of which only a hash is kept. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use shared::ids::PlayerId;
use shared::outbox::NewEvent;
use shared::subjects;
use shared::telemetry::Carrier;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::problem::{Problem, Reason};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 40;
/// Of randomness in a secret: it cannot be guessed, so a fast hash of it is enough.
const SECRET_BYTES: usize = 32;
/// A secret as sent is never longer; what is longer is not hashed.
const SECRET_CHARS_MAX: usize = 128;

/// A name as others see it: 1 to 40 characters, without white space around it, without control
/// characters and without those that turn the direction of the text around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerName(String);

impl PlayerName {
    /// The name that `text` gives.
    ///
    /// # Errors
    /// `invalid` with a sentence.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let name = text.trim();
        let length = name.chars().count();
        if length == 0 || length > NAME_CHARS_MAX {
            let detail = format!("a name has 1 to {NAME_CHARS_MAX} characters");
            return Err(Problem::new(Reason::Invalid, detail));
        }
        if name.chars().any(|c| c.is_control() || turns_text(c)) {
            let detail = "a name has no control characters";
            return Err(Problem::new(Reason::Invalid, detail));
        }
        Ok(Self(name.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The explicit directional characters of Unicode Standard Annex 9.
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The proof of being a player, shown once. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new secret from random bytes.
    #[must_use]
    pub fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// For the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the database keeps.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

/// SHA-256 of a secret's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// Of what somebody claims to be a secret. `None` if it is far too long to be one.
    #[must_use]
    pub fn of_claim(text: &str) -> Option<Self> {
        (text.len() <= SECRET_CHARS_MAX).then(|| Self(Sha256::digest(text.as_bytes()).into()))
    }
}

/// A player as kept.
#[derive(Clone, Debug)]
pub struct Player {
    /// The id.
    pub id: PlayerId,
    /// The name that others see.
    pub name: String,
    /// How many events there are of this player.
    pub seq: i64,
    /// When the player registered.
    pub created_at: OffsetDateTime,
    /// When the last event was recorded.
    pub updated_at: OffsetDateTime,
}

impl Player {
    /// The `player` object of the protocol: `{id, name, created_at, ratings}`.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut player = Map::new();
        player.insert("id".to_owned(), json!(self.id));
        player.insert("name".to_owned(), json!(self.name));
        player.insert(
            "created_at".to_owned(),
            json!(self.created_at.format(&Rfc3339).ok()),
        );
        // Ratings by pool; none are kept yet.
        player.insert("ratings".to_owned(), json!({}));
        player
    }

    /// What is published of the change that led here.
    #[must_use]
    pub fn event(&self, change: Change, carrier: Carrier) -> NewEvent {
        NewEvent {
            key: subjects::player_key(self.id),
            subject: subjects::player(self.id),
            event_type: change.event_type().to_owned(),
            payload: json!({
                "player_id": self.id,
                "seq": self.seq,
                "name": self.name,
                "at_ms": self.updated_at.unix_timestamp_nanos() / 1_000_000,
            }),
            carrier,
        }
    }
}

/// What happened to a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a new player.
    Registered,
    /// The name is another one.
    Updated,
}

impl Change {
    const fn event_type(self) -> &'static str {
        match self {
            Self::Registered => "fogline.player.registered.v1",
            Self::Updated => "fogline.player.updated.v1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_counted_in_characters() {
        assert_eq!(PlayerName::parse("  Ada \n").unwrap().as_str(), "Ada");
        assert_eq!(
            PlayerName::parse(&"é".repeat(40)).unwrap().as_str().len(),
            80
        );
        let family = "👩\u{200d}👧";
        assert!(PlayerName::parse(family).is_ok(), "joiners make emoji");
    }

    #[test]
    fn names_that_cannot_be_shown_are_invalid() {
        let long = "x".repeat(41);
        for bad in ["", "   ", &long, "a\0b", "a\nb", "a\u{7f}", "a\u{202e}b"] {
            let problem = PlayerName::parse(bad).unwrap_err();
            assert_eq!(problem.reason, Reason::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn a_claimed_secret_has_the_hash_of_the_secret() {
        let secret = Secret::new([7; SECRET_BYTES]);
        assert_eq!(SecretHash::of_claim(secret.expose()), Some(secret.hash()));
        assert_ne!(SecretHash::of_claim("another"), Some(secret.hash()));
        assert_eq!(SecretHash::of_claim(&"x".repeat(1000)), None);
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
