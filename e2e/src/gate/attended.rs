//! A game as one viewer attends it, and what that viewer may not be told of it in any case.

/// The game, and what a viewer knows of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attended {
    /// The game's id.
    pub(super) game: String,
    /// The code of a private game, if this viewer is to show it.
    pub(super) code: Option<String>,
    /// The code, whoever may know it.
    pub(super) secret: String,
    /// Whether the lobby may not know of the game.
    pub(super) is_private: bool,
    /// The game is hidden from this viewer.
    pub(super) is_hidden: bool,
    /// Whether this viewer plays.
    pub(super) has_seat: bool,
    /// When the game was made, microseconds since 1970.
    pub(super) made_us: i64,
    /// The id of a challenge that is others'.
    pub(super) challenge: Option<String>,
}

impl Attended {
    /// What a text tells this viewer that it may not know, whatever happens in the game.
    pub(super) fn breach(&self, text: &str) -> Option<&'static str> {
        let topic = |name| text.contains(&format!("\"topic\":\"{name}\""));
        let names_game = text.contains(&self.game);
        let challenge = self.challenge.as_ref();
        let names_challenge = challenge.is_some_and(|challenge| text.contains(challenge));
        let shows_code = !self.has_seat && text.contains(&self.secret);
        let told = [
            (names_game && self.is_hidden, "a game that is hidden"),
            (
                names_game && self.is_private && topic("lobby"),
                "a private game in the lobby",
            ),
            (
                names_game && !self.has_seat && topic("me"),
                "another's game among the own",
            ),
            (shows_code, "the code of another's game"),
            (names_challenge, "a challenge between others"),
        ];
        told.iter().find(|(told, _)| *told).map(|(_, what)| *what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_may_be_told_is_told_from_what_they_may() {
        let player = Attended {
            game: "the-game".to_owned(),
            secret: "ABCD2345".to_owned(),
            is_private: true,
            has_seat: true,
            challenge: Some("the-challenge".to_owned()),
            ..Attended::default()
        };
        let stranger = Attended {
            has_seat: false,
            is_hidden: true,
            ..player.clone()
        };
        let spectator = Attended {
            is_private: false,
            is_hidden: false,
            ..stranger.clone()
        };
        let lobby = r#"{"topic":"lobby","gone":["the-game"]}"#;
        let own = r#"{"topic":"me","games":[{"id":"the-game"}]}"#;
        let frame = r#"{"topic":"game:the-game"}"#;
        let code = r#"{"code":"ABCD2345"}"#;
        let challenge = r#"{"topic":"me","challenges":[{"id":"the-challenge"}]}"#;
        let texts = [lobby, own, frame, code, challenge];
        let told = |who: &Attended| texts.map(|text| who.breach(text).is_some());
        assert_eq!(told(&player), [true, false, false, false, true]);
        assert_eq!(told(&spectator), [false, true, false, true, true]);
        assert_eq!(told(&stranger), [true; 5]);
    }
}
