//! What the database knows of the stream, and what a look at the stream means. Pure.

use uuid::Uuid;

/// The row of `outbox_identity`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The outbox, made by the migration.
    pub outbox: Uuid,
    /// When the stream was created, RFC 3339; `None` before it was first seen.
    pub stream_created: Option<String>,
    /// A position that the stream has surely reached.
    pub stream_last_seq: i64,
    /// Rises each time the stream is found to be *lost*.
    pub generation: i64,
}

/// What a look at the stream showed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sighting {
    /// When the stream was created, RFC 3339.
    pub created: String,
    /// Its last sequence.
    pub last_seq: i64,
}

impl Identity {
    /// Whether what is seen is not the stream that is known, or one that went back: it is *lost*.
    #[must_use]
    pub fn is_lost(&self, seen: &Sighting) -> bool {
        let other = self
            .stream_created
            .as_ref()
            .is_some_and(|created| *created != seen.created);
        other || seen.last_seq < self.stream_last_seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(created: Option<&str>, last_seq: i64) -> Identity {
        Identity {
            outbox: Uuid::nil(),
            stream_created: created.map(str::to_owned),
            stream_last_seq: last_seq,
            generation: 0,
        }
    }

    #[test]
    fn another_stream_and_one_that_went_back_are_lost() {
        let seen = Sighting {
            created: "b".to_owned(),
            last_seq: 7,
        };
        assert!(known(Some("a"), 7).is_lost(&seen));
        assert!(known(Some("b"), 8).is_lost(&seen));
        assert!(!known(Some("b"), 7).is_lost(&seen));
        assert!(!known(None, 0).is_lost(&seen));
    }
}
