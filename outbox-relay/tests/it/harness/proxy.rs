//! A TCP proxy between a relay and its broker or database that can swallow answers, hold requests
//! back, refuse connections, and change the server's greeting.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the proxy does with what passes.
#[derive(Clone, Default)]
struct Mood {
    /// What the server says is thrown away.
    deaf: bool,
    /// What the client says waits.
    holding: bool,
    /// Who connects is sent away.
    closed: bool,
    /// In what the server says, the one is replaced by the other, of the same length.
    disguise: Option<(&'static str, &'static str)>,
}

#[derive(Default)]
struct Seen {
    swallowed: u64,
    held: usize,
    cut: CancellationToken,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) url: String,
    mood: watch::Sender<Mood>,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mood, moods) = watch::channel(Mood::default());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, target, moods, Arc::clone(&seen)));
        Self {
            port,
            url: format!("nats://127.0.0.1:{port}"),
            mood,
            seen,
            _tasks: tasks,
        }
    }

    /// From now on what the server says is swallowed.
    pub(crate) fn swallow_answers(&self) {
        self.mood.send_modify(|mood| mood.deaf = true);
    }

    pub(crate) fn swallowed(&self) -> u64 {
        self.seen.lock().unwrap().swallowed
    }

    /// From now on what the client says waits here.
    pub(crate) fn hold_requests(&self) {
        self.mood.send_modify(|mood| mood.holding = true);
    }

    /// How many bytes wait.
    pub(crate) fn held(&self) -> usize {
        self.seen.lock().unwrap().held
    }

    /// What waits goes on its way.
    pub(crate) fn release_requests(&self) {
        self.mood.send_modify(|mood| mood.holding = false);
    }

    /// Closes every connection, and sends away who connects, until [`Self::open`].
    pub(crate) fn close(&self) {
        self.mood.send_modify(|mood| mood.closed = true);
        self.cut();
    }

    pub(crate) fn open(&self) {
        self.mood.send_modify(|mood| mood.closed = false);
    }

    /// Where the server says `from`, the client hears `to`.
    pub(crate) fn disguise(&self, from: &'static str, to: &'static str) {
        assert_eq!(from.len(), to.len());
        self.mood
            .send_modify(|mood| mood.disguise = Some((from, to)));
    }

    /// Closes every connection; new ones work.
    pub(crate) fn cut(&self) {
        self.mood.send_modify(|mood| mood.deaf = false);
        std::mem::take(&mut self.seen.lock().unwrap().cut).cancel();
    }
}

async fn serve(
    listener: TcpListener,
    target: u16,
    moods: watch::Receiver<Mood>,
    seen: Arc<Mutex<Seen>>,
) {
    let mut pumps = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if moods.borrow().closed {
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
            continue;
        };
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        let cut = seen.lock().unwrap().cut.clone();
        pumps.spawn(cut.clone().run_until_cancelled_owned(requests(
            client_in,
            server_out,
            moods.clone(),
            Arc::clone(&seen),
        )));
        pumps.spawn(cut.run_until_cancelled_owned(answers(
            server_in,
            client_out,
            moods.clone(),
            Arc::clone(&seen),
        )));
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut moods: watch::Receiver<Mood>,
    seen: Arc<Mutex<Seen>>,
) {
    let (mut buffer, mut waiting) = (vec![0; 64 * 1024], Vec::new());
    loop {
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                waiting.extend_from_slice(&buffer[..count]);
            }
            changed = moods.changed() => if changed.is_err() { return },
        }
        if moods.borrow().holding {
            seen.lock().unwrap().held = waiting.len();
        } else if to.write_all(&waiting).await.is_ok() {
            waiting.clear();
        } else {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    moods: watch::Receiver<Mood>,
    seen: Arc<Mutex<Seen>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mood = moods.borrow().clone();
        if mood.deaf {
            seen.lock().unwrap().swallowed += count as u64;
            continue;
        }
        if let Some((old, new)) = mood.disguise {
            replace(&mut buffer[..count], old.as_bytes(), new.as_bytes());
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn replace(text: &mut [u8], old: &[u8], new: &[u8]) {
    for at in 0..text.len().saturating_sub(old.len() - 1) {
        if text[at..].starts_with(old) {
            text[at..at + old.len()].copy_from_slice(new);
        }
    }
}
