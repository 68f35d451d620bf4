//! Whom one may challenge, how often, and how many challenges are shown.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, Player};

use super::challenges::{QUICK, challenge, id, ids, me, told};

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
