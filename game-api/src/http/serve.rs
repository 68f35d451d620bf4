//! Serving the connections that are accepted. `axum::serve` has no limits; this has: a number of
//! connections, a time for the first request's head, a time between requests, and one for the other
//! side to acknowledge what it was sent.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
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
use prometheus::IntCounter;
use shared::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tower::ServiceExt as _;

use super::accept::{self, Accepted};
use super::transport::{Fate, Transport};

/// From the connection to the end of its first request's head.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// From one request's end to the end of the next one's head: clients keep connections open, and
/// one that closes under a request in flight is seen as an error.
const NEXT_HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// A request's head; longer ones are answered 431. Also bounds the read buffer per connection.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a client is told whose first request does not come. hyper has no answer for it.
const LATE_ANSWER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    content-type: application/problem+json\r\n\
    content-length: 143\r\n\
    connection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"The request is malformed\",\"status\":408,\
    \"reason\":\"invalid\",\"detail\":\"the request's head did not come within 5 s\"}";
/// What the kernel may keep of a connection that is not read from, bytes: some hundred frames. It
/// would grow to megabytes by itself.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

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
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
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

/// On which terms connections are served.
#[derive(Clone, Debug)]
pub struct Terms {
    /// So many at once; others wait in the kernel's queue.
    pub connections_max: usize,
    /// What was sent must be acknowledged by the other side's kernel within this, else it is gone:
    /// a stream, which the client never answers, would otherwise wait a quarter of an hour for it.
    pub acknowledge_max: Duration,
    /// Counts those whose first request did not come.
    pub late: Option<IntCounter>,
}

/// Serves `router` on `listener` until the drain begins; then takes no new connection, lets each
/// finish the request it is in, and gives up on what is left when the hard token comes.
pub async fn serve(listener: TcpListener, router: Router, terms: Terms, life: Lifecycle) {
    let mut accepting = match accept::start(listener, &terms) {
        Ok(accepting) => accepting,
        Err(error) => {
            tracing::error!(%error, "nothing can be accepted");
            return;
        }
    };
    let draining = life.draining();
    loop {
        let accepted = tokio::select! {
            () = draining.cancelled() => return,
            accepted = accepting.recv() => accepted,
        };
        let Some(Accepted {
            stream,
            peer,
            place,
        }) = accepted
        else {
            return;
        };
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%peer, %error, "a connection could not be served");
                continue;
            }
        };
        let fate = Fate::default();
        let served = Served {
            transport: Transport::new(stream, fate.clone(), LATE_ANSWER, place),
            fate,
            peer,
            late: terms.late.clone(),
        };
        life.spawn_task(
            "connection",
            connection(served, router.clone(), life.clone()),
        );
    }
}

struct Served {
    transport: Transport,
    fate: Fate,
    peer: SocketAddr,
    late: Option<IntCounter>,
}

/// One connection, until it is closed or upgraded.
async fn connection(served: Served, router: Router, life: Lifecycle) {
    let Served {
        transport,
        fate,
        peer,
        late,
    } = served;
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(transport), service(router, peer, fate.clone()))
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
                if !fate.has_begun() {
                    tracing::debug!(%peer, "no request in time");
                    if let Some(late) = late {
                        late.inc();
                    }
                    fate.give_up();
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

/// Notes that a request has begun, and says where it comes from and what is known of its way.
fn service(
    router: Router,
    peer: SocketAddr,
    fate: Fate,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
{
    service_fn(move |request: Request<Incoming>| {
        fate.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(fate.clone());
        router.clone().oneshot(request)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_is_told_so_in_a_whole_answer() {
        let text = std::str::from_utf8(LATE_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        assert_eq!(length, body.len());
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["reason"], "invalid");
    }
}
