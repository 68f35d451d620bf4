//! Plays one game of a pair through the stack, and keeps all that its viewers are sent.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::attended::Attended;
use super::challenge::Challenge;
use super::clockwork::Clockwork;
use super::normalise::Known;
use super::pair::{At, Pair, Step, Way};
use super::reveal::Revealed;
use super::socket::Place;
use super::transcript::Transcript;
use super::viewer::{Gateways, Viewer};
use crate::client::protocol::{Side, ViewClass};
use crate::client::{Answered, Api, NewGame, Session, new_id};

/// `GET` calls that everyone makes at a look, each at both gateways.
const LOOKS: [&str; 6] = [
    "",
    "/digest",
    "/events?limit=3",
    "/events?limit=500",
    "/record",
    "/pgn",
];

/// Who has a game open without a seat in it at its end: two accounts, and somebody who is not
/// signed in over two sockets, who is not let into a private game.
const fn watching(pair: &Pair) -> u64 {
    if pair.is_private { 2 } else { 4 }
}

/// Accounts that play and look on; pairs take turns with them.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// The player that is not to notice anything, or White, where that is the public.
    viewer: Session,
    pub(super) opponent: Session,
    /// Whom the opponent challenges.
    pub(super) rival: Session,
    /// Who looks on: another account in each game, since nobody may be told who watches.
    outsiders: [Session; 2],
    /// The opponent's other account, also another in each game.
    seconds: [Session; 2],
    pub(super) gateways: Gateways,
    pub(super) clockwork: Clockwork,
}

impl Cast {
    /// Registers all accounts.
    pub(super) async fn register(gateways: &Gateways, clockwork: &Clockwork) -> Result<Self> {
        let api = Api::new(&gateways[0]);
        Ok(Self {
            viewer: api.register("Viewer").await?,
            opponent: api.register("Opponent").await?,
            rival: api.register("Rival").await?,
            outsiders: [
                api.register("Outsider").await?,
                api.register("Outsider").await?,
            ],
            seconds: [
                api.register("Opponent").await?,
                api.register("Opponent").await?,
            ],
            gateways: gateways.clone(),
            clockwork: clockwork.clone(),
        })
    }

    /// The player who is not to notice anything, if it is one, and everyone without a seat.
    fn viewers(&self, pair: &Pair, which: usize) -> (Option<Viewer>, Vec<Viewer>) {
        let viewer =
            |name, session: Option<&Session>| Viewer::new(name, session.cloned(), &self.gateways);
        let has_seat = pair.class != ViewClass::Public;
        let player = has_seat.then(|| viewer("the player", Some(&self.viewer)));
        let public = vec![
            viewer("a spectator", Some(&self.outsiders[which])),
            viewer("the opponent's other account", Some(&self.seconds[which])),
            viewer("anonymous", None),
        ];
        (player, public)
    }

    /// Plays game `which` of the pair, as far as it goes.
    pub(super) async fn play(&self, pair: &Pair, which: usize) -> Result<Played> {
        let mut table = Table::seat(self, pair, which).await?;
        let asked = table.ask_for_challenge().await;
        let mut failed = asked.err();
        for step in &pair.steps {
            if failed.is_some() {
                break;
            }
            if let Err(error) = table.step(step).await {
                let place = format!("pair {}, game {which}: {step:?}", pair.nth);
                failed = Some(error.context(place));
                break;
            }
        }
        if let (None, Err(error)) = (&failed, table.end_challenge().await) {
            failed = Some(error.context(format!("pair {}, the challenge's end", pair.nth)));
        }
        let watching = failed.is_none().then(|| watching(pair));
        let transcript = table.leave(watching).await?;
        Ok(Played { transcript, failed })
    }
}

/// A game that was played.
pub(super) struct Played {
    pub(super) transcript: Transcript,
    /// Why it did not go on.
    pub(super) failed: Option<anyhow::Error>,
}

/// A game that is being played.
pub(super) struct Table<'a> {
    pub(super) cast: &'a Cast,
    pub(super) pair: &'a Pair,
    which: usize,
    pub(super) game: String,
    known: Known,
    /// The number of the last frame that everyone got.
    pub(super) n: u64,
    /// The player who is not to notice anything, if it is one.
    pub(super) player: Option<Viewer>,
    /// Everyone without a seat.
    pub(super) public: Vec<Viewer>,
    /// Where the player's second socket was when it was cut.
    cut_at: Option<Place>,
    requests: usize,
    /// A challenge between others, or what one would look like.
    pub(super) challenge: Option<Challenge>,
    /// The player's last command that was carried out.
    pub(super) done: Option<Value>,
    /// How the game stands.
    status: &'static str,
}

