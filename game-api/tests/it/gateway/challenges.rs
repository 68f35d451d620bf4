//! Challenges: who is told of them, who may answer, and how many there may be.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::ids::CommandId;
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player, Socket, until};

const QUICK: [(&str, &str); 1] = [("GATEWAY_PRESENCE_MS", "100")];

/// A challenge of `white` to `black`.
async fn challenge(instance: &Instance, white: &Player, black: &Player, more: &Value) -> Value {
    let mut wanted = more.clone();
    wanted["opponent"] = json!(black.id);
    instance.create(white, &wanted).await
}

fn id(game: &Value) -> &str {
    game["id"].as_str().unwrap()
}

/// A socket that reads `me`, and what it was shown first.
async fn me(instance: &Instance, player: &Player) -> (Socket, Value) {
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
async fn told(socket: &mut Socket) -> Vec<(String, Value)> {
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

fn ids(games: &Value) -> Vec<&str> {
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

#[sqlx::test(migrations = "../migrations")]
async fn whom_nobody_can_challenge_is_refused_with_a_reason(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let white = a.register().await;
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (opponent, reason) in [
        (json!(white.id), "invalid"),
        (json!("Ann"), "invalid"),
        (json!(7), "invalid"),
        (json!([]), "invalid"),
        (json!(""), "invalid"),
        (json!(nobody), "not_found"),
    ] {
        let wanted = json!({"opponent": opponent});
        let (_, refusal) = a
            .call("POST", "/v1/games", Some(&white.token), &wanted)
            .await;
        assert_eq!(refusal["reason"], reason, "{opponent}");
    }
    let open = a.create(&white, &json!({"opponent": null})).await;
    assert_eq!(open.get("challenged"), None);
    let (_, list) = a.get("/v1/games", None).await;
    assert_eq!(ids(&list["games"]), [id(&open)], "nothing else was made");
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_player_has_so_many_open_challenges_and_no_more(pool: PgPool) {
    let nats = NatsServer::start().await;
    let variables = [QUICK[0], ("CHALLENGES_PER_PLAYER", "2")];
    let a = Instance::start(&pool, &nats, &variables).await;
    let b = Instance::start(&pool, &nats, &variables).await;
    let (white, black) = (a.register().await, b.register().await);
    let (other, third) = (b.register().await, b.register().await);
    let ask = async |instance: &Instance, by: &Player, to: &Player| {
        let wanted = json!({"opponent": to.id});
        let (status, body) = instance
            .call("POST", "/v1/games", Some(&by.token), &wanted)
            .await;
        match status {
            StatusCode::CREATED => Ok(body["game"]["id"].as_str().unwrap().to_owned()),
            _ => Err(body["reason"].clone()),
        }
    };
    // However many are made at once, at whichever gateways, and against each other.
    let at_once = (0..12).map(|nth| {
        let instance = [&a, &b][nth % 2];
        let (by, to) = [(&white, &black), (&black, &white), (&white, &other)][nth % 3];
        ask(instance, by, to)
    });
    let made = join_all(at_once).await;
    // One of White against each, one of Black.
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3);
    let refusals: BTreeSet<String> = made
        .iter()
        .filter_map(|made| made.as_ref().err())
        .map(Value::to_string)
        .collect();
    assert_eq!(refusals, BTreeSet::from(["\"conflict\"".to_owned()]));
    assert_eq!(a.rejections("conflict") + b.rejections("conflict"), 9);
    // Being challenged by many takes nobody's place.
    assert!(ask(&a, &other, &white).await.is_ok());

    let (of_white, whole) = me(&a, &white).await;
    let to = |player: &Player| {
        let games = whole["games"].as_array().unwrap();
        let to_them = |game: &&Value| game["challenged"]["id"] == *player.id;
        id(games.iter().find(to_them).unwrap())
    };
    assert_eq!(ids(&whole["games"]).len(), 2);
    a.act(&white, to(&black), &json!({"type": "abort"})).await;
    assert!(ask(&b, &white, &black).await.is_ok());
    assert_eq!(ask(&b, &white, &third).await, Err(json!("conflict")));
    // What an instance of the release before has ended does not count, and is taken away.
    sqlx::query("update games set status = 'aborted' where id = $1::uuid")
        .bind(to(&other))
        .execute(&pool)
        .await
        .unwrap();
    let newest = ask(&a, &white, &third).await.unwrap();
    let made: Vec<String> = sqlx::query_scalar(
        "select game_id::text from challenges where challenger_id = $1::uuid order by made_at",
    )
    .bind(&white.id)
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!((made.len(), made.last()), (2, Some(&newest)));
    drop(of_white);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_newest_fifty_challenges_are_shown_and_crowd_out_no_game(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK[..1]).await;
    let black = a.register().await;
    let own = a.create(&black, &json!({})).await;
    let (mut made, mut challengers) = (Vec::new(), Vec::new());
    for _ in 0..52 {
        let white = a.register().await;
        made.push(challenge(&a, &white, &black, &json!({})).await);
        challengers.push(white);
    }
    let newest_first: Vec<&str> = made.iter().rev().map(id).collect();
    let (mut of_black, whole) = me(&a, &black).await;
    assert_eq!(ids(&whole["challenges"]), newest_first[..50]);
    assert_eq!(ids(&whole["games"]), [id(&own)]);
    // When one goes, the next one comes.
    let gone = newest_first[7];
    let white = &challengers[52 - 1 - 7];
    a.act(white, gone, &json!({"type": "abort"})).await;
    let told = told(&mut of_black).await;
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(kind, game)| (kind.as_str(), id(game)))
        .collect();
    assert_eq!(
        told,
        [("challenge_ended", gone), ("challenged", newest_first[50])]
    );
    // One that is not shown is there all the same.
    a.join(&black, newest_first[51]).await;
    drop(of_black);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_others_do_with_a_player_keeps_nobody_from_challenging_them(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK[..1]).await;
    let (white, black) = (a.register().await, a.register().await);
    let mut held = pool.begin().await.unwrap();
    sqlx::query("select from players where id = $1::uuid for no key update")
        .bind(&black.id)
        .execute(&mut *held)
        .await
        .unwrap();
    // It would wait for the row's release otherwise, and be told of a failure.
    challenge(&a, &white, &black, &json!({})).await;
    held.rollback().await.unwrap();
    a.stop().await;
}
