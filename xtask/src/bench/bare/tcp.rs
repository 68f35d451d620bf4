//! Bytes to all sockets, by one loop.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

/// After so many sockets others get a turn: a loop over ten thousand holds its thread for long.
const WRITES_A_TURN: usize = 64;

type Sockets = Arc<Mutex<Vec<Arc<TcpStream>>>>;

pub(super) async fn serve(
    listener: TcpListener,
    bytes: usize,
    per_second: u32,
) -> Result<ExitCode> {
    let sockets = Sockets::default();
    let writer = write(Arc::clone(&sockets), vec![b'x'; bytes], per_second);
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mut all = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Arc::new(stream));
        }
    };
    tokio::select! {
        () = writer => Ok(ExitCode::SUCCESS),
        ended = accepting => ended,
    }
}

async fn write(sockets: Sockets, bytes: Vec<u8>, per_second: u32) {
    if per_second == 0 {
        return std::future::pending().await;
    }
    let mut tick = interval(Duration::from_secs(1) / per_second);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tick.tick().await;
        let all = sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for some in all.chunks(WRITES_A_TURN) {
            for stream in some {
                // Who does not take it goes without.
                let _ = stream.try_write(&bytes);
            }
            tokio::task::yield_now().await;
        }
    }
}
