//! The games service on a real Postgres: what each command is told, and how many statements it
//! takes. NATS is away in all of these: moves commit without it.

use std::sync::Arc;

use futures_util::future::join_all;
use game_api::database::Failures;
use game_api::games::entity::{Game, GameStatus};
use game_api::games::service::{Accepted, CommandRequest, CreateGame, Games};
use game_api::health::Health;
use game_api::metrics::Metrics;
use game_api::problem::{Problem, Reason};
use serde_json::{Value, json};
use shared::ids::{CommandId, PlayerId};
use shared::lifecycle::Lifecycle;
use shared::telemetry::TraceContext;
use sqlx::PgPool;

/// One instance of the service.
struct Instance {
    games: Games,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    life: Lifecycle,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.life.drain();
    }
}

impl Instance {
    async fn start(pool: &PgPool) -> Self {
        let life = Lifecycle::new();
        // Port 9 (discard) on loopback: nobody answers, and the client keeps trying.
        let nats = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .connect("nats://127.0.0.1:9")
            .await
            .unwrap();
        let metrics = Arc::new(Metrics::new(&[]).unwrap());
        let health = Arc::new(Health::default());
        let failures = Failures::new(health.clone(), metrics.clone());
        let games = Games::start(pool.clone(), nats, failures, metrics.clone(), 20, &life);
        Self {
            games,
            metrics,
            health,
            life,
        }
    }

    async fn active_game(&self, body: Value) -> (Arc<Game>, PlayerId, PlayerId) {
        let (white, black) = (PlayerId::generate(), PlayerId::generate());
        let mut wanted: CreateGame = serde_json::from_value(body).unwrap();
        wanted.seat = serde_json::from_value(json!("white")).unwrap();
        let trace = TraceContext::unrecorded();
        let game = self.games.create(white, &wanted, &trace).await.unwrap();
        let game = self.games.join(black, game.id, None, &trace).await.unwrap();
        (game, white, black)
    }

    async fn send(
        &self,
        player: PlayerId,
        game: &Game,
        command_id: CommandId,
        at: Option<i64>,
        action: Value,
    ) -> Result<Accepted, Problem> {
        let action = action.as_object().cloned().unwrap();
        let request = CommandRequest {
            command_id,
            at,
            action,
        };
        self.games
            .command(player, game.id, request, &TraceContext::unrecorded())
            .await
    }

    async fn play(&self, player: PlayerId, game: &Game, uci: &str) -> Result<Accepted, Problem> {
        let action = json!({"type": "move", "uci": uci});
        self.send(player, game, CommandId::generate(), None, action)
            .await
    }

    fn statements(&self) -> u64 {
        self.metrics.game_commit_batch_size.get_sample_count()
    }
}

fn reason(result: Result<Accepted, Problem>) -> Reason {
    result.unwrap_err().reason
}

