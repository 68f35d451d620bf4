//! The end of a game, and what everyone asks afterwards.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use serde_json::json;

use super::pair::{Fall, Way};
use super::play::Table;
use super::viewer::Viewer;
use crate::client::new_id;
use crate::client::protocol::Side;

/// `GET` calls that everyone makes after the end, at one gateway and at the other in turn.
const LOOKS_AFTERWARDS: [&str; 6] = [
    "",
    "/record",
    "/digest",
    "/events?limit=500",
    "/pgn",
    "/events?limit=2",
];

impl Table<'_> {
    /// Whoever is to move has no time left.
    pub(super) async fn fall(&mut self, fall: &Fall) -> Result<()> {
        self.cast.clockwork.run_out(&self.game).await?;
        let mut command = json!({"command_id": new_id(), "at": self.n});
        match fall {
            Fall::ByItself => {}
            Fall::Asked => {
                // Refused if a gateway has found out by itself.
                let by = self.pair.seat().map_or(Side::White, Side::other);
                let _ = self.hidden(by, &json!({"type": "flag"})).await;
            }
            Fall::Claimed => {
                command["action"] = json!({"type": "flag"});
                let at = self.which_gateway();
                let player = self.player.as_mut().context("the public has no commands")?;
                player.claim(at, &command).await?;
            }
            Fall::Late(action) => {
                command["action"] = action.clone();
                self.own(&command, Way::Post).await?;
            }
        }
        self.n += 1;
        self.all_until_frame().await
    }

    /// Everyone reads the game once more, from an early cursor on and from the beginning, and tries
    /// what is too late.
    pub(super) async fn after(&mut self) -> Result<()> {
        let n = self.n;
        let of_player = self.player.as_ref().and_then(Viewer::early_cursor);
        let of_public = self.public[0].early_cursor();
        let everyone = self.player.iter_mut().chain(&mut self.public);
        let reads = everyone.map(|viewer| async move {
            for (nth, call) in LOOKS_AFTERWARDS.iter().enumerate() {
                viewer.ask(nth % 2, "GET", call, None).await?;
            }
            if let (Some(early), Some(last)) = (viewer.early_cursor(), viewer.cursor()) {
                let early = format!("/events?after={early}");
                viewer.ask(1, "GET", &early, None).await?;
                let last = format!("/events?after={last}&wait_ms=1");
                viewer.ask(0, "GET", &last, None).await?;
            }
            viewer.listen_again(n).await?;
            viewer.subscribe_again(n).await?;
            viewer.ask(1, "POST", "/join", None).await?;
            let command = json!({"command_id": new_id(), "at": n, "action": {"type": "resign"}});
            viewer.ask(0, "POST", "/commands", Some(&command)).await?;
            anyhow::Ok(())
        });
        try_join_all(reads).await?;
        if let (Some(player), Some(cursor)) = (&mut self.player, of_public) {
            let call = format!("/events?after={cursor}");
            player.ask(1, "GET", &call, None).await?;
        }
        for (viewer, cursor) in self.public.iter_mut().zip(std::iter::repeat(of_player)) {
            if let Some(cursor) = cursor {
                for call in ["/events", "/stream"] {
                    let call = format!("{call}?after={cursor}");
                    viewer.ask(0, "GET", &call, None).await?;
                }
            }
        }
        for looker in self.player.iter_mut().chain(&mut self.public[2..]) {
            looker.ask_lists("finished").await?;
        }
        self.too_late().await
    }

    /// What the player tries when the game has ended, and the last command that was in time, again.
    async fn too_late(&mut self) -> Result<()> {
        let Some(player) = &mut self.player else {
            return Ok(());
        };
        player.ask_profile().await?;
        let actions = [
            json!({"type": "move", "uci": "e2e4"}),
            json!({"type": "flag"}),
            json!({"type": "accept_draw"}),
        ];
        for action in &actions {
            let command = json!({"command_id": new_id(), "action": action});
            self.own(&command, Way::Socket).await?;
            self.own(&command, Way::Post).await?;
        }
        if let Some(done) = self.done.clone() {
            self.own(&done, Way::Socket).await?;
            self.own(&done, Way::Post).await?;
        }
        Ok(())
    }
}
