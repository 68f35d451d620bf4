//! Which event of its game a message is, read without reading the rest of it.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use shared::ids::GameId;

use crate::games::entity::Seq;

/// The sequence number of the event that a message holds; none if it is no event of `game`. The rest
/// of the message may be anything.
pub(super) fn peek(payload: &[u8], game: GameId) -> Option<Seq> {
    let mut head = Head {
        game: None,
        seq: None,
    };
    // Stopping in the middle of an object is an error to the parser; what was found counts.
    let _ = serde_json::Deserializer::from_slice(payload).deserialize_map(&mut head);
    head.seq.filter(|_| head.game == Some(game))
}

#[derive(Debug)]
struct Head {
    game: Option<GameId>,
    seq: Option<Seq>,
}

impl<'de> Visitor<'de> for &mut Head {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<&str>()? {
            match name {
                "game_id" => self.game = Some(members.next_value()?),
                "seq" => self.seq = Some(members.next_value()?),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
            if self.game.is_some() && self.seq.is_some() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_number_is_found_wherever_it_stands() {
        let game = GameId(Uuid::from_u128(5));
        for text in [
            format!(r#"{{"game_id" : "{game}", "seq" : 7, "data" : {{"scene": 1}}}}"#),
            format!(r#"{{"kind":"moved","seq":7,"n":[1,2],"game_id":"{game}"}}"#),
            // What follows is not looked at.
            format!(r#"{{"game_id":"{game}","seq":7,"#),
        ] {
            assert_eq!(peek(text.as_bytes(), game), Some(Seq(7)), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_of_the_game_has_none() {
        let (game, other) = (GameId(Uuid::from_u128(5)), GameId(Uuid::from_u128(6)));
        for text in [
            json!({"game_id": other, "seq": 7}).to_string(),
            json!({"game_id": game, "seq": "7"}).to_string(),
            json!({"game_id": game}).to_string(),
            json!({"seq": 7}).to_string(),
            json!([game, 7]).to_string(),
            String::new(),
            "\u{0}".to_owned(),
        ] {
            assert_eq!(peek(text.as_bytes(), game), None, "{text}");
        }
    }
}
