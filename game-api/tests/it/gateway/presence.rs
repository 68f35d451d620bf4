//! Who is there: the same on every gateway, for whoever may see the game, and never who watches.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::harness::{Instance, NatsServer, until};

/// Rounds as short as can be set; the grace stays as it is.
const QUICK: [(&str, &str); 1] = [("GATEWAY_PRESENCE_MS", "100")];

/// Whether a message, or a game of a list, says so.
fn says(watching: i64, white: bool, black: bool) -> impl Fn(&Value) -> bool {
    move |message| {
        message["watching"] == watching
            && message["seats"] == json!({"white": white, "black": black})
    }
}

fn id(game: &Value) -> String {
    game["id"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrations = "../migrations")]
async fn every_gateway_shows_how_many_watch_and_whether_the_players_are_there(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let b = Instance::start(&pool, &nats, &QUICK).await;
    let (white, black, fan) = (a.register().await, b.register().await, a.register().await);
    let game = id(&a.create(&white, &json!({})).await);
    b.join(&black, &game).await;
    let (other, hidden) = (
        id(&a.create(&white, &json!({})).await),
        id(&a.create(&white, &json!({"visibility": "private"})).await),
    );

    let mut at_a = a.socket(Some(&white)).await;
    at_a.subscribe(&game, None).await;
    at_a.frames(1).await;
    at_a.presence(says(0, true, false)).await;
    let mut at_b = b.socket(Some(&black)).await;
    at_b.subscribe(&game, None).await;
    at_b.frames(1).await;
    at_b.presence(says(0, true, true)).await;
    // A player who watches in three tabs on two gateways is one, two strangers are two; a stream
    // counts like a socket.
    let mut watchers = Vec::new();
    for (gateway, player) in [
        (&a, Some(&fan)),
        (&a, Some(&fan)),
        (&b, Some(&fan)),
        (&b, None),
    ] {
        let mut socket = gateway.socket(player).await;
        socket.subscribe(&game, None).await;
        watchers.push(socket);
    }
    let stream = a.stream(&format!("/v1/games/{game}/stream"), None).await;
    for socket in [&mut at_a, &mut at_b] {
        let told = socket.presence(says(3, true, true)).await.pop().unwrap();
        assert_eq!(
            told,
            json!({"type": "presence", "topic": format!("game:{game}"), "watching": 3,
                "seats": {"white": true, "black": true}})
        );
    }
    // Who comes later is told as well, and nobody of another game.
    let mut late = b.socket(None).await;
    late.subscribe(&game, None).await;
    late.frames(1).await;
    late.presence(says(4, true, true)).await;
    let mut elsewhere = b.socket(Some(&white)).await;
    for topic in [&other, &hidden] {
        elsewhere.subscribe(topic, None).await;
        elsewhere.frames(1).await;
        elsewhere.presence(says(0, true, false)).await;
    }

    let list = async |status: &str| b.get(&format!("/v1/games?status={status}"), None).await.1;
    let active = list("active").await;
    assert!(says(4, true, true)(&active["games"][0]), "{active}");
    let open = list("open").await;
    assert_eq!(open["games"].as_array().unwrap().len(), 1);
    assert!(says(0, true, false)(&open["games"][0]), "{open}");
    until("the private game is not counted, all else is", async || {
        b.get("/v1/stats", None).await.1 == json!({"players": 3, "viewers": 6, "games": 2})
    })
    .await;

    drop((at_a, at_b, watchers, stream, late, elsewhere));
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_comes_back_soon_was_never_seen_to_go(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let b = Instance::start(&pool, &nats, &QUICK).await;
    let white = a.register().await;
    let game = id(&a.create(&white, &json!({})).await);
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(&game, None).await;
    let mut stranger = a.socket(None).await;
    stranger.subscribe(&game, None).await;
    let mut watcher = b.socket(None).await;
    watcher.subscribe(&game, None).await;
    watcher.frames(1).await;
    watcher.presence(says(2, true, false)).await;

    // The player moves to the other gateway, the stranger loads the page again.
    drop((player, stranger));
    until("both are gone", async || {
        a.app.metrics.gateway_connections.get() == 0
    })
    .await;
    let mut player = b.socket(Some(&white)).await;
    player.subscribe(&game, None).await;
    let mut stranger = a.socket(None).await;
    stranger.subscribe(&game, None).await;
    // Rounds pass, the last of which brings something new.
    let mut third = a.socket(None).await;
    third.subscribe(&game, None).await;
    let told = watcher.presence(says(3, true, false)).await;
    assert_eq!(told.len(), 1, "something was seen in between: {told:?}");

    // Who does not come back is gone when the grace is over.
    drop((player, stranger, third));
    watcher.presence(says(1, false, false)).await;
    drop(watcher);
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn who_subscribes_anew_is_counted_once(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let white = a.register().await;
    let game = id(&a.create(&white, &json!({})).await);
    let mut watcher = a.socket(None).await;
    watcher.subscribe(&game, None).await;
    watcher.frames(1).await;
    watcher.presence(says(1, false, false)).await;
    let mut stranger = a.socket(None).await;
    stranger.subscribe(&game, None).await;
    stranger.frames(1).await;
    watcher.presence(says(2, false, false)).await;
    for _ in 0..5 {
        stranger.subscribe(&game, None).await;
        stranger.frames(1).await;
    }
    // A refusal ends nothing, and begins nothing.
    stranger.subscribe(&game, Some("no cursor")).await;
    // Rounds pass, the last of which brings something new.
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(&game, None).await;
    let told = watcher.presence(says(2, true, false)).await;
    assert_eq!(told.len(), 1, "more were seen in between: {told:?}");
    drop((watcher, stranger, player));
    a.stop().await;
}

/// What a gateway that was killed leaves behind.
async fn leave_behind(pool: &PgPool, game: &str) {
    sqlx::query(
        "with dead as (
            insert into gateways (id, incarnation, silent_max)
            values ('killed', gen_random_uuid(), '1 hour') returning id, incarnation)
        insert into presence (shard, game_id, viewer_id, gateway_id, incarnation, viewers, listed)
        select g.shard, g.id, v.id, dead.id, dead.incarnation, 1, true
        from dead, games g, (values (gen_random_uuid()), (gen_random_uuid())) as v (id)
        where g.id::text = $1",
    )
    .bind(game)
    .execute(pool)
    .await
    .unwrap();
}

async fn rows(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_killed_gateway_leaves_behind_ceases_to_count_and_is_reaped_by_others(pool: PgPool) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let white = a.register().await;
    let game = id(&a.create(&white, &json!({})).await);
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(&game, None).await;
    player.frames(1).await;
    leave_behind(&pool, &game).await;
    player.presence(says(2, true, false)).await;
    sqlx::query(
        "update gateways set last_seen = last_seen - interval '2 hours' where id = 'killed'",
    )
    .execute(&pool)
    .await
    .unwrap();
    player.presence(says(0, true, false)).await;
    until("the dead are reaped", async || {
        rows(
            &pool,
            "select count(*) from presence where gateway_id = 'killed'",
        )
        .await
            == 0
            && rows(&pool, "select count(*) from gateways where id = 'killed'").await == 0
    })
    .await;
    assert_eq!(rows(&pool, "select count(*) from presence").await, 1);
    drop(player);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_gateway_that_was_taken_for_dead_comes_back_as_a_new_incarnation(pool: PgPool) {
    const SEEN: &str = "select count(*) from presence_seen where is_alive";
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let white = a.register().await;
    let game = id(&a.create(&white, &json!({})).await);
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(&game, None).await;
    player.frames(1).await;
    player.presence(says(0, true, false)).await;
    let incarnations = async || -> Vec<sqlx::types::Uuid> {
        let lives = "select incarnation from gateways where last_seen + silent_max > now()";
        sqlx::query_scalar(lives).fetch_all(&pool).await.unwrap()
    };
    // Silent for too long by the database's clock; then a crash of Postgres, which empties the tables.
    for happens in [
        "update gateways set last_seen = last_seen - interval '1 hour'",
        "truncate gateways, presence",
    ] {
        let before = incarnations().await;
        sqlx::raw_sql(happens).execute(&pool).await.unwrap();
        until("everything is written again", async || {
            let now = incarnations().await;
            rows(&pool, SEEN).await == 1 && now.len() == 1 && now != before
        })
        .await;
    }
    drop(player);
    a.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_drain_takes_the_strangers_along_and_leaves_the_players_for_those_who_return(
    pool: PgPool,
) {
    let nats = NatsServer::start().await;
    let a = Instance::start(&pool, &nats, &QUICK).await;
    let white = a.register().await;
    let game = id(&a.create(&white, &json!({})).await);
    let mut player = a.socket(Some(&white)).await;
    player.subscribe(&game, None).await;
    player.frames(1).await;
    let mut stranger = a.socket(None).await;
    stranger.subscribe(&game, None).await;
    player.presence(says(1, true, false)).await;
    drop((player, stranger));
    a.stop().await;
    let left: Vec<(bool, bool)> =
        sqlx::query_as("select is_anonymous, is_alive from presence_seen")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(left, [(false, true)]);
}
