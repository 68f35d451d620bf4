//! A TCP proxy between relay and broker that can swallow the broker's answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) struct Proxy {
    pub(crate) url: String,
    deaf: Arc<AtomicBool>,
    swallowed: Arc<AtomicU64>,
    cut: Arc<std::sync::Mutex<CancellationToken>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (deaf, swallowed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let cut = Arc::new(std::sync::Mutex::new(CancellationToken::new()));
        let mut tasks = JoinSet::new();
        let (d, s, c) = (Arc::clone(&deaf), Arc::clone(&swallowed), Arc::clone(&cut));
        tasks.spawn(async move {
            let mut pumps = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                    continue;
                };
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                let token = c.lock().unwrap().clone();
                pumps.spawn(pump(client_in, server_out, None, token.clone()));
                let ears = Some((Arc::clone(&d), Arc::clone(&s)));
                pumps.spawn(pump(server_in, client_out, ears, token));
            }
        });
        Self {
            url,
            deaf,
            swallowed,
            cut,
            _tasks: tasks,
        }
    }

    /// From now on what the broker says is swallowed.
    pub(crate) fn swallow_answers(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    pub(crate) fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::SeqCst)
    }

    /// Closes every connection; new ones work.
    pub(crate) fn cut(&self) {
        self.deaf.store(false, Ordering::SeqCst);
        let old = std::mem::take(&mut *self.cut.lock().unwrap());
        old.cancel();
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    ears: Option<(Arc<AtomicBool>, Arc<AtomicU64>)>,
    cut: CancellationToken,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            () = cut.cancelled() => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        if let Some((deaf, swallowed)) = &ears
            && deaf.load(Ordering::SeqCst)
        {
            swallowed.fetch_add(count as u64, Ordering::SeqCst);
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