impl<'a> Table<'a> {
    async fn seat(cast: &'a Cast, pair: &'a Pair, which: usize) -> Result<Self> {
        let [one, other] = &cast.gateways;
        let seat = match pair.class {
            ViewClass::Seat(Side::White) | ViewClass::Public => "white",
            ViewClass::Seat(Side::Black) => "black",
        };
        let wanted = NewGame {
            ruleset: pair.ruleset,
            clock: pair.clock,
            seat,
            visibility: if pair.is_private { "private" } else { "public" },
            opponent: None,
        };
        let (mut player, mut public) = cast.viewers(pair, which);
        // These two come later.
        let [spectator, _, anonymous] = &mut public[..] else {
            bail!("three look on");
        };
        let first = player.iter_mut().chain([spectator, anonymous]);
        try_join_all(first.map(|viewer| viewer.open(0))).await?;
        // Before the game, so that it would stand beside it in lists.
        let challenge = cast.challenge(pair.nth, which).await?;
        let game = Api::new(one).create_game(&cast.viewer, &wanted).await?;
        let secret = game.code.context("who makes a game is told its code")?;
        let game = game.id.to_string();
        let made_us = cast.clockwork.made_us(&game).await?;
        let code = pair.is_private.then(|| secret.clone());
        for (nth, viewer) in player.iter_mut().chain(&mut public).rev().enumerate() {
            // The last one, who is not signed in, does not know the code.
            viewer.attend(Attended {
                game: game.clone(),
                secret: secret.clone(),
                is_private: pair.is_private,
                is_hidden: pair.is_private && nth == 0,
                has_seat: nth == 3,
                code: code.clone().filter(|_| nth == 1 || nth == 2),
                made_us,
                challenge: challenge.as_ref().map(|challenge| challenge.game.clone()),
            });
        }
        let mut table = Self {
            cast,
            pair,
            which,
            game: game.clone(),
            known: Known {
                game,
                clocked: pair.clock.is_some(),
            },
            n: 2,
            player,
            public,
            cut_at: None,
            requests: 0,
            challenge,
            done: None,
            status: "active",
        };
        table.until_open().await?;
        table.join(other, code.as_deref()).await?;
        for viewer in table.player.iter_mut().chain(&mut table.public[..1]) {
            viewer.subscribe(0, Some(&Place::start())).await?;
        }
        table.public[2].subscribe(0, None).await?;
        table.all_until_frame().await?;
        Ok(table)
    }

    /// Until who looks at the lobby, and the player at their own games, have been shown the game.
    async fn until_open(&mut self) -> Result<()> {
        if let Some(player) = &mut self.player {
            player.until_shown(0, "me", "open").await?;
        }
        for looker in self.player.iter_mut().chain(&mut self.public[2..]) {
            looker.ask_lists("open").await?;
        }
        if !self.pair.is_private {
            let [spectator, _, anonymous] = &mut self.public[..] else {
                bail!("three look on");
            };
            let lookers = self.player.iter_mut().chain([spectator, anonymous]);
            try_join_all(lookers.map(|viewer| viewer.until_shown(0, "lobby", "open"))).await?;
        }
        Ok(())
    }

