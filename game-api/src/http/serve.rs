//! The loop that accepts connections. `axum::serve` has no limits; this has: a number of
//! connections, a time for the first request's head, and a time between requests.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::lifecycle::Lifecycle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tower::ServiceExt as _;

/// From the connection to the end of its first request's head.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// From one request's end to the end of the next one's head: clients keep connections open, and
/// one that closes under a request in flight is seen as an error.
const NEXT_HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// A request's head; longer ones are answered 431. Also bounds the read buffer per connection.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After an error of `accept` (most often: no file descriptors left), so that the loop does not spin.
const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted: when a gateway dies, all its clients come at once. The
/// kernel's own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: u32 = 4096;
/// File descriptors beside those of clients: databases, ports, logs.
const OTHER_FILES_MAX: u64 = 512;

/// Listens on `address`.
///
/// # Errors
/// The address is taken, or not this machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port that was in use a moment ago, by the instance before this one, can be taken again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the limit of open files as far as this process may, and says so if that is not enough for
/// `connections_max` connections.
pub fn allow_open_files(connections_max: usize) {
    let wanted = u64::try_from(connections_max)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES_MAX);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "the limit of open files (ulimit -n) is too low for CONNECTIONS_MAX"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// Serves `router` on `listener` until the drain begins; then takes no new connection, lets each
/// finish the request it is in, and gives up on what is left when the hard token comes.
pub async fn serve(listener: TcpListener, router: Router, connections_max: usize, life: Lifecycle) {
    let places = Arc::new(Semaphore::new(connections_max));
    let draining = life.draining();
    loop {
        let accepted = tokio::select! {
            () = draining.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => life.spawn_task(
                "connection",
                connection(stream, peer, router.clone(), life.clone()),
            ),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_ERROR_PAUSE).await;
            }
        }
    }
}

/// The next connection, once there is a place for it: others wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(Counted, SocketAddr)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let counted = Counted {
        stream,
        _place: place,
    };
    Ok((counted, peer))
}

/// One connection, until it is closed or upgraded.
async fn connection(stream: Counted, peer: SocketAddr, router: Router, life: Lifecycle) {
    let begun = Arc::new(AtomicBool::new(false));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service(router, peer, begun.clone()))
        .with_upgrades();
    tokio::pin!(served);
    let first_head = sleep(FIRST_HEAD_TIMEOUT);
    tokio::pin!(first_head);
    let (draining, stopping) = (life.draining(), life.stopping());
    let (mut awaits_first_head, mut told_to_end) = (true, false);
    let ended = loop {
        tokio::select! {
            ended = &mut served => break ended,
            () = stopping.cancelled() => return,
            () = &mut first_head, if awaits_first_head => {
                awaits_first_head = false;
                if !begun.load(Ordering::Relaxed) {
                    tracing::debug!(%peer, "no request in time");
                    return;
                }
            }
            () = draining.cancelled(), if !told_to_end => {
                told_to_end = true;
                served.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}

/// Notes that a request has begun, and says where it comes from.
fn service(
    router: Router,
    peer: SocketAddr,
    begun: Arc<AtomicBool>,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
{
    service_fn(move |request: Request<Incoming>| {
        begun.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    })
}

/// A connection that holds its place also after an upgrade, for as long as it is open.
struct Counted {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
