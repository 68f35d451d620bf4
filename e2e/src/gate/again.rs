//! What a viewer asks beside the game itself, and once more when it has ended.

use anyhow::{Context, Result};
use serde_json::Value;

use super::attended::Attended;
use super::boards;
use super::transcript::Entry;
use super::viewer::{Viewer, number_of};
use super::wire::{Asked, EventStream, ask};

impl Viewer {
    /// Asks for the list of games of a status, where it begins with this game, and for what is said
    /// of all games together.
    pub(super) async fn ask_lists(&mut self, status: &str) -> Result<()> {
        let Attended { game, made_us, .. } = &self.game;
        // Those of other pairs that were made in the same moment stand beside it.
        let from = format!("{}.{game}", made_us + 1);
        let list = format!("/v1/games?status={status}&limit=20&cursor={from}");
        for (path, what) in [(list.as_str(), "a list"), ("/v1/stats", "what is counted")] {
            let asked = Asked {
                address: &self.gateways[usize::from(status == "active")],
                method: "GET",
                path,
                token: self.token(),
                body: None,
            };
            let text = ask(&asked).await?;
            self.breaches_of(what, &text);
            if path == list
                && let Some(cursor) = boards::leads_elsewhere(&text)?
            {
                self.breach("where a list goes on, and more", cursor);
            }
            let text = if path == list {
                boards::listed(&text, &self.game.game)?
            } else {
                boards::counted(&text)?
            };
            let what = format!("{what} of {status} games");
            self.http.push(Entry { what, text });
        }
        Ok(())
    }

    /// Asks for what the player is told of themselves.
    pub(super) async fn ask_profile(&mut self) -> Result<()> {
        let asked = Asked {
            address: &self.gateways[0],
            method: "GET",
            path: "/v1/players/me",
            token: self.token(),
            body: None,
        };
        let text = ask(&asked).await?;
        self.http.push(Entry {
            what: "the profile".to_owned(),
            text,
        });
        Ok(())
    }

    /// Says that the running clock has run out. Whether this ends the game, or something else did
    /// before, is decided by the clock; what it is told is compared if it did in both games.
    pub(super) async fn claim(&mut self, at: usize, command: &Value) -> Result<()> {
        let text = self.ask(at, "POST", "/commands", Some(command)).await?;
        let claim = self.http.pop();
        if text.starts_with("HTTP/1.1 200 ") {
            self.raced.extend(claim);
        }
        Ok(())
    }

    /// Reads the stream once more, at the first gateway from an early frame on, until frame `n`.
    pub(super) async fn listen_again(&mut self, n: u64) -> Result<()> {
        let Some(early) = self.early_cursor().filter(|_| !self.game.is_hidden) else {
            self.ask(0, "GET", "/stream", None).await?;
            return Ok(());
        };
        let path = self.path(&format!("/stream?after={early}"));
        let asked = Asked {
            address: &self.gateways[0],
            method: "GET",
            path: &path,
            token: self.token(),
            body: None,
        };
        let mut stream = EventStream::open(&asked).await?;
        let mut channel = vec![Entry {
            what: "the head of the stream afterwards".to_owned(),
            text: stream.head.clone(),
        }];
        // Refused only if the cursor is not what it was.
        let is_open = stream.head.starts_with("HTTP/1.1 200 ");
        let mut latest = if is_open { 0 } else { n };
        while latest < n {
            let what = format!("frame {n} of {}'s stream afterwards", self.name);
            let text = stream.next().await.context(what)?;
            latest = number_of(&text)?;
            channel.push(Entry {
                what: "an event of the stream afterwards".to_owned(),
                text,
            });
        }
        self.http.extend(channel);
        Ok(())
    }

    /// Subscribes anew on a socket that is open, from an early frame on and then without a cursor,
    /// and each time reads until frame `n`.
    pub(super) async fn subscribe_again(&mut self, n: u64) -> Result<()> {
        let Some(at) = self.sockets.iter().position(Option::is_some) else {
            return Ok(());
        };
        for place in [self.early.clone(), None] {
            if self.subscribe(at, place.as_ref()).await? {
                self.until_frame(n).await?;
            }
        }
        Ok(())
    }
}