    async fn join(&self, gateway: &str, code: Option<&str>) -> Result<()> {
        let (path, body) = match code {
            Some(code) => ("/v1/join".to_owned(), Some(json!({"code": code}))),
            None => (format!("/v1/games/{}/join", self.game), None),
        };
        let opponent = Some(&self.cast.opponent);
        let joined: Answered<Value> = Api::new(gateway)
            .call(Method::POST, &path, opponent, body.as_ref())
            .await?;
        drop(joined);
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Hidden { by, actions } => {
                // At the first gateway: the second must not have followed the game when those who
                // come late are shown how it stands.
                let asking = self.waiting()?.ask_ahead(0).await?;
                for action in &actions[self.which] {
                    self.hidden(*by, action).await?;
                }
                self.n += 1;
                self.all_until_frame().await?;
                self.waiting()?.answered(asking).await?;
            }
            Step::Own { action, way, again } => {
                let id = new_id();
                let command = json!({"command_id": id, "at": self.n, "action": action});
                self.own(&command, *way).await?;
                self.n += 1;
                self.all_until_frame().await?;
                self.done = Some(command.clone());
                if *again {
                    self.own(&command, *way).await?;
                    let other = json!({"command_id": id, "action": {"type": "flag"}});
                    self.own(&other, *way).await?;
                }
            }
            Step::Vain { action, way, at } => {
                let mut command = json!({"command_id": new_id(), "action": action});
                match at {
                    At::Latest => command["at"] = json!(self.n),
                    At::Earlier => command["at"] = json!(self.n - 1),
                    At::Later => command["at"] = json!(self.n + 1),
                    At::Unsaid => {}
                }
                self.own(&command, *way).await?;
            }
            Step::Look => self.look().await?,
            Step::Late => self.late().await?,
            Step::Cut => {
                if let Some(player) = &mut self.player {
                    self.cut_at = player.cut(1).await?;
                }
            }
            Step::Back => {
                if let Some(player) = &mut self.player {
                    player.connect(1, self.cut_at.as_ref()).await?;
                    player.until_frame(self.n).await?;
                }
            }
            Step::Fall(fall) => self.fall(fall).await?,
            Step::Last(step) => {
                let watching = watching(self.pair);
                let revealed = Revealed {
                    n: self.n + 1,
                    class: self.pair.class,
                };
                let everyone = self.player.iter_mut().chain(&mut self.public);
                try_join_all(everyone.map(|viewer| viewer.end(watching, revealed))).await?;
                Box::pin(self.step(step)).await?;
                self.status = "finished";
            }
            Step::After => self.after().await?,
        }
        Ok(())
    }

    /// Who waits in a long poll for what others do: the player, if there is one.
    fn waiting(&mut self) -> Result<&mut Viewer> {
        let waiting = self.player.as_mut().or(self.public.first_mut());
        waiting.context("somebody looks on")
    }

    pub(super) fn which_gateway(&mut self) -> usize {
        self.requests += 1;
        self.requests % 2
    }

    /// What the viewer does not look on at.
    pub(super) async fn hidden(&mut self, by: Side, action: &Value) -> Result<()> {
        let is_first_account = match &self.player {
            Some(_) => false,
            None => by == Side::White,
        };
        let session = if is_first_account {
            &self.cast.viewer
        } else {
            &self.cast.opponent
        };
        let at = self.which_gateway();
        let api = Api::new(&self.cast.gateways[at]);
        let path = format!("/v1/games/{}/commands", self.game);
        let command = json!({"command_id": new_id(), "action": action});
        // Whatever it is answered in: a strict reading would find some leaks before the comparison.
        let answer: Result<Answered<Value>, _> = api
            .call(Method::POST, &path, Some(session), Some(&command))
            .await;
        answer.with_context(|| format!("{by:?}: {action}"))?;
        Ok(())
    }

    /// A command of the viewer, whatever it is answered.
    pub(super) async fn own(&mut self, command: &Value, way: Way) -> Result<()> {
        let at = self.which_gateway();
        let Some(player) = &mut self.player else {
            bail!("the public has no commands");
        };
        match way {
            Way::Socket => player.command(command.clone()).await,
            Way::Post => {
                player.ask(at, "POST", "/commands", Some(command)).await?;
                Ok(())
            }
        }
    }

    /// Connections at the second gateway, which has not followed the game until now.
    async fn late(&mut self) -> Result<()> {
        if let Some(player) = &mut self.player {
            let last = player.last();
            player.listen().await?;
            player.connect(1, last.as_ref()).await?;
            player.until_shown(1, "me", "active").await?;
        }
        self.public[0].listen().await?;
        self.public[1].connect(1, Some(&Place::start())).await?;
        self.public[2].connect(1, None).await?;
        self.all_until_frame().await
    }

    /// Everyone reads all that can be read, and tries what is for others to do.
    async fn look(&mut self) -> Result<()> {
        let false_cursor = self.player.as_ref().and_then(Viewer::cursor);
        let everyone = self.player.iter_mut().chain(&mut self.public);
        let looks = everyone.map(|viewer| async move {
            for (nth, call) in LOOKS.iter().enumerate() {
                viewer.ask(nth % 2, "GET", call, None).await?;
            }
            if let Some(cursor) = viewer.cursor() {
                let call = format!("/events?after={cursor}");
                viewer.ask(1, "GET", &call, None).await?;
            }
            viewer
                .ask(0, "GET", "/events?after=0123456789", None)
                .await?;
            viewer.ask(1, "POST", "/join", None).await?;
            anyhow::Ok(())
        });
        try_join_all(looks).await?;
        for looker in self.player.iter_mut().chain(&mut self.public[2..]) {
            looker.ask_lists("active").await?;
        }
        for outsider in &mut self.public {
            if let Some(cursor) = &false_cursor {
                let call = format!("/events?after={cursor}");
                outsider.ask(0, "GET", &call, None).await?;
            }
            let command = json!({"command_id": new_id(), "action": {"type": "resign"}});
            outsider.ask(0, "POST", "/commands", Some(&command)).await?;
        }
        Ok(())
    }

    pub(super) async fn all_until_frame(&mut self) -> Result<()> {
        let n = self.n;
        let everyone = self.player.iter_mut().chain(&mut self.public);
        try_join_all(everyone.map(|viewer| viewer.until_frame(n))).await?;
        // Another frame in each pair, and early enough to have some behind it.
        if n >= 3 + self.pair.nth as u64 % 5 {
            let everyone = self.player.iter_mut().chain(&mut self.public);
            everyone.for_each(Viewer::keep_place);
        }
        Ok(())
    }

    async fn leave(mut self, watching: Option<u64>) -> Result<Transcript> {
        if let (Some(player), Some(_)) = (&mut self.player, watching) {
            player.until_shown(0, "me", "active").await?;
            player.until_shown(0, "me", self.status).await?;
        }
        let everyone = self.player.into_iter().chain(self.public);
        let left = try_join_all(everyone.map(|viewer| viewer.leave(watching))).await?;
        let mut channels = BTreeMap::new();
        let mut breaches = Vec::new();
        for left in left {
            channels.extend(left.channels);
            breaches.extend(left.breaches);
        }
        Ok(Transcript {
            known: self.known,
            channels,
            breaches,
        })
    }
}
