//! Accepting connections, on a thread of its own.
//!
//! When a gateway dies, all its clients come to the others at once. The kernel lets a few thousand
//! wait to be accepted and drops who comes beyond; such a client hears nothing, and tries again
//! after a second, then after two more. A task that accepts gets its turn after thousands of
//! others, so that the kernel's queue is full meanwhile; a thread gets its share of the processor
//! from the operating system.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use super::serve::Terms;

/// After an error of `accept` (most often: no file descriptors left), so that the loop does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// A connection, with its place among those that may be open. It belongs to no runtime yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
}

/// Starts to accept; ends when nobody takes what is accepted any more.
///
/// # Errors
/// There can be no further thread, or the listener cannot be moved to it.
pub(super) fn start(listener: TcpListener, terms: &Terms) -> io::Result<mpsc::Receiver<Accepted>> {
    let listener = listener.into_std()?;
    // Each that waits here has a place, so there is room for it.
    let (sender, receiver) = mpsc::channel(terms.connections_max.max(1));
    let terms = terms.clone();
    thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || {
            if let Err(error) = run(listener, &sender, &terms) {
                tracing::error!(%error, "nothing can be accepted");
            }
        })?;
    Ok(receiver)
}

fn run(
    listener: std::net::TcpListener,
    sender: &mpsc::Sender<Accepted>,
    terms: &Terms,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        accept_all(TcpListener::from_std(listener)?, sender, terms).await;
        Ok(())
    })
}

async fn accept_all(listener: TcpListener, sender: &mpsc::Sender<Accepted>, terms: &Terms) {
    let places = Arc::new(Semaphore::new(terms.connections_max));
    loop {
        let accepted = tokio::select! {
            () = sender.closed() => return,
            accepted = accept(&listener, &places, terms) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                if sender.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// The next connection, once there is a place for it: others wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    terms: &Terms,
) -> io::Result<Accepted> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    if let Err(error) = acknowledge_within(&stream, terms.acknowledge_max) {
        tracing::debug!(%peer, %error, "TCP_USER_TIMEOUT could not be set");
    }
    let stream = stream.into_std()?;
    Ok(Accepted {
        stream,
        peer,
        place,
    })
}

#[cfg(target_os = "linux")]
fn acknowledge_within(stream: &TcpStream, max: Duration) -> io::Result<()> {
    let max_ms = u32::try_from(max.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, max_ms)?)
}

/// Elsewhere the kernel's own patience counts.
#[cfg(not(target_os = "linux"))]
fn acknowledge_within(_: &TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::serve::listen;

    const TERMS: Terms = Terms {
        connections_max: 2,
        acknowledge_max: Duration::from_secs(7),
        late: None,
    };

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_a_client_does_not_acknowledge_is_not_waited_for() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepted = start(listener, &TERMS).unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let stream = accepted.recv().await.unwrap().stream;
        assert_eq!(
            rustix::net::sockopt::tcp_user_timeout(&stream).unwrap(),
            7000
        );
    }

    #[tokio::test]
    async fn nothing_is_accepted_beyond_the_places_nor_when_nobody_takes_it_any_more() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepted = start(listener, &TERMS).unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let first = accepted.recv().await.unwrap();
        let _second = accepted.recv().await.unwrap();
        assert!(accepted.try_recv().is_err(), "there are two places");
        drop(first);
        let third = accepted.recv().await.unwrap();
        assert_eq!(third.peer, clients[2].local_addr().unwrap());
        drop(accepted);
        // The listener is closed, so the port can be taken again.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
