//! Against a server made of lines.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::connection::{Connection, OUT_BYTES_KEPT, SILENT_MAX};
use super::*;
use crate::nats::dial::Dialled;

/// Watches games, and keeps what it is told of the first.
struct Viewer {
    games: Vec<GameId>,
    heard: mpsc::Sender<String>,
}

impl Listener for Viewer {
    fn hear(&self, game: GameId, message: &Delivered<'_>) -> bool {
        let text = String::from_utf8_lossy(message.payload).into_owned();
        game == self.games[0] && self.heard.try_send(text).is_ok()
    }

    fn watched(&self) -> Vec<GameId> {
        self.games.clone()
    }
}

/// The other end of a connection.
struct Server {
    lines: Lines<BufReader<OwnedReadHalf>>,
    out: OwnedWriteHalf,
}

impl Server {
    /// Lets a client in, and says that all it asks for at first stands.
    async fn greet(listener: &TcpListener) -> Self {
        let mut server = Self::accept(listener).await;
        while server.line().await != "PING" {}
        server.say("PONG").await;
        server
    }

    /// Lets a client in.
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (read, out) = stream.into_split();
        let lines = BufReader::new(read).lines();
        let mut server = Self { lines, out };
        server.say("INFO {\"max_payload\":1048576}").await;
        assert!(server.line().await.starts_with("CONNECT {"));
        assert_eq!(server.line().await, "PING");
        server.say("PONG").await;
        server
    }

    async fn say(&mut self, text: &str) {
        self.out.write_all(text.as_bytes()).await.unwrap();
        self.out.write_all(b"\r\n").await.unwrap();
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().unwrap()
    }

    /// The next line that is no ping of the clock's.
    async fn request(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line != "PING" {
                return line;
            }
        }
    }
}

async fn started(game: GameId, life: &Lifecycle) -> (TcpListener, Events, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (events, heard) = started_at(&listener, vec![game], life);
    (listener, events, heard)
}

fn started_at(listener: &TcpListener, games: Vec<GameId>, life: &Lifecycle) -> (Events, Heard) {
    started_among(&[listener], games, life)
}

fn started_among(
    listeners: &[&TcpListener],
    games: Vec<GameId>,
    life: &Lifecycle,
) -> (Events, Heard) {
    let identity = Identity {
        name: "test".to_owned(),
        credentials: None,
    };
    let address = |listener: &&TcpListener| listener.local_addr().unwrap().to_string();
    let servers = listeners.iter().map(|at| address(at).parse().unwrap());
    let events = Events::new(servers.collect(), identity);
    let (sender, heard) = mpsc::channel(8);
    events.start(
        Viewer {
            games,
            heard: sender,
        },
        life,
    );
    (events, heard)
}

type Heard = mpsc::Receiver<String>;

fn subscribe_line(game: GameId) -> String {
    format!("SUB events.game.{game} {}", game.0.simple())
}

