//! Challenges through the whole stack: made at one gateway, told and answered at another.

use e2e::client::protocol::{Control, move_action};
use e2e::client::{Api, Identity, NewGame, Received, Refusal, Session, Socket, new_id};
use e2e::supervisor::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::{PATIENCE, gateways, stack};

/// A socket that reads `me`.
struct Own(Socket);

impl Own {
    /// Opens it; gives what it is shown first.
    async fn read(gateway: &str, session: &Session) -> (Self, Value) {
        let identity = Identity::Player(session.clone());
        let socket = Socket::connect(gateway, &identity).await;
        let mut own = Self(socket.expect("connected"));
        let asked = own.0.subscribe("me", None).await.expect("asked");
        loop {
            let message = timeout(PATIENCE, own.0.next()).await.expect("in time");
            match message.expect("open") {
                Received::Control(Control::Subscribed { r#ref, .. }) if r#ref == asked => break,
                _ => {}
            }
        }
        let whole = own.next().await;
        assert_eq!(whole["type"], "snapshot");
        (own, whole)
    }

    async fn next(&mut self) -> Value {
        let board = async {
            loop {
                if let Received::Board(board) = self.0.next().await.expect("open") {
                    return board;
                }
            }
        };
        timeout(PATIENCE, board).await.expect("in time")
    }

    /// Reads until the game is told of; gives what has happened to it.
    async fn told_of(&mut self, game: Uuid) -> (String, Value) {
        loop {
            let board = self.next().await;
            let events = board["events"].as_array().cloned().unwrap_or_default();
            let of_game = |event: &Value| event["game"]["id"] == json!(game);
            if let Some(event) = events.into_iter().find(of_game) {
                let kind = event["kind"].as_str().expect("a kind").to_owned();
                return (kind, event["game"].clone());
            }
        }
    }
}

struct Match {
    apis: [Api; 2],
    addresses: Vec<String>,
    white: Session,
    black: Session,
}

impl Match {
    async fn between(stack: &Stack) -> Self {
        let addresses = gateways(stack);
        let apis = [0, 1].map(|nth| Api::new(&addresses[nth]));
        Self {
            white: apis[0].register("White").await.expect("registered"),
            black: apis[1].register("Black").await.expect("registered"),
            apis,
            addresses,
        }
    }

    /// White challenges Black at the first gateway.
    async fn challenge(&self) -> Uuid {
        let wanted = NewGame {
            opponent: Some(self.black.player_id),
            ..NewGame::default()
        };
        let made = self.apis[0].create_game(&self.white, &wanted).await;
        let made = made.expect("a challenge");
        assert_eq!(
            made.challenged.map(|black| black.id),
            Some(self.black.player_id)
        );
        made.id
    }

    async fn abort(&self, nth: usize, by: &Session, game: Uuid) {
        let abort = json!({"type": "abort"});
        let done = self.apis[nth].command(by, game, new_id(), None, &abort);
        done.await.expect("aborted");
    }
}

fn ids(games: &Value) -> Vec<String> {
    let games = games.as_array().expect("a list").iter();
    games
        .map(|game| game["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_challenge_made_at_one_gateway_is_told_and_answered_at_the_other() {
    let stack = stack(vec![]).await;
    let table = Match::between(&stack).await;
    let third = table.apis[1].register("Third").await.expect("registered");
    let (mut of_white, _) = Own::read(&table.addresses[0], &table.white).await;
    let (mut of_black, whole) = Own::read(&table.addresses[1], &table.black).await;
    assert_eq!(whole["challenges"], json!([]));

    let game = table.challenge().await;
    let (kind, shown) = of_black.told_of(game).await;
    assert_eq!(
        (kind.as_str(), &shown["status"]),
        ("challenged", &json!("open"))
    );
    assert_eq!(shown["white"]["id"], json!(table.white.player_id));
    assert_eq!(of_white.told_of(game).await.0, "created");
    for (api, who) in [(&table.apis[0], Some(&third)), (&table.apis[1], None)] {
        let refusal = api.current(who, game).await.expect_err("hidden");
        assert_eq!(refusal.reason(), Some("not_found"));
    }

    // Back at the other gateway, the moment it is there again after a crash.
    of_black.0.close().await;
    stack.gateways[0].kill().await;
    stack.gateways[0].ready().await.expect("started again");
    let (mut of_black, whole) = Own::read(&table.addresses[0], &table.black).await;
    assert_eq!(ids(&whole["challenges"]), [game.to_string()]);
    let (mut of_white, _) = Own::read(&table.addresses[1], &table.white).await;

    let joined = table.apis[1].join(&table.black, game).await;
    assert_eq!(joined.expect("accepted").status, "active");
    for own in [&mut of_white, &mut of_black] {
        let (kind, shown) = own.told_of(game).await;
        assert_eq!((kind.as_str(), shown.get("challenged")), ("started", None));
    }
    for (nth, by, uci) in [(1, &table.white, "e2e4"), (0, &table.black, "e7e5")] {
        let action = move_action(uci);
        let moved = table.apis[nth].command(by, game, new_id(), None, &action);
        moved.await.expect("a game like any other");
    }
    let shown = table.apis[0].current(None, game).await;
    assert_eq!(shown.expect("public").game.status, "active");

    // Declined by the one, withdrawn by the other.
    for (nth, by) in [(0, &table.black), (1, &table.white)] {
        let game = table.challenge().await;
        assert_eq!(of_black.told_of(game).await.0, "challenged");
        table.abort(nth, by, game).await;
        let (kind, shown) = of_black.told_of(game).await;
        assert_eq!(
            (kind.as_str(), &shown["status"]),
            ("challenge_ended", &json!("aborted"))
        );
        while of_white.told_of(game).await.0 != "ended" {}
        let refusal = table.apis[nth].current(Some(&third), game).await;
        assert_eq!(refusal.expect_err("hidden").reason(), Some("not_found"));
    }
    let (_, whole) = Own::read(&table.addresses[1], &table.black).await;
    assert_eq!(
        (ids(&whole["games"]), &whole["challenges"]),
        (vec![game.to_string()], &json!([]))
    );
    stack.end().await;
}

#[tokio::test]
async fn a_challenge_that_cannot_be_made_has_its_reason_and_makes_nothing() {
    let stack = stack(vec![("CHALLENGES_PER_PLAYER".to_owned(), "1".to_owned())]).await;
    let table = Match::between(&stack).await;
    let (white, api) = (&table.white, &table.apis[1]);
    let ask = async |opponent: Value| -> Refusal {
        let body = json!({ "opponent": opponent });
        let asked = api.call::<Value>(Method::POST, "/v1/games", Some(white), Some(&body));
        asked.await.expect_err("refused")
    };
    for (opponent, reason) in [
        (json!(white.player_id), "invalid"),
        (json!("nobody"), "invalid"),
        (json!({}), "invalid"),
        (json!(new_id()), "not_found"),
    ] {
        let refusal = ask(opponent.clone()).await;
        assert_eq!(refusal.reason(), Some(reason), "{opponent}");
    }
    let game = table.challenge().await;
    let refusal = ask(json!(table.black.player_id)).await;
    assert_eq!(refusal.reason(), Some("conflict"), "{refusal}");
    // Neither of the two does anything else with it, nor does anybody else.
    let third = api.register("Third").await.expect("registered");
    for (by, action, reason) in [
        (&table.black, "resign", "conflict"),
        (&table.black, "castle", "invalid"),
        (white, "resign", "conflict"),
        (&third, "abort", "not_found"),
    ] {
        let action = json!({ "type": action });
        let refusal = api.command(by, game, new_id(), None, &action).await;
        let refusal = refusal.expect_err("refused");
        assert_eq!(refusal.reason(), Some(reason), "{action}");
    }
    let refusal = api.join(white, game).await.expect_err("refused");
    assert_eq!(refusal.reason(), Some("conflict"));
    let refusal = api.join(&third, game).await.expect_err("refused");
    assert_eq!(refusal.reason(), Some("not_found"));
    let (_, whole) = Own::read(&table.addresses[0], &table.black).await;
    assert_eq!(ids(&whole["challenges"]), [game.to_string()]);
    stack.end().await;
}
