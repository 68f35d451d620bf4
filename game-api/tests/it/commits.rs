//! The write path's one statement, and the service above it, on a real Postgres.

use std::sync::Arc;

use game_api::games::entity::{self, Action, Game};
use game_api::games::entity::{ClockSettings, EventData, GameStatus, Visibility};
use game_api::games::repo::{self, CommitRow, NewGame, Outcome};
use game_api::rules::{self, Seat};
use serde_json::{Map, Value, json};
use shared::ids::{CommandId, EventId, GameId, PlayerId};
use shared::shard::Shard;
use shared::telemetry::Carrier;
use sqlx::PgPool;

fn action(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// An open game with its creator on the white seat.
async fn open_game(pool: &PgPool, ruleset: &str, clock: Option<ClockSettings>) -> Game {
    let ruleset = rules::by_name(ruleset).unwrap();
    let opening = ruleset.opening();
    let id = GameId::generate();
    let data = EventData {
        ruleset: ruleset.name().to_owned(),
        scene: opening.scene.clone(),
        record: None,
        status: GameStatus::Open,
        draw_offer: None,
        result: None,
        audience: [true; 3],
    };
    let new = NewGame {
        id,
        code: &id.to_string()[24..],
        ruleset,
        opening: &opening,
        visibility: Visibility::Public,
        challenged: None,
        rated: false,
        clock,
        creator: PlayerId::generate(),
        seat: Seat::White,
        data: &data,
        carrier: &Carrier::default(),
    };
    let mut tx = pool.begin().await.unwrap();
    repo::create_in_tx(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    repo::load(pool, id).await.unwrap().unwrap()
}

/// The same as a challenge of its creator to `black`.
async fn challenge(pool: &PgPool, black: PlayerId) -> Game {
    let game = open_game(pool, "fog-chess", None).await;
    sqlx::query(
        "update games set challenged_id = $2, visibility_joined = visibility, visibility = 'private'
        where id = $1",
    )
    .bind(game.id.0)
    .bind(black.0)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("insert into challenges select $1, id, shard, creator_id from games where id = $2")
        .bind(black.0)
        .bind(game.id.0)
        .execute(pool)
        .await
        .unwrap();
    repo::load(pool, game.id).await.unwrap().unwrap()
}

/// A game being played.
async fn active_game(pool: &PgPool, ruleset: &str, clock: Option<ClockSettings>) -> Game {
    let game = open_game(pool, ruleset, clock).await;
    let black = PlayerId::generate();
    let change = entity::join(&game, black).unwrap();
    let row = row(&game, change, black, CommandId::generate());
    assert!(matches!(
        commit(pool, &[row]).await[0],
        Outcome::Committed(_)
    ));
    repo::load(pool, game.id).await.unwrap().unwrap()
}

fn row(game: &Game, change: entity::Change, actor: PlayerId, command_id: CommandId) -> CommitRow {
    CommitRow {
        game: Arc::new(game.clone()),
        change: Arc::new(change),
        event_id: EventId::generate(),
        command_id,
        actor: actor.0,
        action: "{}".to_owned(),
        carrier: Carrier::default(),
    }
}

fn move_row(game: &Game, seat: Seat, uci: &str, command_id: CommandId) -> CommitRow {
    let play = action(&json!({"type": "move", "uci": uci}));
    let change = entity::decide(game, seat, Action::Play(&play), None).unwrap();
    row(game, change, game.player_on(seat).unwrap(), command_id)
}

async fn commit(pool: &PgPool, rows: &[CommitRow]) -> Vec<Outcome> {
    let mut connection = pool.acquire().await.unwrap();
    repo::commit_batch(&mut connection, rows).await.unwrap()
}

async fn outbox_rows(pool: &PgPool, game: GameId) -> i64 {
    sqlx::query_scalar("select count(*) from outbox_events where key = $1")
        .bind(format!("game.{game}"))
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn sql_and_rust_agree_on_the_shard_of_a_key(pool: PgPool) {
    for key in ["", "a", "game.x", "ключ", "player.0190"] {
        let sql: i16 = sqlx::query_scalar("select fogline_shard($1)")
            .bind(key)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(Shard::of_key(key).number(), sql, "{key:?}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_challenge_is_answered_in_one_batch_with_the_moves_of_others(pool: PgPool) {
    let black = PlayerId::generate();
    let (accepted, declined) = (challenge(&pool, black).await, challenge(&pool, black).await);
    let waiting = challenge(&pool, black).await;
    let played = active_game(&pool, "fog-chess", None).await;
    let accept = entity::join(&accepted, black).unwrap();
    assert!(matches!(
        entity::join(&accepted, PlayerId::generate()),
        Err(entity::Refused::Reserved)
    ));
    let seat = declined.seat_for(black).unwrap();
    let decline = entity::decide(&declined, seat, Action::Abort, Some(1)).unwrap();
    let after = accepted.after(
        &accept,
        &entity::CommitTimes {
            at_ms: 0,
            white_ms: None,
            black_ms: None,
            flag_in_ms: None,
        },
    );
    let outcomes = commit(
        &pool,
        &[
            move_row(&played, Seat::White, "e2e4", CommandId::generate()),
            row(&accepted, accept, black, CommandId::generate()),
            row(&declined, decline, black, CommandId::generate()),
        ],
    )
    .await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Committed(_))),
        "{outcomes:?}"
    );
    let load = async |game: &Game| repo::load(&pool, game.id).await.unwrap().unwrap();
    let stored = load(&accepted).await;
    assert_eq!(
        (stored.visibility, stored.reserved_to(), stored.black),
        (Visibility::Public, None, Some(black))
    );
    assert_eq!(
        (after.visibility, after.reserved_to()),
        (stored.visibility, None),
        "what is told here is what is stored"
    );
    let stored = load(&declined).await;
    assert_eq!(
        (stored.status, stored.visibility, stored.reserved_to()),
        (GameStatus::Aborted, Visibility::Private, Some(black))
    );
    assert_eq!(load(&played).await.visibility, Visibility::Public);
    let left = repo::challenges_to(&pool, &[black], 10).await.unwrap();
    assert_eq!(left, [(black, waiting.id)]);
    let rows: i64 = sqlx::query_scalar("select count(*) from challenges")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn event_state_and_outbox_row_go_in_together(pool: PgPool) {
    let clock = ClockSettings {
        initial_ms: 60_000,
        increment_ms: 5_000,
    };
    let game = active_game(&pool, "fog-chess", Some(clock)).await;
    assert_eq!((game.seq.0, game.status), (2, GameStatus::Active));
    let outcome = commit(
        &pool,
        &[move_row(&game, Seat::White, "e2e4", CommandId::generate())],
    )
    .await;
    let Outcome::Committed(times) = outcome[0] else {
        panic!("{outcome:?}")
    };
    let white_ms = times.white_ms.unwrap();
    assert!(
        (60_001..=65_000).contains(&white_ms),
        "increment added, time taken: {white_ms}"
    );
    assert_eq!(times.black_ms, Some(60_000));
    assert_eq!(times.flag_in_ms, Some(60_000));
    let game = repo::load(&pool, game.id).await.unwrap().unwrap();
    assert_eq!((game.seq.0, game.turn), (3, Seat::Black));
    let events = repo::events_after(&pool, game.id, entity::Seq(0), 10)
        .await
        .unwrap();
    let seqs: Vec<i64> = events.iter().map(|logged| logged.moment.seq.0).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(json!(events[2].record), json!({"uci": "e2e4"}));
    assert_eq!(outbox_rows(&pool, game.id).await, 3);
    let last = events.last().unwrap();
    assert_eq!(
        last.moment.view(rules::ViewClass::Black).members.to_map(),
        game.moment().view(rules::ViewClass::Black).members.to_map(),
        "the view drawn from the log is the view drawn from the state"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn each_command_of_a_batch_gets_its_own_answer(pool: PgPool) {
    let good = active_game(&pool, "fog-chess", None).await;
    let stale = active_game(&pool, "fog-chess", None).await;
    let used = active_game(&pool, "fog-chess", None).await;
    let held = active_game(&pool, "fog-chess", None).await;
    let used_command = CommandId::generate();
    let used_row = move_row(&used, Seat::White, "e2e4", used_command);
    let stale_row = move_row(&stale, Seat::White, "e2e4", CommandId::generate());
    commit(&pool, &[used_row.clone(), stale_row.clone()]).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select 1 from games where id = $1 for update")
        .bind(held.id.0)
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut flag = row(
        &good,
        entity::decide(&good, Seat::White, Action::Resign, None).unwrap(),
        good.white.unwrap(),
        CommandId::generate(),
    );
    Arc::make_mut(&mut flag.change).needs_fallen_flag = true;
    let batch = [
        move_row(&held, Seat::White, "e2e4", CommandId::generate()),
        used_row,
        CommitRow {
            command_id: CommandId::generate(),
            ..stale_row
        },
        flag,
    ];
    let outcomes = commit(&pool, &batch).await;
    assert_eq!(
        outcomes,
        [
            Outcome::Held,
            Outcome::Used,
            Outcome::Moved,
            Outcome::FlagNotFallen
        ]
    );
    for (game, events) in [(&good, 2), (&stale, 3), (&used, 3), (&held, 2)] {
        assert_eq!(
            outbox_rows(&pool, game.id).await,
            events,
            "nothing else was written"
        );
    }
    holder.rollback().await.unwrap();
    assert!(matches!(
        commit(&pool, &batch[..1]).await[0],
        Outcome::Committed(_)
    ));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_fallen_flag_refuses_the_move_and_lets_the_flag_through_once(pool: PgPool) {
    let clock = ClockSettings {
        initial_ms: 60_000,
        increment_ms: 0,
    };
    let game = active_game(&pool, "fog-chess", Some(clock)).await;
    let flag = || {
        row(
            &game,
            entity::flag(&game).unwrap(),
            PlayerId(game.id.0),
            CommandId::generate(),
        )
    };
    assert_eq!(commit(&pool, &[flag()]).await, [Outcome::FlagNotFallen]);
    sqlx::query(
        "update games set flag_at = statement_timestamp(),
        turn_started_at = turn_started_at - interval '1 minute' where id = $1",
    )
    .bind(game.id.0)
    .execute(&pool)
    .await
    .unwrap();
    let late = move_row(&game, Seat::White, "e2e4", CommandId::generate());
    assert_eq!(commit(&pool, &[late]).await, [Outcome::FlagFallen]);
    let due = repo::due_flags(&pool, 10).await.unwrap();
    assert_eq!(due, [game.id]);
    assert!(matches!(
        commit(&pool, &[flag()]).await[0],
        Outcome::Committed(_)
    ));
    assert_eq!(commit(&pool, &[flag()]).await, [Outcome::Moved]);
    let ended = repo::load(&pool, game.id).await.unwrap().unwrap();
    assert_eq!(ended.status, GameStatus::Finished);
    let result = ended.result.unwrap();
    assert_eq!(
        (result.winner, result.reason.as_str()),
        (Some(Seat::Black), "flag")
    );
    assert_eq!(ended.clock.unwrap().reading.white_ms, 0);
    let results: i64 = sqlx::query_scalar(
        "select count(*) from game_results where game_id = $1 and winner = 'black'",
    )
    .bind(game.id.0)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(results, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_zero_character_in_a_payload_fails_nobody(pool: PgPool) {
    let strange = active_game(&pool, "turn-log", None).await;
    let normal = active_game(&pool, "fog-chess", None).await;
    let append = action(&json!({"type": "append", "payload": "a\u{0}b"}));
    let change = entity::decide(&strange, Seat::White, Action::Play(&append), None).unwrap();
    let batch = [
        row(
            &strange,
            change,
            strange.white.unwrap(),
            CommandId::generate(),
        ),
        move_row(&normal, Seat::White, "e2e4", CommandId::generate()),
    ];
    for outcome in commit(&pool, &batch).await {
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
    let events = repo::events_after(&pool, strange.id, entity::Seq(2), 10)
        .await
        .unwrap();
    assert_eq!(json!(events[0].record), json!({"payload": "a\u{0}b"}));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_lobby_pages_through_every_open_game_once(pool: PgPool) {
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(open_game(&pool, "fog-chess", None).await.id);
    }
    active_game(&pool, "fog-chess", None).await;
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = repo::lobby(&pool, GameStatus::Open, after, 3)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(repo::LobbyPosition {
            created_at_us: last.created_at_us,
            id: last.id,
        });
        listed.extend(page.iter().map(|game| game.id));
    }
    made.reverse();
    assert_eq!(listed, made, "newest first, each once");
}
