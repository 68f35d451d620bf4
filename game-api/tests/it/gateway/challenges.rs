//! Challenges: who is told of them, and who may answer.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::ids::CommandId;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, Socket, until};

pub(super) const QUICK: [(&str, &str); 1] = [("GATEWAY_PRESENCE_MS", "100")];

/// A challenge of `white` to `black`.
pub(super) async fn challenge(
    instance: &Instance,
    white: &Player,
    black: &Player,
    more: &Value,
) -> Value {
    let mut wanted = more.clone();
    wanted["opponent"] = json!(black.id);
    instance.create(white, &wanted).await
}

pub(super) fn id(game: &Value) -> &str {
    game["id"].as_str().unwrap()
}

/// A socket that reads `me`, and what it was shown first.
pub(super) async fn me(instance: &Instance, player: &Player) -> (Socket, Value) {
    let mut socket = instance.socket(Some(player)).await;
    let reference = socket
        .ask(json!({"type": "subscribe", "topic": "me"}))
        .await;
    assert_eq!(socket.answer(&reference).await["type"], "subscribed");
    let whole = socket.next().await;
    assert_eq!(
        (&whole["type"], &whole["topic"]),
        (&json!("snapshot"), &json!("me"))
    );
    (socket, whole)
}

/// What `me` says next: kinds and games.
pub(super) async fn told(socket: &mut Socket) -> Vec<(String, Value)> {
    let message = socket.next().await;
    let events = message["events"].as_array().unwrap().iter();
    events
        .map(|event| {
            let kind = event["kind"].as_str().unwrap().to_owned();
            (kind, event["game"].clone())
        })
        .collect()
}

