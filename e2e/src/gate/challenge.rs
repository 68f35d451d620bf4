//! A challenge that is none of the viewers' business: in the one game it is made, in the other it is
//! not, and everyone asks for it by its id and its code, which they could not know.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use rand::RngExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::play::{Cast, Table};
use super::transcript::Entry;
use super::viewer::Viewer;
use super::wire::{Asked, EventStream, ask};
use crate::client::{Answered, Api, NewGame, new_id};

/// Of so many pairs, one is played beside a challenge.
const CHALLENGED_OF: usize = 3;
/// What codes are made of, and how many characters of it.
const CODE_ALPHABET: &[u8] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
const CODE_CHARS: usize = 8;

/// What everyone asks of it.
const LOOKS: [&str; 6] = [
    "",
    "/digest",
    "/events",
    "/events?wait_ms=1",
    "/stream",
    "/record",
];

/// A challenge, or what one would look like.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    /// The id of the game that it is.
    pub(super) game: String,
    code: String,
    is_made: bool,
    /// Whether the one who was challenged ends it.
    is_declined: bool,
}

impl Cast {
    /// Lets the opponent challenge somebody, in one of the two games of some pairs.
    pub(super) async fn challenge(&self, nth: usize, which: usize) -> Result<Option<Challenge>> {
        if !nth.is_multiple_of(CHALLENGED_OF) {
            return Ok(None);
        }
        // Not always in the same one, nor always as visible or ended by the same.
        let turn = nth / CHALLENGED_OF;
        let is_made = turn % 2 == which;
        let (game, code) = if is_made {
            let wanted = NewGame {
                visibility: ["public", "private"][turn / 2 % 2],
                opponent: Some(self.rival.player_id),
                ..NewGame::default()
            };
            let api = Api::new(&self.gateways[turn % 2]);
            let made = api.create_game(&self.opponent, &wanted).await?;
            let code = made.code.context("who makes a game is told its code")?;
            (made.id.to_string(), code)
        } else {
            (new_id().to_string(), made_up_code())
        };
        Ok(Some(Challenge {
            game,
            code,
            is_made,
            is_declined: (turn / 4).is_multiple_of(2),
        }))
    }
}

fn made_up_code() -> String {
    let mut random = rand::rng();
    (0..CODE_CHARS)
        .map(|_| char::from(CODE_ALPHABET[random.random_range(0..CODE_ALPHABET.len())]))
        .collect()
}

impl Table<'_> {
    /// Everyone asks for the challenge that there may be.
    pub(super) async fn ask_for_challenge(&mut self) -> Result<()> {
        let Some(challenge) = self.challenge.clone() else {
            return Ok(());
        };
        let everyone = self.player.iter_mut().chain(&mut self.public);
        try_join_all(everyone.map(|viewer| viewer.ask_for(&challenge))).await?;
        Ok(())
    }

    /// The challenge is declined or withdrawn, and everyone asks once more.
    pub(super) async fn end_challenge(&mut self) -> Result<()> {
        let Some(challenge) = self.challenge.clone() else {
            return Ok(());
        };
        if challenge.is_made {
            let by = if challenge.is_declined {
                &self.cast.rival
            } else {
                &self.cast.opponent
            };
            let path = format!("/v1/games/{}/commands", challenge.game);
            let command = json!({"command_id": new_id(), "action": {"type": "abort"}});
            let ended: Answered<Value> = Api::new(&self.cast.gateways[0])
                .call(Method::POST, &path, Some(by), Some(&command))
                .await?;
            drop(ended);
        }
        self.ask_for_challenge().await?;
        for looker in self.player.iter_mut().chain(&mut self.public[2..]) {
            looker.ask_lists("aborted").await?;
        }
        Ok(())
    }
}

impl Viewer {
    /// Asks for it in every way, with its code and without.
    async fn ask_for(&mut self, challenge: &Challenge) -> Result<()> {
        let Challenge { game, code, .. } = challenge;
        for (nth, call) in LOOKS.iter().enumerate() {
            let joint = if call.contains('?') { '&' } else { '?' };
            for with_code in ["", &format!("{joint}code={code}")] {
                let path = format!("/v1/games/{game}{call}{with_code}");
                let what = format!("GET {{challenge}}{call}");
                self.ask_elsewhere(nth % 2, "GET", &path, None, what)
                    .await?;
            }
        }
        let command = json!({"command_id": new_id(), "action": {"type": "abort"}});
        for (path, body) in [
            (format!("/v1/games/{game}/join"), None),
            ("/v1/join".to_owned(), Some(&json!({ "code": code }))),
            (format!("/v1/games/{game}/commands"), Some(&command)),
        ] {
            let what = format!("POST {}", path.replace(game.as_str(), "{challenge}"));
            self.ask_elsewhere(0, "POST", &path, body, what).await?;
        }
        let topic = format!("game:{game}");
        let subscribe = json!({"type": "subscribe", "ref": "elsewhere", "topic": topic});
        let mut with_code = subscribe.clone();
        with_code["code"] = json!(code);
        let mut command = command;
        command["type"] = json!("command");
        command["ref"] = json!("elsewhere");
        command["game"] = json!(game);
        let Some(socket) = self.sockets.iter_mut().flatten().next() else {
            return Ok(());
        };
        for message in [subscribe, with_code, command] {
            socket.say(&message).await?;
            socket.until_answer("elsewhere").await?;
        }
        Ok(())
    }

    async fn ask_elsewhere(
        &mut self,
        at: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
        what: String,
    ) -> Result<()> {
        let asked = Asked {
            address: &self.gateways[at],
            method,
            path,
            token: self.token(),
            body: body.map(Value::to_string),
        };
        // Of a stream that is not refused only the head is waited for.
        let text = if path.contains("/stream") {
            EventStream::open(&asked).await?.head
        } else {
            ask(&asked).await?
        };
        self.http.push(Entry { what, text });
        Ok(())
    }
}
