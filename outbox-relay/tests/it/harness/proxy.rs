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
    /// What the server says is thrown away once the client has said this.
    deaf_after: Option<&'static str>,
    /// What the client says and has this in it is thrown away.
    losing: Option<&'static str>,
    /// What the client says waits.
    holding: bool,
    /// It does from when the client says this.
    holding_from: Option<&'static str>,
    /// Who connects is sent away.
    closed: bool,
    /// In what the server says, the one is replaced by the other, of the same length.
    disguise: Option<(&'static str, &'static str)>,
}

#[derive(Default)]
struct Seen {
    swallowed: u64,
    lost: u64,
    /// The client has said what makes the proxy deaf.
    deafened: bool,
    held: usize,
    /// What the server has said, as text.
    said: String,
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

    /// The same, from when the client says this.
    pub(crate) fn swallow_answers_after(&self, text: &'static str) {
        self.mood.send_modify(|mood| mood.deaf_after = Some(text));
    }

    /// From now on what the client says is lost if it has this in it.
    pub(crate) fn lose_requests_with(&self, text: &'static str) {
        self.mood.send_modify(|mood| mood.losing = Some(text));
    }

    /// How often something was.
    pub(crate) fn lost(&self) -> u64 {
        self.seen.lock().unwrap().lost
    }

    pub(crate) fn swallowed(&self) -> u64 {
        self.seen.lock().unwrap().swallowed
    }

    /// From now on what the client says waits here.
    pub(crate) fn hold_requests(&self) {
        self.mood.send_modify(|mood| mood.holding = true);
    }

    /// From when the client says this, it waits here, and what comes after it.
    pub(crate) fn hold_requests_with(&self, text: &'static str) {
        self.mood.send_modify(|mood| mood.holding_from = Some(text));
    }

    /// Whether the server has said this.
    pub(crate) fn answered_with(&self, text: &str) -> bool {
        self.seen.lock().unwrap().said.contains(text)
    }

    /// How many bytes wait.
    pub(crate) fn held(&self) -> usize {
        self.seen.lock().unwrap().held
    }

    /// What waits goes on its way.
    pub(crate) fn release_requests(&self) {
        self.mood.send_modify(|mood| {
            mood.holding = false;
            mood.holding_from = None;
        });
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
        self.mood.send_modify(|mood| {
            mood.deaf = false;
            mood.deaf_after = None;
            mood.losing = None;
        });
        let mut seen = self.seen.lock().unwrap();
        seen.deafened = false;
        std::mem::take(&mut seen.cut).cancel();
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
        let mood = moods.borrow().clone();
        let says =
            |waiting: &[u8], text: Option<&str>| text.is_some_and(|text| contains(waiting, text));
        if says(&waiting, mood.losing) {
            seen.lock().unwrap().lost += 1;
            waiting.clear();
        }
        if says(&waiting, mood.deaf_after) {
            seen.lock().unwrap().deafened = true;
        }
        if mood.holding || says(&waiting, mood.holding_from) {
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
        let deafened = {
            let mut seen = seen.lock().unwrap();
            let text = String::from_utf8_lossy(&buffer[..count]);
            seen.said.push_str(&text);
            seen.deafened
        };
        if mood.deaf || deafened {
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

fn contains(bytes: &[u8], text: &str) -> bool {
    let mut windows = bytes.windows(text.len());
    windows.any(|window| window == text.as_bytes())
}

fn replace(text: &mut [u8], old: &[u8], new: &[u8]) {
    for at in 0..text.len().saturating_sub(old.len() - 1) {
        if text[at..].starts_with(old) {
            text[at..at + old.len()].copy_from_slice(new);
        }
    }
}