async fn told_one(socket: &mut Socket) -> (String, Value) {
    let mut told = told(socket).await;
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

pub(super) fn ids(games: &Value) -> Vec<&str> {
    games.as_array().unwrap().iter().map(id).collect()
}

/// All that somebody is answered who asks about a game, by id and by code.
async fn asked(
    instance: &Instance,
    player: Option<&Player>,
    game: &str,
    code: &str,
) -> Vec<(String, StatusCode, Value)> {
    let token = player.map(|player| player.token.as_str());
    let mut answers = Vec::new();
    for call in [
        "",
        "/digest",
        "/events",
        "/events?wait_ms=1",
        "/stream",
        "/record",
    ] {
        for with_code in [false, true] {
            let joint = if call.contains('?') { '&' } else { '?' };
            let query = if with_code {
                format!("{joint}code={code}")
            } else {
                String::new()
            };
            let path = format!("/v1/games/{game}{call}{query}");
            let (status, body) = instance.get(&path, token).await;
            answers.push((format!("GET {call} {with_code}"), status, body));
        }
    }
    let join = json!({"code": code});
    let command = json!({"command_id": CommandId::generate(), "action": {"type": "abort"}});
    for (path, body) in [
        (format!("/v1/games/{game}/join"), &Value::Null),
        ("/v1/join".to_owned(), &join),
        (format!("/v1/games/{game}/commands"), &command),
    ] {
        let (status, body) = instance.call("POST", &path, token, body).await;
        answers.push((path.replace(game, "{}"), status, body));
    }
    let mut socket = instance.socket(player).await;
    for message in [
        json!({"type": "subscribe", "topic": format!("game:{game}")}),
        json!({"type": "subscribe", "topic": format!("game:{game}"), "code": code}),
        json!({"type": "command", "game": game, "command_id": CommandId::generate(),
            "action": {"type": "abort"}}),
    ] {
        let reference = socket.ask(message.clone()).await;
        let mut answer = socket.answer(&reference).await;
        answer["ref"].take();
        answers.push((message["type"].to_string(), StatusCode::OK, answer));
    }
    answers
}

/// Nobody but the two is told anything that a game which is not there would not tell.
async fn is_hidden_from_others(instance: &Instance, others: &[Option<&Player>], game: &Value) {
    let (nothing, no_code) = ("01890a5d-ac96-774b-bcce-b302099a8057", "22222222");
    for other in others {
        let there = asked(instance, *other, id(game), game["code"].as_str().unwrap()).await;
        let nowhere = asked(instance, *other, nothing, no_code).await;
        assert_eq!(there, nowhere);
        let token = other.map(|other| other.token.as_str());
        for status in ["open", "active", "finished", "aborted"] {
            let path = format!("/v1/games?status={status}");
            let (_, list) = instance.get(&path, token).await;
            assert!(!ids(&list["games"]).contains(&id(game)), "{status}");
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_challenge_is_there_for_its_two_players_and_for_nobody_else(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let b = Instance::start(&pool, &nats, &QUICK).await;
    let (white, black) = (a.register().await, b.register().await);
    let (third, fourth) = (b.register().await, b.register().await);
    let (mut of_black, nothing) = me(&b, &black).await;
    assert_eq!(nothing["challenges"], json!([]));
    let (mut of_third, _) = me(&b, &third).await;
    for (visibility, white) in [("public", &white), ("private", &fourth)] {
        let (mut of_white, _) = me(&b, white).await;
        let wanted = json!({"visibility": visibility});
        let game = challenge(&a, white, &black, &wanted).await;
        let challenged = json!({"id": black.id, "name": "Ann"});
        assert_eq!(game["challenged"], challenged);
        assert_eq!(
            (&game["status"], &game["visibility"], &game["black"]),
            (&json!("open"), &json!(visibility), &Value::Null)
        );
        assert!(game["code"].is_string());

        // Both are told, and see it; the code is for seats.
        let (kind, shown) = told_one(&mut of_white).await;
        assert_eq!(
            (kind.as_str(), &shown["challenged"]),
            ("created", &challenged)
        );
        assert_eq!(shown["code"], game["code"]);
        let (kind, shown) = told_one(&mut of_black).await;
        assert_eq!((kind.as_str(), id(&shown)), ("challenged", id(&game)));
        assert_eq!(shown["white"]["id"], json!(white.id));
        assert_eq!(
            (&shown["challenged"], shown.get("code")),
            (&challenged, None)
        );
        for (player, has_code) in [(white, true), (&black, false)] {
            let path = format!("/v1/games/{}", id(&game));
            let (status, body) = b.get(&path, Some(&player.token)).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(body["game"]["challenged"], challenged);
            assert_eq!(body["game"].get("code").is_some(), has_code);
            let mut socket = b.socket(Some(player)).await;
            let reference = socket
                .ask(json!({"type": "subscribe", "topic": format!("game:{}", id(&game))}))
                .await;
            assert_eq!(socket.answer(&reference).await["type"], "subscribed");
            let snapshot = socket.next().await;
            assert_eq!(snapshot["game"]["challenged"], challenged);
            assert_eq!(snapshot["game"].get("code").is_some(), has_code);
        }
        is_hidden_from_others(&a, &[Some(&third), None], &game).await;
        is_hidden_from_others(&b, &[Some(&third), None], &game).await;
    }
    // So an instance of the release before shows them to nobody else either.
    let visibilities: Vec<String> = sqlx::query_scalar("select distinct visibility from games")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(visibilities, ["private"]);
    // Whoever reads anew is shown both, newest first.
    let (again, whole) = me(&a, &black).await;
    assert_eq!(whole["games"], json!([]));
    let visibilities = whole["challenges"].as_array().unwrap().iter();
    let visibilities: Vec<_> = visibilities.map(|game| &game["visibility"]).collect();
    assert_eq!(visibilities, [&json!("private"), &json!("public")]);
    // The third one was told of nothing: what comes next is their own.
    let own = a.create(&third, &json!({})).await;
    let (kind, shown) = told_one(&mut of_third).await;
    assert_eq!((kind.as_str(), id(&shown)), ("created", id(&own)));
    drop((of_black, of_third, again));
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_accepted_challenge_is_a_game_like_any_other(pool: PgPool) {
    let nats = NatsServer::start().await;
    // There is no relay: what one instance does the other finds in the log.
    let variables = [QUICK[0], ("GATEWAY_RECONCILE_MS", "100")];
    let a = Instance::start(&pool, &nats, &variables).await;
    let b = Instance::start(&pool, &nats, &variables).await;
    let (white, black) = (a.register().await, b.register().await);
    let third = b.register().await;
    let (mut of_white, _) = me(&a, &white).await;
    let (mut of_black, _) = me(&b, &black).await;
    let open = challenge(&a, &white, &black, &json!({})).await;
    told_one(&mut of_white).await;
    told_one(&mut of_black).await;
    // Who has a challenge open is not counted: the lobby would tell of it.
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(id(&open), None).await;
    assert_eq!(player.next().await["type"], "snapshot");
    let mut invited = b.socket(Some(&black)).await;
    invited.subscribe(id(&open), None).await;
    assert_eq!(invited.next().await["view"].get("castling"), None);
    player.presence(|shown| shown["watching"] == 1).await;
    let count = async || b.get("/v1/stats", None).await.1["games"].clone();
    assert_eq!(count().await, 0);

    b.join(&black, id(&open)).await;
    for socket in [&mut of_white, &mut of_black] {
        let (kind, shown) = told_one(socket).await;
        assert_eq!((kind.as_str(), id(&shown)), ("started", id(&open)));
        assert_eq!(shown.get("challenged"), None);
        assert_eq!(shown["code"], open["code"], "it is their own now");
    }
    // Who was challenged goes on in the view of their seat.
    let joined = invited.up_to(|message| message["type"] == "snapshot").await;
    assert_eq!(joined.last().unwrap()["view"]["castling"], "KQ");
    until("both are counted", async || {
        count().await == 1 && b.get("/v1/stats", None).await.1["players"] == 2
    })
    .await;
    for other in [Some(third.token.as_str()), None] {
        let (status, body) = a.get(&format!("/v1/games/{}", id(&open)), other).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["game"].get("challenged"), None);
        let (_, list) = a.get("/v1/games?status=active", other).await;
        assert_eq!(ids(&list["games"]), [id(&open)]);
    }
    // Joining again, after an answer that was lost, is no mistake; a third one finds no seat.
    b.join(&black, id(&open)).await;
    let path = format!("/v1/games/{}/join", id(&open));
    let (_, refusal) = b
        .call("POST", &path, Some(&third.token), &Value::Null)
        .await;
    assert_eq!(refusal["reason"], "conflict");
    a.moves(&white, id(&open), "e2e4").await;
    b.moves(&black, id(&open), "e7e5").await;
    let (again, whole) = me(&a, &black).await;
    assert_eq!(
        (ids(&whole["games"]), &whole["challenges"]),
        (vec![id(&open)], &json!([]))
    );

    // A private one stays private.
    let hidden = challenge(&a, &white, &black, &json!({"visibility": "private"})).await;
    let code = json!({"code": hidden["code"]});
    let (status, _) = b.call("POST", "/v1/join", Some(&black.token), &code).await;
    assert_eq!(status, StatusCode::OK, "by its code");
    let path = format!("/v1/games/{}", id(&hidden));
    let (status, _) = a.get(&path, Some(&third.token)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let path = format!("{path}?code={}", hidden["code"].as_str().unwrap());
    let (status, _) = a.get(&path, Some(&third.token)).await;
    assert_eq!(status, StatusCode::OK);
    let left: i64 = sqlx::query_scalar("select count(*) from challenges")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    drop((of_white, of_black, player, invited, again));
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn either_of_the_two_ends_a_challenge_and_it_stays_hidden(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let b = Instance::start(&pool, &nats, &QUICK).await;
    let (white, black) = (a.register().await, b.register().await);
    let third = b.register().await;
    let (mut of_white, _) = me(&a, &white).await;
    let (mut of_black, _) = me(&b, &black).await;
    for (by, at, seat) in [(&black, &b, "black"), (&white, &a, "white")] {
        let open = challenge(&a, &white, &black, &json!({})).await;
        assert_eq!(told_one(&mut of_white).await.0, "created");
        assert_eq!(told_one(&mut of_black).await.0, "challenged");
        let path = format!("/v1/games/{}/commands", id(&open));
        let command = CommandId::generate();
        let say = async |action: &str, command: CommandId, n: i64| {
            let body = json!({"command_id": command, "at": n, "action": {"type": action}});
            at.call("POST", &path, Some(&by.token), &body).await
        };
        // Neither may do anything else.
        for action in ["resign", "offer_draw", "flag"] {
            let (_, refusal) = say(action, CommandId::generate(), 1).await;
            assert_eq!(refusal["reason"], "conflict", "{action}");
        }
        let (_, refusal) = say("abort", CommandId::generate(), 2).await;
        assert_eq!(refusal["reason"], "invalid", "a frame that has not come");
        let (status, done) = say("abort", command, 1).await;
        assert_eq!(
            (status, &done["duplicate"]),
            (StatusCode::OK, &json!(false))
        );
        let frame = &done["frame"];
        assert_eq!(
            (&frame["n"], &frame["event"]["kind"], &frame["event"]["by"]),
            (&json!(2), &json!("ended"), &json!(seat))
        );
        let (_, again) = say("abort", command, 1).await;
        assert_eq!(
            (&again["duplicate"], &again["frame"]),
            (&json!(true), frame)
        );
        let (_, refusal) = say("resign", command, 1).await;
        assert_eq!(refusal["reason"], "conflict", "another action of that name");
        for (player, instance) in [(&white, &b), (&black, &a)] {
            let (_, refusal) = instance
                .call(
                    "POST",
                    &path,
                    Some(&player.token),
                    &json!({"command_id": CommandId::generate(), "action": {"type": "abort"}}),
                )
                .await;
            assert_eq!(refusal["reason"], "game_over");
            let path = format!("/v1/games/{}/events", id(&open));
            let (_, read) = instance.get(&path, Some(&player.token)).await;
            assert_eq!(read["frames"].as_array().unwrap().len(), 2);
        }
        let (_, refusal) = b
            .call(
                "POST",
                &format!("/v1/games/{}/join", id(&open)),
                Some(&black.token),
                &Value::Null,
            )
            .await;
        assert_eq!(refusal["reason"], "game_over");

        for (socket, expected) in [(&mut of_white, "ended"), (&mut of_black, "challenge_ended")] {
            let (kind, shown) = told_one(socket).await;
            assert_eq!((kind.as_str(), id(&shown)), (expected, id(&open)));
            assert_eq!(shown["result"]["reason"], "aborted");
            assert_eq!(shown.get("challenged"), None);
        }
        is_hidden_from_others(&a, &[Some(&third), None], &open).await;
        let (again, whole) = me(&a, &black).await;
        assert_eq!(
            (&whole["games"], &whole["challenges"]),
            (&json!([]), &json!([]))
        );
        drop(again);
    }
    drop((of_white, of_black));
    a.stop().await;
    b.stop().await;
}
