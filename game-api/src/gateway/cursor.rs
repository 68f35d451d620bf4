//! Cursors: what a client shows to go on where it was, at any gateway.
//!
//! Opaque, authenticated and encrypted, and of one length: a cursor carries its game, its view
//! class, the projection's epoch and `n`, and tells its holder none of it. Sealing is
//! deterministic, so that every gateway hands out the same cursor for the same frame.

use std::sync::Arc;

use shared::ids::GameId;

use crate::keys::{Keys, OpenError, Purpose};
use crate::mutants;
use crate::rules::ViewClass;

/// The projection's version. It goes up when the numbering of some class of a stored game changes,
/// since a cursor of the old numbering would then skip or repeat frames.
pub const PROJECTION_EPOCH: u32 = 1;

/// The cursor that stands before a game's first frame.
pub const START: &str = "0";

/// Game (16), class (1), epoch (4), n (8).
const PLAINTEXT_BYTES: usize = 29;

/// Where a cursor says its holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The holder has seen frame `n` and all before it.
    At(i64),
    /// The holder has seen nothing and wants everything.
    Start,
    /// The cursor is of another epoch or of a retired key: only a snapshot helps.
    Reset,
}

/// A cursor that is false, or another game's or another class's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one of this game and this viewer")]
pub struct FalseCursor;

/// Seals and opens cursors.
#[derive(Clone, Debug)]
pub struct Cursors {
    keys: Arc<Keys>,
    epoch: u32,
}

impl Cursors {
    /// Cursors of the present epoch, under the deployment's keys.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            epoch: PROJECTION_EPOCH,
        }
    }

    /// Cursors of another epoch, as an older or newer release makes them.
    #[must_use]
    pub fn of_epoch(keys: Arc<Keys>, epoch: u32) -> Self {
        Self { keys, epoch }
    }

    /// The cursor of the viewers of `class` who have seen frame `n`.
    #[must_use]
    pub fn seal(&self, game: GameId, class: ViewClass, n: i64) -> String {
        let mut plaintext = [0; PLAINTEXT_BYTES];
        plaintext[..16].copy_from_slice(game.0.as_bytes());
        plaintext[16] = class_byte(class);
        plaintext[17..21].copy_from_slice(&self.epoch.to_be_bytes());
        plaintext[21..].copy_from_slice(&n.to_be_bytes());
        self.keys.seal(Purpose::Cursor, &plaintext)
    }

    /// Reads the cursor of a viewer of `class`.
    ///
    /// # Errors
    /// [`FalseCursor`] for what was not sealed here for this game and this class.
    pub fn parse(
        &self,
        token: &str,
        game: GameId,
        class: ViewClass,
    ) -> Result<Position, FalseCursor> {
        if token == START {
            return Ok(Position::Start);
        }
        let plaintext = match self.keys.open(Purpose::Cursor, mutants::bare_cursor(token)) {
            Ok(plaintext) => plaintext,
            Err(OpenError::UnknownKey) => return Ok(Position::Reset),
            Err(OpenError::False) => return Err(FalseCursor),
        };
        let plaintext: [u8; PLAINTEXT_BYTES] = plaintext.try_into().map_err(|_| FalseCursor)?;
        if plaintext[..16] != game.0.as_bytes()[..] || plaintext[16] != class_byte(class) {
            return Err(FalseCursor);
        }
        if plaintext[17..21] != self.epoch.to_be_bytes() {
            return Ok(Position::Reset);
        }
        let n: [u8; 8] = plaintext[21..].try_into().map_err(|_| FalseCursor)?;
        Ok(Position::At(i64::from_be_bytes(n)))
    }
}

/// Part of the format: never changed.
const fn class_byte(class: ViewClass) -> u8 {
    match class {
        ViewClass::White => 0,
        ViewClass::Black => 1,
        ViewClass::Public => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(Arc::new(Keys::new([7; 32], &[])))
    }

    fn game(id: u128) -> GameId {
        GameId(Uuid::from_u128(id))
    }

    fn any_class() -> impl Strategy<Value = ViewClass> {
        prop::sample::select(ViewClass::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_place_and_has_one_length(
            id: u128, class in any_class(), n in 0_i64..i64::MAX,
        ) {
            let token = cursors().seal(game(id), class, n);
            prop_assert_eq!(cursors().parse(&token, game(id), class), Ok(Position::At(n)));
            prop_assert_eq!(token.len(), cursors().seal(game(1), ViewClass::White, 1).len());
            prop_assert_eq!(&token, &cursors().seal(game(id), class, n));
        }

        #[test]
        fn a_cursor_is_good_for_its_own_game_and_class_alone(
            id: u128, other: u128, class in any_class(), other_class in any_class(), n in 0_i64..1000,
        ) {
            prop_assume!(id != other || class != other_class);
            let token = cursors().seal(game(id), class, n);
            prop_assert_eq!(cursors().parse(&token, game(other), other_class), Err(FalseCursor));
        }

        #[test]
        fn a_cursor_with_any_character_changed_is_false_or_of_no_known_key(
            n in 0_i64..1000, at in 0_usize..60, to in "[A-Za-z0-9_-]",
        ) {
            let token = cursors().seal(game(5), ViewClass::Black, n);
            let mut forged = token.clone();
            forged.replace_range(at..=at, &to);
            prop_assume!(forged != token);
            prop_assert_eq!(cursors().parse(&forged, game(5), ViewClass::Black), Err(FalseCursor));
        }

        #[test]
        fn whatever_a_client_sends_is_judged_without_a_panic(text in ".{0,600}") {
            let _ = cursors().parse(&text, game(5), ViewClass::Black);
        }
    }

    #[test]
    fn another_epoch_and_a_retired_key_mean_a_reset() {
        let keys = Arc::new(Keys::new([7; 32], &[]));
        let old = Cursors::of_epoch(keys, PROJECTION_EPOCH - 1).seal(game(5), ViewClass::White, 3);
        assert_eq!(
            cursors().parse(&old, game(5), ViewClass::White),
            Ok(Position::Reset)
        );
        let retired = Cursors::new(Arc::new(Keys::new([8; 32], &[])));
        let retired = retired.seal(game(5), ViewClass::White, 3);
        assert_eq!(
            cursors().parse(&retired, game(5), ViewClass::White),
            Ok(Position::Reset)
        );
    }

    #[test]
    fn another_games_cursor_of_an_old_epoch_is_false_all_the_same() {
        let keys = Arc::new(Keys::new([7; 32], &[]));
        let old = Cursors::of_epoch(keys, PROJECTION_EPOCH - 1).seal(game(6), ViewClass::White, 3);
        assert_eq!(
            cursors().parse(&old, game(5), ViewClass::White),
            Err(FalseCursor)
        );
    }

    #[test]
    fn zero_is_the_start() {
        assert_eq!(
            cursors().parse(START, game(5), ViewClass::Public),
            Ok(Position::Start)
        );
    }
}
