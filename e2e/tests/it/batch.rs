//! Commands that arrive together travel together, and each gets its own answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::client::protocol::move_action;
use e2e::client::{Api, NewGame, Refusal, new_id};
use e2e::supervisor::{Stack, loopback};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{PgPool, Postgres, Transaction};

use crate::harness::{gateways, stack};

const GAMES: usize = 64;

/// Keeps commits waiting.
async fn hold_commits(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut holder = pool.begin().await.expect("a transaction");
    sqlx::query("lock table game_events in share row exclusive mode")
        .execute(&mut *holder)
        .await
        .expect("locked");
    holder
}

/// Lets commits go on once one waits and everything that is refused without one has been: so the
/// others have come, and wait behind it.
async fn let_go(pool: &PgPool, holder: Transaction<'static, Postgres>, refused: &AtomicUsize) {
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks where relation = 'game_events'::regclass and not granted",
        )
        .fetch_one(pool)
        .await
        .expect("locks");
        if waiting > 0 && refused.load(Ordering::Relaxed) >= GAMES / 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    holder.commit().await.expect("released");
}

/// The sum and the count of a histogram on a gateway's ops port.
async fn histogram(stack: &Stack, name: &str) -> (f64, f64) {
    let url = format!("http://{}/metrics", loopback(stack.ports.gateway_ops[0]));
    let text = reqwest::get(url)
        .await
        .expect("metrics")
        .text()
        .await
        .expect("text");
    let value = |suffix: &str| {
        let series = format!("{name}_{suffix} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {series}in\n{text}"))
    };
    (value("sum"), value("count"))
}

#[tokio::test]
async fn sixty_four_commands_at_once_get_their_own_answers_in_few_statements() {
    let stack = stack(vec![]).await;
    let api = Api::new(&gateways(&stack)[0]);
    let games = join_all((0..GAMES).map(async |nth| {
        let white = api
            .register(&format!("white {nth}"))
            .await
            .expect("registered");
        let black = api
            .register(&format!("black {nth}"))
            .await
            .expect("registered");
        let game = api
            .create_game(&white, &NewGame::default())
            .await
            .expect("created")
            .id;
        api.join(&black, game).await.expect("joined");
        let known = new_id();
        api.command(&white, game, known, None, &move_action("e2e4"))
            .await
            .expect("moved");
        (white, black, game, known)
    }))
    .await;

    let (sum, count) = histogram(&stack, "game_commit_batch_size").await;
    let pool = PgPool::connect(&stack.postgres_addresses.owner_url)
        .await
        .expect("the database");
    let refused = AtomicUsize::new(0);
    let holder = hold_commits(&pool).await;
    let answers = join_all(games.iter().enumerate().map(
        async |(nth, (white, black, game, known))| {
            let answer = match nth % 4 {
                // A good move, an impossible one, one by whoever is too late, one sent again.
                0 => {
                    api.command(black, *game, new_id(), Some(3), &move_action("e7e5"))
                        .await
                }
                1 => {
                    api.command(black, *game, new_id(), Some(3), &move_action("e7e4"))
                        .await
                }
                2 => {
                    api.command(black, *game, new_id(), Some(2), &move_action("e7e5"))
                        .await
                }
                _ => {
                    api.command(white, *game, *known, None, &move_action("e2e4"))
                        .await
                }
            };
            refused.fetch_add(usize::from(answer.is_err()), Ordering::Relaxed);
            answer
        },
    ));
    let (answers, ()) = tokio::join!(answers, let_go(&pool, holder, &refused));
    for (nth, answer) in answers.iter().enumerate() {
        let reason = answer.as_ref().err().and_then(Refusal::reason);
        let duplicate = answer.as_ref().ok().map(|answer| answer.body.duplicate);
        let expected = [
            (None, Some(false)),
            (Some("illegal_action"), None),
            (Some("stale"), None),
            (None, Some(true)),
        ][nth % 4];
        assert_eq!((reason, duplicate), expected, "command {nth}: {answer:?}");
    }

    let (sum_after, count_after) = histogram(&stack, "game_commit_batch_size").await;
    let (commands, statements) = (sum_after - sum, count_after - count);
    assert!(commands >= 16.0, "{commands} commands were committed");
    assert!(
        statements * 2.0 <= commands,
        "{commands} commands took {statements} statements"
    );
    stack.end().await;
}

#[tokio::test]
async fn twenty_copies_of_one_command_make_one_event() {
    let stack = stack(vec![]).await;
    let apis = gateways(&stack)
        .into_iter()
        .map(Api::new)
        .collect::<Vec<_>>();
    let white = apis[0].register("white").await.expect("registered");
    let black = apis[0].register("black").await.expect("registered");
    let game = apis[0]
        .create_game(&white, &NewGame::default())
        .await
        .expect("created")
        .id;
    apis[1].join(&black, game).await.expect("joined");
    let id = new_id();
    let action = move_action("e2e4");
    let copies = (0..20).map(|nth| apis[nth % 2].command(&white, game, id, Some(2), &action));
    let answers = join_all(copies).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("answered").body)
        .collect();
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.n == 3 && answer.frame == answers[0].frame)
    );
    let other = apis[0]
        .command(&white, game, id, None, &json!({ "type": "resign" }))
        .await
        .expect_err("another action");
    assert_eq!(other.reason(), Some("conflict"));
    stack.end().await;
}
