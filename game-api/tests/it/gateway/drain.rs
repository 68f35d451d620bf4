//! A drain under load: every client goes to another gateway at its own time, and none misses a
//! frame, whether it goes when it was asked to or stays until it is closed.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::{Barrier, Mutex, watch};
use tokio::time::{Instant, interval, sleep_until};

use super::harness::{Instance, NatsServer, Player, Socket, numbers};

const CLIENTS: usize = 60;
/// Appends before the drain.
const APPENDS: usize = 40;
const APPEND_EVERY: Duration = Duration::from_millis(10);
const SPREAD: Duration = Duration::from_millis(600);

/// What all clients know.
struct Table {
    a: Instance,
    b: Instance,
    game: String,
    ready: Barrier,
    /// How many have left `a`.
    left: watch::Sender<usize>,
    /// The last frame's number, once it is known.
    last: watch::Sender<i64>,
    drained: Mutex<Option<Instant>>,
}

/// What a client saw.
struct Seen {
    numbers: Vec<i64>,
    /// How many frames it had when it was told to go.
    when_told: usize,
    /// How many when it was closed, or went.
    when_gone: usize,
    after: Duration,
    /// From the beginning of the drain to the close.
    closed: Option<Duration>,
}

impl Seen {
    fn take(&mut self, event: &Value, cursor: &mut String) {
        assert_eq!(event["type"], "event", "{event}");
        self.numbers.extend(numbers(std::slice::from_ref(event)));
        event["cursor"].as_str().unwrap().clone_into(cursor);
    }
}

impl Table {
    /// Follows the game to its last frame, and goes to `b` when asked to if it `obeys`, else when
    /// it is closed.
    async fn follow(&self, obeys: bool) -> Seen {
        let mut seen = Seen {
            numbers: Vec::new(),
            when_told: 0,
            when_gone: 0,
            after: Duration::MAX,
            closed: None,
        };
        let mut cursor = "0".to_owned();
        let mut socket = self.a.socket(None).await;
        socket.subscribe(&self.game, Some(&cursor)).await;
        self.ready.wait().await;
        self.stay(&mut socket, obeys, &mut seen, &mut cursor).await;
        seen.when_gone = seen.numbers.len();
        self.left.send_modify(|left| *left += 1);
        let mut elsewhere = self.b.socket(None).await;
        let subscribed = elsewhere.subscribe(&self.game, Some(&cursor)).await;
        assert_eq!(subscribed["resumed"], true);
        drop(socket);
        let mut last = self.last.subscribe();
        while seen.numbers.last() < Some(&*last.borrow()) {
            tokio::select! {
                event = elsewhere.next() => seen.take(&event, &mut cursor),
                changed = last.changed() => changed.unwrap(),
            }
        }
        seen
    }

    /// Until it is time to leave `a`.
    async fn stay(&self, socket: &mut Socket, obeys: bool, seen: &mut Seen, cursor: &mut String) {
        let mut goes = None;
        loop {
            let message = tokio::select! {
                message = socket.next_or_close() => message,
                () = sleep_until(goes.unwrap_or_else(Instant::now)), if goes.is_some() => return,
            };
            match message {
                Ok(message) if message["type"] == "reconnect" => {
                    seen.when_told = seen.numbers.len();
                    seen.after = Duration::from_millis(message["after_ms"].as_u64().unwrap());
                    goes = obeys.then(|| Instant::now() + seen.after);
                }
                Ok(message) => seen.take(&message, cursor),
                Err(close) => {
                    assert_eq!(close.map(|close| u16::from(close.code)), Some(1012));
                    seen.closed = self.drained.lock().await.map(|drained| drained.elapsed());
                    return;
                }
            }
        }
    }

