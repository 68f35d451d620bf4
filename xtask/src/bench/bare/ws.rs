//! WebSocket as barely as it goes: a task for each socket, a channel for each room, and one shared
//! frame for all who are in it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::bench::swarm::frames::{TEXT, server_text};
use crate::bench::swarm::wire::ACCEPT;

/// Frames that may wait for a socket; a bare server drops beyond.
const WAITING_FRAMES_MAX: usize = 16;
/// A tick sends what is due: timers are not finer.
const TICK: Duration = Duration::from_millis(1);
/// A request's head is shorter.
const HEAD_BYTES_MAX: usize = 4096;

type Rooms = Arc<Mutex<BTreeMap<String, broadcast::Sender<Bytes>>>>;

pub(super) async fn serve(
    listener: TcpListener,
    bytes: usize,
    per_second: u32,
) -> Result<ExitCode> {
    let rooms = Rooms::default();
    let frame = frame(bytes);
    let mut sockets = JoinSet::new();
    sockets.spawn(send(Arc::clone(&rooms), frame.clone(), per_second));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                sockets.spawn(socket(stream, Arc::clone(&rooms), frame.clone()));
            }
            // Whoever left is forgotten.
            Some(_) = sockets.join_next() => {}
        }
    }
}

/// An event as a gateway sends it, as far as a reader looks.
fn frame(bytes: usize) -> Vec<u8> {
    let mut text = r#"{"type":"event","filling":""#.to_owned();
    let filling = bytes.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('x', filling));
    text.push_str("\"}");
    server_text(&text)
}

/// Sends to the rooms in turn.
async fn send(rooms: Rooms, frame: Vec<u8>, per_second: u32) -> Result<()> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut owed, mut next) = (0.0, 0);
    loop {
        tick.tick().await;
        owed += f64::from(per_second) * TICK.as_secs_f64();
        let rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = rooms.values().cloned().collect();
        drop(rooms);
        while owed >= 1.0 && !all.is_empty() {
            // Made anew, as an event's frame is.
            let _ = all[next % all.len()].send(Bytes::from(frame.clone()));
            next += 1;
            owed -= 1.0;
        }
    }
}

/// One socket: upgraded, welcomed at its first message, and sent what its room is sent.
async fn socket(mut stream: TcpStream, rooms: Rooms, frame: Vec<u8>) -> Result<()> {
    let path = upgrade(&mut stream).await?;
    let mut room = rooms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(path)
        .or_insert_with(|| broadcast::Sender::new(WAITING_FRAMES_MAX))
        .subscribe();
    let mut greeted = false;
    let mut buffer = [0; 512];
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                // Nothing else is read of what a client says.
                if !greeted && buffer[0] & 0x0f == TEXT {
                    greeted = true;
                    stream.write_all(&server_text(r#"{"type":"subscribed"}"#)).await?;
                    stream.write_all(&frame).await?;
                }
            }
            sent = room.recv() => match sent {
                Ok(frame) => stream.write_all(&frame).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

async fn upgrade(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES_MAX {
            bail!("no request");
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).context("a path")?.to_owned();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(path)
}