#[tokio::test]
async fn a_subscription_stands_when_the_ping_behind_it_is_answered() {
    let (life, game, other) = (Lifecycle::new(), GameId::generate(), GameId::generate());
    let (listener, events, mut heard) = started(game, &life).await;
    let mut server = Server::accept(&listener).await;
    assert_eq!(server.line().await, subscribe_line(game));
    assert_eq!(server.line().await, "PING");
    assert!(!*events.connected().borrow(), "nothing stands yet");
    server.say("PONG").await;
    events.connected().wait_for(|up| *up).await.unwrap();

    let stands = std::cell::Cell::new(false);
    let subscribing = async {
        events.subscribe(other).await;
        stands.set(true);
    };
    let answering = async {
        assert_eq!(server.request().await, subscribe_line(other));
        assert!(!stands.get());
        // One for each ping, of the clock and of the subscription.
        for _ in 0..8 {
            server.say("PONG").await;
        }
    };
    tokio::join!(subscribing, answering);

    // Nobody watches the other game: it is given up when something comes of it.
    server
        .say(&format!("MSG events.game.{other} 1 2\r\n{{}}"))
        .await;
    server
        .say(&format!("MSG events.game.{game} 1 5\r\nhello"))
        .await;
    assert_eq!(heard.recv().await.unwrap(), "hello");
    assert_eq!(
        server.request().await,
        format!("UNSUB {}", other.0.simple())
    );
    assert_eq!(events.received(), 2);
    drop(events);
    life.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn after_a_broken_connection_all_that_is_watched_is_asked_for_again() {
    let (life, game) = (Lifecycle::new(), GameId::generate());
    let (listener, events, _heard) = started(game, &life).await;
    let mut first = Server::accept(&listener).await;
    assert_eq!(first.line().await, subscribe_line(game));
    first.say("PONG").await;
    events.connected().wait_for(|up| *up).await.unwrap();
    drop(first);
    events.connected().wait_for(|up| !*up).await.unwrap();
    let mut second = Server::accept(&listener).await;
    assert_eq!(second.line().await, subscribe_line(game));
    second.say("PONG").await;
    events.connected().wait_for(|up| *up).await.unwrap();
    drop(events);
    life.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_up_again_and_again_is_not_stormed() {
    let (life, game) = (Lifecycle::new(), GameId::generate());
    let (listener, events, _heard) = started(game, &life).await;
    let mut times = 0;
    let storm = async {
        loop {
            drop(Server::greet(&listener).await);
            times += 1;
        }
    };
    assert!(timeout(Duration::from_secs(1), storm).await.is_err());
    assert!((2..=10).contains(&times), "{times} connections in a second");
    drop(events);
    life.finish(Duration::from_secs(5)).await.unwrap();
}

/// What a server does once it has let a client in.
#[derive(Clone, Copy, Debug)]
enum Fault {
    HangsUp,
    HangsUpOnceAllStands,
    SaysNothing,
    SaysNothingOnceAllStands,
    AnswersNoPing,
    AnswersOnePing,
}

const FAULTS: [Fault; 6] = [
    Fault::HangsUp,
    Fault::HangsUpOnceAllStands,
    Fault::SaysNothing,
    Fault::SaysNothingOnceAllStands,
    Fault::AnswersNoPing,
    Fault::AnswersOnePing,
];

impl Fault {
    /// To all who come.
    async fn serve(self, listener: &TcpListener) {
        loop {
            let mut server = match self {
                Self::HangsUp | Self::SaysNothing | Self::AnswersNoPing => {
                    Server::accept(listener).await
                }
                _ => Server::greet(listener).await,
            };
            match self {
                Self::HangsUp | Self::HangsUpOnceAllStands => {}
                Self::SaysNothing | Self::SaysNothingOnceAllStands => {
                    while let Ok(Some(_)) = server.lines.next_line().await {}
                }
                Self::AnswersNoPing | Self::AnswersOnePing => {
                    while server.out.write_all(b"+OK\r\n").await.is_ok() {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_lets_in_and_is_of_no_use_is_left_for_another() {
    let left = join_all(FAULTS.map(async |fault| {
        let life = Lifecycle::new();
        let bad = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let worse = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listeners = [&bad, &worse, &good];
        let (events, _heard) = started_among(&listeners, vec![GameId::generate()], &life);
        let come = tokio::select! {
            () = fault.serve(&bad) => None,
            () = Fault::HangsUpOnceAllStands.serve(&worse) => None,
            come = timeout(Duration::from_secs(12), Server::greet(&good)) => come.ok(),
        };
        let has_come = come.is_some();
        drop((come, events));
        life.finish(Duration::from_secs(5)).await.unwrap();
        (!has_come).then_some(fault)
    }));
    let stayed: Vec<Fault> = left.await.into_iter().flatten().collect();
    assert!(stayed.is_empty(), "never left: {stayed:?}");
}

#[tokio::test]
async fn what_is_large_when_it_is_sent_takes_no_room_afterwards() {
    let games: Vec<GameId> = (0..10_000).map(|_| GameId::generate()).collect();
    let (heard, _heard) = mpsc::channel(1);
    let (wire, _server) = tokio::io::duplex(10_000 * 128);
    let dialled = Dialled {
        wire: Box::new(wire),
        buffer: bytes::BytesMut::new(),
        neighbours: Vec::new(),
        encrypted: false,
    };
    let opened = Connection::open(dialled, &Viewer { games, heard }).await;
    let kept = opened.ok().unwrap().out.capacity();
    assert!(kept <= OUT_BYTES_KEPT, "{kept} bytes");
}

#[tokio::test]
async fn servers_that_join_the_cluster_later_are_known_when_the_first_one_goes() {
    let (life, game) = (Lifecycle::new(), GameId::generate());
    let (listener, events, _heard) = started(game, &life).await;
    let later = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut first = Server::greet(&listener).await;
    let address = later.local_addr().unwrap();
    first
        .say(&format!("INFO {{\"connect_urls\":[\"{address}\"]}}"))
        .await;
    // What comes after it has been read, so it has been too.
    first.say("PING").await;
    assert_eq!(first.request().await, "PONG");
    drop((first, listener));
    let second = timeout(Duration::from_secs(5), Server::greet(&later)).await;
    drop((second.expect("nobody came"), events));
    life.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_says_nothing() {
    let (life, game) = (Lifecycle::new(), GameId::generate());
    // It is connected to, and that is all.
    let (_listener, events, _heard) = started(game, &life).await;
    let all = (0..3 * WISHES_MAX).map(|_| events.subscribe(GameId::generate()));
    let waited = timeout(Duration::from_millis(500), join_all(all)).await;
    assert!(waited.is_ok(), "some wait");
    drop(events);
    life.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_answers_no_ping_is_given_up_though_it_is_heard() {
    let (life, game) = (Lifecycle::new(), GameId::generate());
    let (listener, events, _heard) = started(game, &life).await;
    let mut server = Server::greet(&listener).await;
    let mut connected = events.connected();
    connected.wait_for(|up| *up).await.unwrap();
    let talking = async {
        loop {
            server.say("+OK").await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = talking => {}
        down = timeout(Duration::from_secs(12), connected.wait_for(|up| !*up)) => {
            down.expect("it was not given up").unwrap();
        }
    }
    drop((connected, events));
    life.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn who_had_no_time_to_listen_takes_no_server_for_silent() {
    let (life, game) = (Lifecycle::new(), GameId::generate());
    let (listener, events, _heard) = started(game, &life).await;
    let mut server = Server::greet(&listener).await;
    let mut connected = events.connected();
    connected.wait_for(|up| *up).await.unwrap();
    // Of what is due at once any may come first, so it is tried again.
    for _ in 0..2 {
        for _ in 0..4 {
            server.say("PONG").await;
        }
        // The machine was busy; this test and what it tests have one thread.
        std::thread::sleep(SILENT_MAX + Duration::from_millis(50));
        assert_eq!(server.line().await, "PING");
        assert!(!connected.has_changed().unwrap(), "it was given up");
    }
    drop((server, connected, events));
    life.finish(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn no_subscription_is_lost_while_a_server_takes_nothing_for_a_moment() {
    let life = Lifecycle::new();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(256 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    // Far more than the kernel keeps of a connection that is not read from.
    let games: Vec<GameId> = (0..100_000).map(|_| GameId::generate()).collect();
    let begin = games[..1].to_vec();
    let (sender, _heard) = mpsc::channel(8);
    let identity = Identity {
        name: "test".to_owned(),
        credentials: None,
    };
    let address = listener.local_addr().unwrap();
    let events = Events::new(vec![address.to_string().parse().unwrap()], identity);
    let watched = Arc::new(Mutex::new(begin));
    events.start(
        Crowd {
            watched: Arc::clone(&watched),
            _heard: sender,
        },
        &life,
    );
    let mut server = Server::greet(&listener).await;
    events.connected().wait_for(|up| *up).await.unwrap();
    watched.lock().unwrap().clone_from(&games);
    // As rooms do, which do not wait for ever.
    for some in games.chunks(1000) {
        let wishes = some.iter().map(|game| events.subscribe(*game));
        let _ = timeout(Duration::from_millis(5), join_all(wishes)).await;
    }
    let mut missing: HashSet<String> = games.iter().map(|game| subscribe_line(*game)).collect();
    let all_asked = async {
        while !missing.is_empty() {
            let asked = server.line().await;
            if asked == "PING" {
                server.say("PONG").await;
            }
            missing.remove(&asked);
        }
    };
    let read = timeout(Duration::from_secs(10), all_asked).await;
    assert!(read.is_ok(), "{} were never asked for", missing.len());
    assert!(*events.connected().borrow(), "it was never away");
    drop((server, events));
    life.finish(Duration::from_secs(5)).await.unwrap();
}

/// Watches whatever it is told to.
struct Crowd {
    watched: Arc<Mutex<Vec<GameId>>>,
    _heard: mpsc::Sender<String>,
}

impl Listener for Crowd {
    fn hear(&self, _: GameId, _: &Delivered<'_>) -> bool {
        true
    }

    fn watched(&self) -> Vec<GameId> {
        self.watched.lock().unwrap().clone()
    }
}