    /// Plays at `b` until all have left `a`, whose drain begins in the middle.
    async fn play(&self, players: [&Player; 2]) {
        self.ready.wait().await;
        let mut pace = interval(APPEND_EVERY);
        let mut nth = 0;
        while *self.left.borrow() < CLIENTS {
            pace.tick().await;
            let action = json!({"type": "append", "payload": nth});
            self.b.act(players[nth % 2], &self.game, &action).await;
            nth += 1;
            if nth == APPENDS {
                *self.drained.lock().await = Some(Instant::now());
                self.a.drain();
            }
        }
        // The first two are its creation and the second player's joining.
        self.last.send_replace(i64::try_from(nth + 2).unwrap());
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn under_load_every_client_goes_to_another_gateway_without_a_gap(pool: PgPool) {
    let nats = NatsServer::start().await;
    let spread = SPREAD.as_millis().to_string();
    let settings = [
        ("GATEWAY_RECONNECT_SPREAD_MS", spread.as_str()),
        ("GATEWAY_RECONCILE_MS", "100"),
        ("RATE_COMMANDS_BURST", "10000"),
    ];
    let a = Instance::start(&pool, &nats, &settings).await;
    let b = Instance::start(&pool, &nats, &settings).await;
    let (white, black, game) = b.game(&json!({"ruleset": "turn-log"})).await;
    let table = Table {
        a,
        b,
        game,
        ready: Barrier::new(CLIENTS + 1),
        left: watch::Sender::new(0),
        last: watch::Sender::new(i64::MAX),
        drained: Mutex::default(),
    };
    let clients = join_all((0..CLIENTS).map(|nth| table.follow(nth % 2 == 0)));
    let (seen, ()) = tokio::join!(clients, table.play([&white, &black]));
    let all: Vec<i64> = (1..=*table.last.borrow()).collect();
    for (nth, seen) in seen.iter().enumerate() {
        assert_eq!(seen.numbers, all, "client {nth}");
        assert!(seen.after <= SPREAD, "{:?}", seen.after);
    }
    // Who goes when asked to is not closed first, unless this machine is very slow; who stays is
    // served and then closed, each at a time of its own.
    let closed = |seen: &&Seen| seen.closed.is_some();
    let went_by_themselves = CLIENTS - seen.iter().filter(closed).count();
    assert!(
        went_by_themselves > CLIENTS / 4,
        "only {went_by_themselves}"
    );
    let stayed: Vec<_> = seen.iter().skip(1).step_by(2).collect();
    for seen in &stayed {
        assert!(
            seen.when_gone > seen.when_told,
            "nothing came after the farewell"
        );
        assert!(seen.closed >= Some(seen.after + SPREAD), "closed too early");
    }
    let mut afters: Vec<_> = seen.iter().map(|seen| seen.after).collect();
    afters.sort_unstable();
    for (nth, quarter) in afters.chunks(CLIENTS / 4).enumerate() {
        let begins = SPREAD * u32::try_from(nth).unwrap() / 4;
        let away = quarter[CLIENTS / 8].abs_diff(begins + SPREAD / 8);
        assert!(away < SPREAD / 8, "the departures bunch: {afters:?}");
    }
    let mut closed: Vec<_> = stayed.iter().filter_map(|seen| seen.closed).collect();
    closed.sort_unstable();
    let over = closed[closed.len() - 1].abs_diff(closed[0]);
    assert!(
        over > SPREAD / 2,
        "they were closed all at once: {closed:?}"
    );
    let drained = table.a.disconnects("drain");
    assert_eq!(drained, (CLIENTS - went_by_themselves) as u64);
    let Table { a, b, .. } = table;
    a.stop().await;
    b.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn streams_and_long_polls_end_one_after_the_other(pool: PgPool) {
    const EACH: usize = 16;
    let nats = NatsServer::start().await;
    let spread = SPREAD.as_millis().to_string();
    let a = Instance::start(
        &pool,
        &nats,
        &[("GATEWAY_RECONNECT_SPREAD_MS", spread.as_str())],
    )
    .await;
    let (white, _black, game) = a.game(&json!({})).await;
    let path = format!("/v1/games/{game}/events");
    let (_, present) = a.get(&path, None).await;
    let after = present["cursor"].as_str().unwrap();
    // Another game, in which nothing happens: an event would answer the poll.
    let quiet = a.game(&json!({})).await.2;
    let (_, present) = a.get(&format!("/v1/games/{quiet}/events"), None).await;
    let quiet = format!(
        "/v1/games/{quiet}/events?after={}&wait_ms=30000",
        present["cursor"].as_str().unwrap()
    );
    let path = format!("/v1/games/{game}/stream?after={after}");
    let mut streams = Vec::new();
    for _ in 0..EACH {
        streams.push(a.stream(&path, None).await);
    }
    let waiting = join_all((0..EACH).map(|_| async {
        let (status, answer) = a.get(&quiet, None).await;
        assert_eq!((status.as_u16(), &answer["frames"]), (200, &json!([])));
        Instant::now()
    }));
    let reading = join_all(streams.into_iter().map(|stream| async {
        let pieces: Vec<_> = stream.map(Result::unwrap).collect().await;
        let text = String::from_utf8(pieces.concat()).unwrap();
        (Instant::now(), text)
    }));
    let drain = async {
        super::harness::until("all wait", async || {
            a.app.metrics.gateway_subscriptions.get() == i64::try_from(2 * EACH).unwrap()
        })
        .await;
        a.drain();
        let drained = Instant::now();
        a.moves(&white, &game, "e2e4").await;
        drained
    };
    let (polls, streams, drained) = tokio::join!(waiting, reading, drain);
    let of_streams = streams.iter().map(|(at, _)| *at);
    let mut ends: Vec<Duration> = polls
        .into_iter()
        .chain(of_streams)
        .map(|at| at - drained)
        .collect();
    ends.sort_unstable();
    // Times can only be later than they should be.
    assert!(
        ends[EACH] > SPREAD * 2 / 5,
        "half of them at once: {ends:?}"
    );
    assert!(ends[2 * EACH - 1] > SPREAD * 4 / 5, "all early: {ends:?}");
    assert!(
        ends[2 * EACH - 1].abs_diff(ends[0]) > SPREAD / 3,
        "all at once: {ends:?}"
    );
    for (at, text) in &streams {
        assert!(text.contains("retry: 250"), "no time to come back: {text}");
        let was_there = text.contains("\"moved\"");
        assert!(
            was_there || *at - drained < SPREAD / 2,
            "nothing came in the drain"
        );
    }
    assert_eq!(a.disconnects("drain"), EACH as u64);
    a.stop().await;
}