async fn log_length(pool: &PgPool, game: &Game) -> i64 {
    sqlx::query_scalar("select count(*) from game_events where game_id = $1")
        .bind(game.id.0)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn sixty_four_commands_at_once_are_one_statement_and_each_has_its_answer(pool: PgPool) {
    let here = Instance::start(&pool).await;
    let mut games = Vec::new();
    for _ in 0..64 {
        games.push(here.active_game(json!({})).await);
    }
    let used = CommandId::generate();
    let e4 = || json!({"type": "move", "uci": "e2e4"});
    for (game, white, _) in &games[48..56] {
        here.send(*white, game, used, None, e4()).await.unwrap();
    }
    let before = here.statements();
    let bad_move = |uci: &str| json!({"type": "move", "uci": uci});
    let resign = || json!({"type": "resign"});
    let stranger = PlayerId::generate();
    let mut commands = Vec::new();
    for (index, (game, white, black)) in games.iter().enumerate() {
        let new = CommandId::generate();
        commands.push(Box::pin(match index {
            0..40 => here.send(*white, game, new, Some(2), e4()),
            40..44 => here.send(*white, game, new, None, bad_move("e2e5")),
            44..48 => here.send(*white, game, new, Some(1), e4()),
            48..52 => here.send(*white, game, used, None, e4()),
            52..56 => here.send(*white, game, used, None, resign()),
            56..60 => here.send(*black, game, new, None, bad_move("e7e5")),
            _ => here.send(stranger, game, new, None, e4()),
        }));
    }
    // Each is polled once before the committer can run on this one thread: all 64 are under way.
    for command in &mut commands {
        let _ = futures_util::poll!(command);
    }
    let answers = join_all(commands).await;
    assert_eq!(here.statements() - before, 1, "one statement on the wire");
    for (index, (answer, (game, ..))) in answers.into_iter().zip(&games).enumerate() {
        match index {
            0..40 => assert_eq!(
                answer.map(|accepted| (accepted.duplicate, accepted.logged.moment.seq.0)),
                Ok((false, 3))
            ),
            40..44 => assert_eq!(reason(answer), Reason::IllegalAction),
            44..48 => assert_eq!(reason(answer), Reason::Stale),
            48..52 => assert_eq!(
                answer.map(|accepted| (accepted.duplicate, accepted.logged.moment.seq.0)),
                Ok((true, 3))
            ),
            52..56 => assert_eq!(reason(answer), Reason::Conflict),
            56..60 => assert_eq!(reason(answer), Reason::NotYourTurn),
            _ => assert_eq!(reason(answer), Reason::Forbidden),
        }
        let events = if matches!(index, 0..40 | 48..56) {
            3
        } else {
            2
        };
        assert_eq!(log_length(&pool, game).await, events, "game {index}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn two_instances_take_turns_although_each_holds_an_old_copy(pool: PgPool) {
    let (one, two) = (Instance::start(&pool).await, Instance::start(&pool).await);
    let (game, white, black) = one.active_game(json!({})).await;
    for (number, (here, player, uci)) in [
        (&one, white, "e2e4"),
        (&two, black, "e7e5"),
        (&one, white, "g1f3"),
        (&two, black, "b8c6"),
    ]
    .into_iter()
    .enumerate()
    {
        let accepted = here.play(player, &game, uci).await.unwrap();
        assert_eq!(
            accepted.logged.moment.seq.0,
            3 + i64::try_from(number).unwrap()
        );
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn racing_twins_of_one_command_make_one_event(pool: PgPool) {
    let (one, two) = (Instance::start(&pool).await, Instance::start(&pool).await);
    let (game, white, _) = one.active_game(json!({})).await;
    let id = CommandId::generate();
    let action = json!({"type": "move", "uci": "e2e4"});
    let twins = (0..8).map(|twin| {
        let here = if twin % 2 == 0 { &one } else { &two };
        here.send(white, &game, id, None, action.clone())
    });
    let answers: Vec<Accepted> = join_all(twins)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let events: std::collections::HashSet<_> = answers
        .iter()
        .map(|accepted| accepted.logged.event_id)
        .collect();
    assert_eq!(events.len(), 1, "all are told of the same event");
    let first = answers
        .iter()
        .filter(|accepted| !accepted.duplicate)
        .count();
    assert_eq!(first, 1, "and only one of them made it");
    assert_eq!(log_length(&pool, &game).await, 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_command_is_told_comes_in_the_contracts_order(pool: PgPool) {
    let here = Instance::start(&pool).await;
    let (game, white, black) = here.active_game(json!({})).await;
    let new = CommandId::generate;
    let resign = || json!({"type": "resign"});
    // Ahead of the latest, and a malformed action, are invalid.
    assert_eq!(
        reason(here.send(white, &game, new(), Some(9), resign()).await),
        Reason::Invalid
    );
    for bad in [
        json!({}),
        json!({"type": 7}),
        json!({"type": "move", "uci": "x"}),
        json!({"type": "move", "uci": "e2e4", "extra": 1}),
        json!({"type": "resign", "extra": 1}),
        json!({"type": "unknown"}),
    ] {
        assert_eq!(
            reason(here.send(white, &game, new(), None, bad.clone()).await),
            Reason::Invalid,
            "{bad}"
        );
    }
    // An acceptance without an offer, one's own offer, a flag without a clock: illegal.
    for bad in ["accept_draw", "decline_draw", "flag"] {
        let answer = here
            .send(white, &game, new(), None, json!({"type": bad}))
            .await;
        assert_eq!(reason(answer), Reason::IllegalAction, "{bad}");
    }
    let offer = here
        .send(white, &game, new(), None, json!({"type": "offer_draw"}))
        .await
        .unwrap();
    assert!(offer.logged.moment.draw_offer.is_some());
    assert_eq!(
        reason(
            here.send(white, &game, new(), None, json!({"type": "accept_draw"}))
                .await
        ),
        Reason::IllegalAction
    );
    // The offer lapses when its receiver moves, not before.
    let after = here.play(white, &game, "e2e4").await.unwrap();
    assert!(after.logged.moment.draw_offer.is_some());
    let after = here.play(black, &game, "e7e5").await.unwrap();
    assert!(after.logged.moment.draw_offer.is_none());
    assert_eq!(
        reason(
            here.send(white, &game, new(), None, json!({"type": "abort"}))
                .await
        ),
        Reason::IllegalAction
    );
    let last = new();
    here.send(white, &game, last, None, resign()).await.unwrap();
    // After the end: what was done is remembered, all else is over.
    assert!(
        here.send(white, &game, last, None, resign())
            .await
            .unwrap()
            .duplicate
    );
    assert_eq!(
        reason(here.send(black, &game, new(), Some(1), resign()).await),
        Reason::GameOver
    );
    let ended = here.games.load(game.id).await.unwrap().unwrap();
    assert_eq!(ended.status, GameStatus::Finished);
    // While open: conflict, but the creator may abort.
    let wanted = CreateGame::default();
    let open = here
        .games
        .create(white, &wanted, &TraceContext::unrecorded())
        .await
        .unwrap();
    assert_eq!(
        reason(here.send(white, &open, new(), None, resign()).await),
        Reason::Conflict
    );
    here.send(white, &open, new(), None, json!({"type": "abort"}))
        .await
        .unwrap();
    assert_eq!(
        here.games.load(open.id).await.unwrap().unwrap().status,
        GameStatus::Aborted
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_flag_falls_by_itself_and_a_late_move_is_told_game_over(pool: PgPool) {
    let here = Instance::start(&pool).await;
    let (game, white, _) = here
        .active_game(json!({"clock": {"initial_ms": 50, "increment_ms": 0}}))
        .await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let game = here.games.load(game.id).await.unwrap().unwrap();
            if game.status == GameStatus::Finished {
                return game;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(ended.result.as_ref().unwrap().reason, "flag");
    assert_eq!(
        reason(here.play(white, &game, "e2e4").await),
        Reason::GameOver
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_write_that_fails_is_a_persistence_failure_and_shows_in_health(pool: PgPool) {
    let here = Instance::start(&pool).await;
    let (game, white, _) = here.active_game(json!({})).await;
    let (sender, fed) = std::sync::mpsc::channel();
    here.games.feed().listen(move |committed| {
        let _ = sender.send(committed);
    });
    // A constraint that no event satisfies: Postgres refuses the write, whatever the cause.
    sqlx::query("alter table game_events add constraint full_disk check (false) not valid")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        reason(here.play(white, &game, "e2e4").await),
        Reason::PersistenceFailure
    );
    assert!(here.health.check().is_err());
    assert!(fed.try_recv().is_err(), "nothing is fanned out");
    assert_eq!(log_length(&pool, &game).await, 2);
    sqlx::query("alter table game_events drop constraint full_disk")
        .execute(&pool)
        .await
        .unwrap();
    here.play(white, &game, "e2e4").await.unwrap();
    assert_eq!(fed.try_recv().unwrap().logged.moment.seq.0, 3);
}
