//! Against a server made of lines.

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Watches one game, and keeps what it is told of it.
struct Viewer {
    game: GameId,
    heard: mpsc::Sender<String>,
}

impl Listener for Viewer {
    fn hear(&self, game: GameId, message: &Delivered<'_>) -> bool {
        let text = String::from_utf8_lossy(message.payload).into_owned();
        game == self.game && self.heard.try_send(text).is_ok()
    }

    fn watched(&self) -> Vec<GameId> {
        vec![self.game]
    }
}

/// The other end of a connection.
struct Server {
    lines: Lines<BufReader<OwnedReadHalf>>,
    out: OwnedWriteHalf,
}

impl Server {
    /// Lets a client in.
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
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
    let address = listener.local_addr().unwrap();
    let identity = Identity {
        name: "test".to_owned(),
        credentials: None,
    };
    let events = Events::new(vec![address.to_string().parse().unwrap()], identity);
    let (sender, heard) = mpsc::channel(8);
    events.start(
        Viewer {
            game,
            heard: sender,
        },
        life,
    );
    (listener, events, heard)
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
